"""The forward pass takes more multiply-accumulates than `--max-macs` allows.

What it does
------------
Compares the multiply-accumulates (MACs) of one forward pass on the traced input, batch included,
with the limit that the command line or the configuration sets.

Why it is bad
-------------
A stride that got lost or a stage that got wider costs latency and money long before anybody looks.

Example
-------
    # --max-macs 100M
    self.stem = nn.Conv2d(3, 64, 7, padding=3)

Use instead
-----------
    self.stem = nn.Conv2d(3, 64, 7, stride=2, padding=3)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.module_classes import model_location
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

from ._modules import over_budget, own_macs

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC602", "compute-budget", Severity.ERROR)


@rule.on_trace
def too_much_to_compute(trace: Trace, project: Project) -> Iterator[Finding]:
    limit = trace.request.max_macs
    if limit is not None and trace.complete and trace.macs > limit:
        place = model_location(trace, project)
        yield over_budget(place, "MACs", trace.macs, limit, own_macs(trace))
