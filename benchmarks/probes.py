"""What `--probe` costs beside one real forward and backward pass, and what it says of live mutants.

    python benchmarks/probes.py [--mutants] [NAME…]

For each model of the table: the seconds of a real forward and backward pass on the input that the
user asked for, of building it, and of the whole probe; the last column is the probe without
one construction, over that pass, which is to stay below three. With `--mutants` each clean model is
changed in one place after it was built (a branch detached, weights scaled by 30, a layer
times 0, samples mixed) and probed; a mutant counts as found when it has a finding that the
clean model does not have. The exit code is 1 where one is missed, or a clean model has a finding.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median

import torch
from torch import nn

from archcheck.core.probe_request import ProbeRequest
from archcheck.tracing.ladder import TensorSpec, trace_module
from archcheck.tracing.probe.prober import Prober


class Convolutions(nn.Module):
    """Four stages with batch norm."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        sizes = [3, width, 2 * width, 4 * width, 4 * width]
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, 2, 1), nn.BatchNorm2d(o), nn.ReLU())
            for i, o in pairwise(sizes)
        )
        self.head = nn.Linear(sizes[-1], 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for stage in self.stages:
            x = stage(x)
        return self.head(x.mean((2, 3)))


class Perceptron(nn.Module):
    """Without norms: what is scaled stays scaled."""

    def __init__(self, width: int = 256, depth: int = 8) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, _ = x.shape
        for layer in self.layers:
            x = layer(x).relu()
        return x.reshape(b, -1)


class Transformer(nn.Module):
    """Six blocks before a mean over the tokens."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        block = nn.TransformerEncoderLayer(width, 4, 4 * width, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, 6, enable_nested_tensor=False)
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, _, _ = x.shape
        return self.head(self.blocks(x).mean(1)).reshape(b, -1)


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "convolutions": (Convolutions, (8, 3, 128, 128)),
    "perceptron": (Perceptron, (64, 256)),
    "transformer": (Transformer, (8, 64, 128)),
}


def probed(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> tuple[set[str], float]:
    """Return what the probe shows, by kind, and the seconds that it took."""
    seconds = []
    original = Prober.probe

    def timed(self: Prober) -> object:
        start = time.perf_counter()
        try:
            return original(self)
        finally:
            seconds.append(time.perf_counter() - start)

    Prober.probe = timed  # type: ignore[method-assign,assignment]
    try:
        trace = trace_module(build, [TensorSpec(shape)], probe=ProbeRequest())
    finally:
        Prober.probe = original  # type: ignore[method-assign]
    if trace.defects or trace.probe is None:
        raise SystemExit("\n".join(trace.defects) or "the model could not be traced")
    probe = trace.probe
    seen = {"AC701"} if any(one.reaches for one in probe.no_gradient) else set()
    seen |= {"AC702"} if probe.non_finite else set()
    seen |= {"AC704"} if probe.batch_leak else set()
    seen |= {"AC705"} if any(one.dead == one.units for one in probe.dead_units) else set()
    # As signal-scale judges the ends of a chain.
    for one in probe.series:
        ends = (one.forward[-1] / max(one.forward[0], 1e-45), one.backward[0] / one.backward[-1])
        seen |= {"AC703"} if any(not 1e-4 < end < 1e4 for end in ends) else set()
    return seen, seconds[0]


def step_seconds(model: nn.Module, shape: tuple[int, ...]) -> float:
    """Return the seconds of a forward and backward pass, the median of three after one."""
    times = []
    for _ in range(4):
        start = time.perf_counter()
        model(torch.randn(shape)).sum().backward()
        times.append(time.perf_counter() - start)
    return median(times[1:])


def _parts(model: nn.Module) -> nn.ModuleList:
    found = next(one for one in model.modules() if isinstance(one, nn.ModuleList))
    assert isinstance(found, nn.ModuleList)
    return found


def detached(model: nn.Module) -> None:
    _parts(model)[1].register_forward_hook(lambda module, given, result: result.detach())


def scaled(model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(30)


def silenced(model: nn.Module) -> None:
    _parts(model)[1].register_forward_hook(lambda module, given, result: result * 0)


def mixed(model: nn.Module) -> None:
    _parts(model)[1].register_forward_hook(lambda module, given, result: result - result.mean(0))


# Norms take a scale back: there is nothing to find.
MUTANTS = {"detached": detached, "scaled": scaled, "silenced": silenced, "mixed": mixed}
SAME = {("convolutions", "scaled"), ("transformer", "scaled")}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--mutants", action="store_true")
    arguments = parser.parse_args()
    wrong = 0
    for name, (build, shape) in CASES.items():
        if arguments.names and name not in arguments.names:
            continue
        start = time.perf_counter()
        model = build()
        built = time.perf_counter() - start
        step = step_seconds(model, shape)
        clean, seconds = probed(build, shape)
        ratio = max(seconds - built, 0.0) / step
        print(
            f"{name:14} step {step:.3f} s, built {built:.3f} s, probe {seconds:.3f} s: {ratio:.2f}"
        )
        wrong += bool(clean)
        for mutant, change in MUTANTS.items() if arguments.mutants else ():
            if (name, mutant) in SAME:
                continue

            def mutated(build=build, change=change) -> nn.Module:  # type: ignore[no-untyped-def]
                model = build()
                change(model)
                return model

            found = probed(mutated, shape)[0] - clean
            wrong += not found
            print(f"  {mutant:12} {', '.join(sorted(found)) or 'missed'}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
