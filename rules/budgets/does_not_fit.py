"""A training step, or generation, needs more memory than the device has.

What it does
------------
Compares what a training step holds at its worst moment (weights, gradients, optimizer, activations,
as the chosen optimizer and precision have them) with the memory of `--device`, and what generating
`--generate` tokens holds. It says what would make it fit, with the bytes that each change saves.

Why it is bad
-------------
The run ends with an out-of-memory error, after the queue, the download and the first batch.

Example
-------
    # --device t4 --optimizer adamw, a batch of 256
    self.blocks = nn.Sequential(*(Block(1024) for _ in range(24)))

Use instead
-----------
    # a batch of 16, or --optimizer adamw8bit, or --precision amp-bf16, or
    for block in self.blocks:
        x = checkpoint(block, x, use_reentrant=False)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.costs.devices import device
from archcheck.analysis.costs.remedies import Remedy, remedies
from archcheck.analysis.costs.training import TrainingCosts, generation_costs, training_costs
from archcheck.analysis.module_classes import model_location
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

from ._modules import byte_text

if TYPE_CHECKING:
    from archcheck.core.finding import Location
    from archcheck.evidence.trace import Trace

rule = Rule("AC606", "does-not-fit", Severity.ERROR)

SHOWN = 5


@rule.on_trace
def training_step(trace: Trace, project: Project) -> Iterator[Finding]:
    costs = training_costs(trace)
    if costs is None or costs.device is None or costs.fits is not False:
        return
    peak, memory = costs.peak_bytes, costs.device.memory
    yield Finding(
        f"a training step takes {byte_text(peak)}, {costs.device.name} has {byte_text(memory)}",
        _peak_location(trace, costs) or model_location(trace, project),
        label=f"most is held at {costs.peak_text()}",
        notes=tuple(_notes(costs)),
        help=_help(costs),
    )


@rule.on_trace
def generating(trace: Trace, project: Project) -> Iterator[Finding]:
    request, costs = trace.request.costs, generation_costs(trace)
    if request is None or request.device is None or costs is None:
        return
    memory = device(request.device).memory
    if costs.peak_bytes > memory:
        cache = byte_text(costs.cache_bytes)
        yield Finding(
            f"generating {costs.tokens:,} tokens takes {byte_text(costs.peak_bytes)}, "
            f"{request.device} has {byte_text(memory)}",
            model_location(trace, project),
            notes=(f"the keys and values of {costs.prompt + costs.tokens:,} tokens take {cache}",),
            help="generate fewer tokens, or at a lower precision",
        )


def _peak_location(trace: Trace, costs: TrainingCosts) -> Location | None:
    return None if costs.peak_op is None else trace.ops[costs.peak_op].location


def _notes(costs: TrainingCosts) -> Iterator[str]:
    kinds = costs.timeline.peak.by_kind
    parts = sorted(((size, kind) for kind, size in kinds.items() if size), reverse=True)
    yield "at the peak: " + ", ".join(f"{kind} {byte_text(size)}" for size, kind in parts)
    for remedy in remedies(costs)[:SHOWN]:
        yield _remedy(remedy)


def _remedy(remedy: Remedy) -> str:
    about = "" if remedy.exact else "about "
    price = f", for {remedy.flops / 1e9:,.4g} GFLOPs more a step" if remedy.flops else ""
    return f"{remedy.text} saves {about}{byte_text(remedy.saves)}{price}"


def _help(costs: TrainingCosts) -> str:
    if costs.largest_batch:
        return f"at most {costs.largest_batch:,} samples surely fit"
    return "make the step smaller, or name a larger device"
