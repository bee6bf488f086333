"""The forward pass keeps more activation memory than `--max-memory` allows.

What it does
------------
Compares the peak of the activations' memory with the limit that the command line or the
configuration sets: in train mode with all that the backward pass needs, in eval mode what is
alive at once. Weights, gradients and the optimizer's state come on top.

Why it is bad
-------------
What does not fit fails on the first large batch, on somebody else's accelerator.

Example
-------
    # --max-memory 64MiB
    self.stem = nn.Conv2d(3, 256, 3, padding=1)

Use instead
-----------
    self.stem = nn.Conv2d(3, 64, 3, stride=2, padding=1)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.module_classes import model_location
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

from ._modules import over_budget

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC603", "memory-budget", Severity.ERROR)


@rule.on_trace
def too_much_to_keep(trace: Trace, project: Project) -> Iterator[Finding]:
    limit = trace.request.max_memory
    peak = trace.peak_activation_bytes
    if limit is not None and trace.complete and peak > limit:
        parts = [(module.path, module.activation_bytes) for module in trace.modules if module.path]
        leaves = [part for part in parts if not _has_children(trace, part[0])]
        place = model_location(trace, project)
        yield over_budget(place, "bytes of activations at its peak", peak, limit, leaves)


def _has_children(trace: Trace, path: str) -> bool:
    module = trace.module(path)
    return module is not None and bool(module.children)
