"""What would make a step smaller, each with the bytes that it saves, the most first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from archcheck.analysis.costs.optimizers import OPTIMIZERS
from archcheck.analysis.costs.timeline import scales
from archcheck.analysis.costs.training import TrainingCosts
from archcheck.evidence.records import Module, ModuleCall


@dataclass(frozen=True, slots=True)
class Remedy:
    """A change of the step.

    Attributes:
        text: What to do, as a phrase.
        saves: By how many bytes the peak falls.
        flops: What it costs in each step.
        exact: The figure is one of the record, no estimate.
    """

    text: str
    saves: int
    flops: int = 0
    exact: bool = True


def remedies(costs: TrainingCosts) -> list[Remedy]:
    """Everything that lowers the peak, the most bytes first."""
    found = [
        *_smaller_batch(costs),
        *_other_optimizers(costs),
        *_lower_precision(costs),
        *_checkpoints(costs),
        *_freezing(costs),
    ]
    return sorted((one for one in found if one.saves > 0), key=lambda one: -one.saves)


def _smaller_batch(costs: TrainingCosts) -> Iterator[Remedy]:
    batch = costs.step.batch
    if batch is None or batch < 2 or not scales(costs.step):
        return
    largest = costs.largest_batch
    smaller = largest if largest else batch // 2
    if 0 < smaller < batch:
        saved = costs.peak_bytes - costs.at(smaller).peak.total
        yield Remedy(f"a batch of {smaller:,} in place of {batch:,}", saved)


def _other_optimizers(costs: TrainingCosts) -> Iterator[Remedy]:
    if costs.timeline.gradient_bytes == 0:
        return
    for name in ("adamw8bit", "adafactor", "sgd-momentum"):
        other = costs.at(None, optimizer=OPTIMIZERS[name])
        saved = costs.peak_bytes - other.peak.total
        if name != costs.optimizer_name:
            yield Remedy(f"--optimizer {name} in place of {costs.optimizer_name}", saved)


def _lower_precision(costs: TrainingCosts) -> Iterator[Remedy]:
    """An estimate: the casts that a model makes by itself are seen in a pass of that precision."""
    if costs.request.precision != "fp32":
        return
    peak = costs.timeline.peak.by_kind
    halved = sum(size for kind, size in peak.items() if kind != "inputs") // 2
    yield Remedy("--precision bf16, everything in halves", halved, exact=False)
    yield Remedy(
        "--precision amp-bf16, activations in halves",
        max((peak["activations"] + peak["activation gradients"] - sum(costs.weights)) // 2, 0),
        exact=False,
    )


def _checkpoints(costs: TrainingCosts) -> Iterator[Remedy]:
    """Checkpointing each block of a list of blocks: its inside is made anew for its backward."""
    trace = costs.trace
    for module in trace.modules:
        blocks = [trace.module(path) for path in module.children]
        called = [one for one in blocks if one is not None and one.children and one.calls]
        if module.type not in ("ModuleList", "Sequential") or len(called) < 2:
            continue
        dropped, flops = _dropped(costs, called)
        if not dropped:
            continue
        after = costs.at(None, dropped=dropped).peak.total
        name = f"`{module.path}`" if module.path else "the model"
        yield Remedy(
            f"checkpointing each of the {len(called)} blocks of {name}",
            costs.peak_bytes - after,
            flops,
        )


def _dropped(costs: TrainingCosts, blocks: list[Module]) -> tuple[dict[int, tuple[int, int]], int]:
    """The activations that checkpoints give back: where they go, and where they are made anew."""
    step, trace = costs.step, costs.trace
    freed_at = {
        block: number for number, kernel in enumerate(step.kernels) for block in kernel.freed
    }
    dropped: dict[int, tuple[int, int]] = {}
    flops = 0
    for module in blocks:
        for call in (trace.calls[index] for index in module.calls):
            inside = _kernels_of(costs, call, "forward")
            backward = _kernels_of(costs, call, "backward")
            if not inside or not backward:
                continue
            last, first = inside[-1], backward[0]
            flops += sum(step.kernels[number].flops for number in inside)
            for number in inside[:-1]:
                for block in step.kernels[number].made:
                    if last < first < freed_at.get(block, -1):
                        dropped[block] = (last, first)
    return dropped, flops


def _kernels_of(costs: TrainingCosts, call: ModuleCall, phase: str) -> list[int]:
    return [
        number
        for number, kernel in enumerate(costs.step.kernels)
        if kernel.phase == phase
        and kernel.op is not None
        and call.first_op <= kernel.op < call.end_op
    ]


def _freezing(costs: TrainingCosts) -> Iterator[Remedy]:
    """Gradients and states of all parameters but the last layer's; its activations stay."""
    if len(costs.trained) < 4:
        return
    last = costs.trained[-1].name.rpartition(".")[0]
    kept = tuple(one for one in costs.trained if one.name.rpartition(".")[0] == last)
    frozen = sum(one.bytes for one in costs.trained) - sum(one.bytes for one in kept)
    states = costs.timeline.optimizer_bytes
    left = replace(costs.timeline, trained=kept).optimizer_bytes
    by_peak = costs.timeline.peak.by_kind
    saved = states - left + min(by_peak["gradients"], frozen)
    yield Remedy(f"freezing all but `{last}`", saved, exact=False)
