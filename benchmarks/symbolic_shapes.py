"""Compare every symbolic size with what a forward pass at other sizes really gives.

    python benchmarks/symbolic_shapes.py [--only torchvision|timm|transformers] [--every N] [NAME…]

Traces each model of `precision.py` with symbols, evaluates every expression at three other input
sizes, and compares it with the shapes of a recorded pass of a fresh model at those sizes. Prints
for each model how many sizes depend on the input, how many of them have an expression, and how many
expressions are wrong; the exit code is 1 where one is. `--every N` takes each N-th model.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from precision import Case, timm_cases, torchvision_cases, transformers_cases

from archcheck.evidence.sizes import Tables
from archcheck.evidence.symbolic import FreeSize
from archcheck.evidence.trace import Trace
from archcheck.tracing.input_tensors import NamedInput, leaves, map_nest
from archcheck.tracing.ladder import TensorSpec, trace_module

CASES = {
    "torchvision": torchvision_cases,
    "timm": timm_cases,
    "transformers": transformers_cases,
}
# How far from the traced sizes, in steps of each symbol; other ones than the tracer takes.
STEPS = ((2, 4, 1, 6, 3), (10, 1, 8, 2, 12), (4, 6, 3, 1, 2))


def main() -> int:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--only", choices=CASES)
    parser.add_argument("--every", type=int, default=1)
    arguments = parser.parse_args()
    totals: Counter[str] = Counter()
    for package, cases in CASES.items():
        if arguments.only not in (None, package) or find_spec(package) is None:
            continue
        for place, case in enumerate(cases()):
            if case.name in arguments.names or (
                not arguments.names and place % arguments.every == 0
            ):
                totals += checked(case)
    print(", ".join(f"{count} {what}" for what, count in totals.items()))
    return 1 if totals["wrong"] else 0


def checked(case: Case) -> Counter[str]:
    """Compare the expressions of one model, and print the row."""
    inputs = named_inputs(case.input)
    seconds: list[float] = []
    trace = None
    for symbolic in (False, True):
        began = time.perf_counter()
        trace = trace_module(case.build, inputs, find_sizes=True, symbolic=symbolic)
        seconds.append(time.perf_counter() - began)
    shown = trace.symbolic if trace is not None else None
    if trace is None or shown is None or not shown.free:
        reason = "no trace" if shown is None else shown.reason
        print(f"{case.name:44} nothing free: {reason}")
        return Counter({"models": 1, "models without symbols": 1})
    counts = Counter({"models": 1})
    varying = [size for shape in shown.shapes.values() for size in shape]
    counts["sizes"] = sum(size is None or size.constant is None for size in varying)
    counts["plain numbers"] = sum(size is None for size in varying)
    for steps in STEPS:
        counts.update(compared(case, trace, inputs, steps))
    names = ", ".join(f"{one.traced}" + f"/{one.multiple_of}" for one in shown.free)
    row = f"{counts['sizes']:6} sizes {counts['plain numbers']:4} plain {counts['wrong']:4} wrong"
    times = f"{seconds[0]:.2f} s, {seconds[1]:.2f} s"
    print(f"{case.name:44} {row} {counts['passes']} passes  free {names}  {times}", flush=True)
    return counts


def compared(
    case: Case, trace: Trace, inputs: Sequence[NamedInput], steps: Sequence[int]
) -> Counter[str]:
    """Hold the expressions against one pass at other sizes."""
    shown = trace.symbolic
    assert shown is not None
    sizes = {
        one.key: one.traced + one.multiple_of * steps[place % len(steps)]
        for place, one in enumerate(shown.free)
    }
    there = trace_module(case.build, resized(inputs, shown.free, sizes), find_sizes=False)
    same_way = [op.name for op in there.ops] == [op.name for op in trace.ops]
    if not there.complete or not same_way or len(there.values) != len(trace.values):
        return Counter({"passes that go another way": 1})
    counts = Counter({"passes": 1})
    tables = Tables({key: [size] for key, size in sizes.items()})
    for value, before in zip(there.values, trace.values, strict=True):
        expected = shown.shapes.get(value.index, before.shape)
        for size, real in zip(expected, value.shape, strict=True):
            if size is None:
                continue
            told = size if isinstance(size, int) else tables.of(size)[0]
            if told != real:
                counts["wrong"] += 1
    return counts


def named_inputs(given: Any) -> list[NamedInput]:
    """The input of a case as the tracer takes it."""
    if isinstance(given, Mapping):
        return [NamedInput(specs(value), name) for name, value in given.items()]
    if isinstance(given, tuple) and isinstance(given[0], int):
        return [NamedInput(TensorSpec(given))]
    return [NamedInput(specs(value)) for value in given]


def specs(given: Any) -> Any:
    """The same nest with a `TensorSpec` for each tensor or shape."""
    if isinstance(given, torch.Tensor):
        return TensorSpec(tuple(given.shape), str(given.dtype).removeprefix("torch."))
    if isinstance(given, tuple) and all(isinstance(size, int) for size in given):
        return TensorSpec(given)
    return map_nest(given, specs)


def resized(
    inputs: Sequence[NamedInput], symbols: Sequence[FreeSize], sizes: Mapping[str, int]
) -> list[NamedInput]:
    """The inputs at other sizes."""
    wanted = {axis: sizes[one.key] for one in symbols for axis in one.axes}
    numbers = iter(range(len(list(leaves([one.value for one in inputs])))))

    def changed(leaf: Any) -> Any:
        number = next(numbers)
        shape = tuple(wanted.get((number, dim), size) for dim, size in enumerate(leaf.shape))
        return TensorSpec(shape, leaf.dtype)

    return [NamedInput(map_nest(one.value, changed), one.name) for one in inputs]


if __name__ == "__main__":
    raise SystemExit(main())
