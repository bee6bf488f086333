"""The memory of training steps: archcheck against real ones, and against other estimators.

    python benchmarks/training_memory.py [--device cuda] [--only NAME…] [--peers]

On the CPU the truth is what torch's profiler sees its allocator give out, plus the weights and the
input; with `--device cuda` it is `torch.cuda.max_memory_allocated`, for fp32 and amp-bf16, SGD and
AdamW. `--peers` adds torchinfo's estimate and accelerate's rule (`estimate-memory`: four times the
weights, for Adam). torchvision's models are taken where it can be imported, else small ones of our
own. Exit code 1: an error above 10 %, or a median
above 2 % (5 % on a device).
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from archcheck.analysis.costs.training import TrainingCosts
from archcheck.core.cost_request import CostRequest, StepRequest
from archcheck.tracing.ladder import TensorSpec, trace_module

Case = tuple[str, Callable[[], nn.Module], tuple[int, ...]]
TORCHVISION = (
    ("alexnet", 4, 224), ("vgg11", 2, 64), ("resnet18", 4, 96), ("resnet50", 2, 96),
    ("densenet121", 2, 64), ("mobilenet_v3_small", 4, 96), ("efficientnet_b0", 4, 96),
    ("regnet_y_400mf", 4, 96), ("squeezenet1_1", 4, 96), ("shufflenet_v2_x0_5", 4, 96),
    ("mnasnet0_5", 4, 96), ("googlenet", 4, 96), ("convnext_tiny", 2, 64), ("swin_t", 2, 96),
    ("vit_b_16", 1, 224),
)  # fmt: skip


def cases() -> Iterator[Case]:
    try:
        from torchvision import models
    except (ImportError, RuntimeError):
        print("torchvision cannot be imported; own models are taken", file=sys.stderr)
        yield (
            "perceptron",
            lambda: nn.Sequential(nn.Linear(512, 2048), nn.ReLU(), nn.Linear(2048, 512)),
            (64, 512),
        )
        yield "convolutions", lambda: nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        ), (8, 3, 64, 64)  # fmt: skip
        yield (
            "encoder",
            lambda: nn.TransformerEncoder(
                nn.TransformerEncoderLayer(256, 4, 1024, dropout=0.0, batch_first=True), 4
            ),
            (8, 64, 256),
        )
        return
    for name, batch, size in TORCHVISION:
        build = lambda name=name: models.get_model(name, weights=None)  # noqa: E731
        yield name, build, (batch, 3, size, size)


def ours(case: Case, kernels: Any, precision: str, optimizer: str) -> TrainingCosts:
    _, build, shape = case
    trace = trace_module(
        build, [TensorSpec(shape, None)], training=StepRequest(precision, kernels=kernels)
    )
    assert trace.step is not None
    if trace.step.unknown is not None:
        raise RuntimeError(trace.step.unknown)
    return TrainingCosts(trace, trace.step, CostRequest(optimizer, precision))


def loss_of(output: Any) -> torch.Tensor:
    found = [output] if isinstance(output, torch.Tensor) else list(output)
    return sum((one.sum() for one in found), torch.zeros((), device=found[0].device))


def on_cpu(case: Case) -> int:
    """What one forward and backward pass holds, by the allocator's own events."""
    _, build, shape = case
    model, x = build().train(), torch.randn(shape)
    gc.collect()
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        output = model(x)
        loss_of(output).backward()
    alive = most = 0
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        most = max(most, alive)
    tensors = [*model.parameters(), *model.buffers(), x]
    return most + sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def on_cuda(case: Case, precision: str, optimizer: str) -> int:
    """The most that the caching allocator has given out in the second of two steps."""
    _, build, shape = case
    model, x = build().train().cuda(), torch.randn(shape, device="cuda")
    kinds = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}
    stepper = kinds[optimizer](model.parameters(), lr=1e-3)
    for _ in range(2):
        stepper.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "amp-bf16"):
            output = model(x)
            loss = loss_of(output)
        loss.backward()
        stepper.step()
        torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated()


def peers(case: Case) -> dict[str, tuple[int, float]]:
    """What others say of the same step, and their seconds; those that are not installed are left
    out."""
    _, build, shape = case
    said: dict[str, tuple[int, float]] = {}
    start = time.perf_counter()
    weights = sum(one.numel() * one.element_size() for one in build().parameters())
    said["accelerate's rule"] = (4 * weights, time.perf_counter() - start)
    try:
        from torchinfo import summary
    except ImportError:
        pass
    else:
        start = time.perf_counter()
        found = summary(build(), input_size=shape, verbose=0, mode="train")
        total = found.total_input + found.total_output_bytes + found.total_param_bytes
        said["torchinfo"] = (total, time.perf_counter() - start)
    return said


def percent(said: int, truth: int) -> float:
    return 100 * (said - truth) / truth


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--only", nargs="*", default=())
    parser.add_argument("--peers", action="store_true")
    options = parser.parse_args(arguments)
    chosen = [case for case in cases() if not options.only or case[0] in options.only]
    errors: list[float] = []
    ways = (
        [("fp32", "forward and backward")]
        if options.device == "cpu"
        else [(p, o) for p in ("fp32", "amp-bf16") for o in ("sgd", "adamw")]
    )
    for case in chosen:
        for precision, optimizer in ways:
            start = time.perf_counter()
            if options.device == "cpu":
                found = ours(case, "cpu", precision, "sgd")
                line = found.at(None, rounding=1)
                said = max(moment.total for moment in line.moments[:-1])
                seconds = time.perf_counter() - start
                truth = on_cpu(case)
            else:
                found = ours(case, "accelerator", precision, optimizer)
                said, seconds = found.peak_bytes, time.perf_counter() - start
                truth = on_cuda(case, precision, optimizer)
            errors.append(percent(said, truth))
            print(
                f"{case[0]:20} {precision:8} {optimizer:20} truth {truth / 2**20:9.1f} MiB  "
                f"archcheck {errors[-1]:+6.2f} % {seconds:5.2f} s"
            )
            for name, (other, took) in (peers(case) if options.peers else {}).items():
                print(f"{'':20} {name:29} {percent(other, truth):+35.1f} % {took:5.2f} s")
    median = statistics.median(map(abs, errors))
    worst = max(map(abs, errors))
    print(f"{len(errors)} steps: median {median:.2f} %, worst {worst:.2f} %")
    return int(worst > 10 or median > (2 if options.device == "cpu" else 5))


if __name__ == "__main__":
    sys.exit(main())
