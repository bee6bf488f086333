"""A training step and generation in words: names, and values with their units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from archcheck.analysis.costs.training import TrainingCosts, generation_costs, training_costs
from archcheck.output.wording import byte_text, one_line, scaled

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

_BAR = 30
# One sign for each kind of memory, in the order of the timeline's.
_SIGNS: Mapping[str, str] = {
    "weights": "w",
    "optimizer": "o",
    "gradients": "g",
    "activations": "a",
    "activation gradients": "d",
    "inputs": "i",
    "temporaries": "t",
}


def cost_lines(trace: Trace) -> Iterator[tuple[str, str]]:
    """What was asked about costs, as lines of the totals; nothing where nothing was."""
    if trace.request.costs is None:
        return
    costs = training_costs(trace)
    if costs is not None:
        yield from _training(costs)
    elif trace.step is not None and trace.step.unknown is not None:
        yield "Training step", f"not known: {one_line(trace.step.unknown)}"
    elif trace.step is None and trace.mode == "eval":
        yield "Training step", "none in eval mode"
    generating = generation_costs(trace)
    if generating is not None:
        yield (
            "Generation",
            f"{byte_text(generating.kv_cache_bytes_per_token)} of keys and values a token; "
            f"{byte_text(generating.peak_bytes)} after a prompt of {generating.prompt:,} and "
            f"{generating.tokens:,} tokens",
        )
    elif trace.request.costs.tokens is not None and trace.complete:
        yield "Generation", "no attention of this pass keeps keys and values"


def cost_table(trace: Trace) -> Iterator[tuple[str, str]]:
    """The same lines without the bar, each with a name."""
    last = ""
    for name, value in cost_lines(trace):
        last = name or last
        if not name and value and not value.strip("".join(_SIGNS.values())):
            continue
        yield name or f"{last}, more", value


def _training(costs: TrainingCosts) -> Iterator[tuple[str, str]]:
    low, high = costs.occupied.low, costs.occupied.high
    yield (
        "Training step",
        f"{byte_text(costs.peak_bytes)} at its peak ({costs.optimizer_name}, "
        f"{costs.request.precision}), at {costs.peak_text()}",
    )
    yield "", peak_bar(costs)
    yield "", ", ".join(f"{kind} {byte_text(size)}" for kind, size in _parts(costs))
    yield "On a device", f"{byte_text(low)} to {byte_text(high)}, with its context and holes"
    if costs.step.no_backward is not None:
        yield "", f"no backward pass: {costs.step.no_backward}"
    else:
        yield "Differentiated", costs.step.loss
        yield (
            "Backward FLOPs",
            f"{scaled(costs.backward_flops)} ({costs.backward_flops:,}), torch's count",
        )
    if costs.device is not None:
        yield "Fits", _fits(costs)
    bound = costs.time_bound
    if bound is not None and costs.device is not None:
        yield (
            "Lower bound",
            f"{bound.seconds * 1e3:,.4g} ms a step on {costs.device.name}; {bound.launch_bound:,} "
            f"of {bound.kernels:,} kernels are shorter than a launch",
        )
    for sentence in costs.request.sources:
        yield "", one_line(sentence)


def _parts(costs: TrainingCosts) -> list[tuple[str, int]]:
    return [(kind, size) for kind, size in costs.timeline.peak.by_kind.items() if size]


def peak_bar(costs: TrainingCosts) -> str:
    """The peak as a bar, one sign a kind; every kind that is there has a sign at least."""
    total = max(costs.peak_bytes, 1)
    return "".join(
        _SIGNS[kind] * max(round(_BAR * size / total), 1) for kind, size in _parts(costs)
    )


def _fits(costs: TrainingCosts) -> str:
    assert costs.device is not None
    answer = {True: "yes", False: "no", None: "perhaps: what a device adds decides"}[costs.fits]
    text = f"{answer}, {costs.device.name} has {byte_text(costs.device.memory)}"
    if costs.largest_batch is None:
        return f"{text}; the largest batch is not known"
    return f"{text}; at most {costs.largest_batch:,} samples surely do"
