"""A training step holds more memory than `--max-training-memory` allows.

What it does
------------
Compares what a training step holds at its worst moment (weights, gradients, the optimizer's state,
activations, with the chosen optimizer and precision) with the limit that the command line or the
configuration sets. What a device holds besides tensors is not in it.

Why it is bad
-------------
What no longer fits on the card of the team is found by a pull request in place of a failed run.

Example
-------
    # --max-training-memory 2GiB --optimizer adamw
    self.head = nn.Linear(25088, 16384)

Use instead
-----------
    self.head = nn.Linear(512, 1000)  # behind nn.AdaptiveAvgPool2d(1)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.costs.training import training_costs
from archcheck.analysis.module_classes import model_location
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

from ._modules import byte_text

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC607", "training-memory-budget", Severity.ERROR)


@rule.on_trace
def too_much_to_train(trace: Trace, project: Project) -> Iterator[Finding]:
    costs = training_costs(trace)
    if costs is None or costs.request.limit is None or costs.peak_bytes <= costs.request.limit:
        return
    peak, limit = costs.peak_bytes, costs.request.limit
    kinds = costs.timeline.peak.by_kind
    parts = sorted(((size, kind) for kind, size in kinds.items() if size), reverse=True)
    yield Finding(
        f"a training step takes {byte_text(peak)}, its budget is {byte_text(limit)}",
        model_location(trace, project),
        label=f"{byte_text(peak - limit)} too much",
        notes=(
            f"most is held at {costs.peak_text()}: "
            + ", ".join(f"{kind} {byte_text(size)}" for size, kind in parts),
        ),
        help="make the step smaller, or raise the limit",
    )
