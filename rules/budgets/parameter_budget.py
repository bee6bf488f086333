"""The model has more parameters than `--max-params` allows.

What it does
------------
Compares the model's parameters, each counted once however many modules share it, with the limit
that the command line or the configuration sets.

Why it is bad
-------------
A model grows by small changes that nobody weighs; the limit makes a pull request show it.

Example
-------
    # --max-params 1M
    self.head = nn.Linear(25088, 4096)

Use instead
-----------
    self.pool = nn.AdaptiveAvgPool2d(1)
    self.head = nn.Linear(512, 1000)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.module_classes import model_location
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

from ._modules import over_budget, own_parameters

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC601", "parameter-budget", Severity.ERROR)


@rule.on_trace
def too_many_parameters(trace: Trace, project: Project) -> Iterator[Finding]:
    limit = trace.request.max_params
    count = sum(one.count for one in trace.parameters if not one.buffer)
    if limit is not None and count > limit:
        place = model_location(trace, project)
        yield over_budget(place, "parameters", count, limit, own_parameters(trace))
