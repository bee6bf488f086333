"""A softmax of a softmax.

What it does
------------
Looks for a softmax (or log-softmax) whose input comes out of a softmax: in one Sequential, in one
forward, or in a script that takes the softmax of what a model returns. A second one over another
dimension, or after a change of temperature, is left alone.

Why it is bad
-------------
The second softmax sees numbers between 0 and 1, so that its largest output is at most e times its
smallest: the distribution is nearly uniform, and a loss on it can hardly fall.

Example
-------
    class Net(nn.Module):
        def forward(self, x):
            return F.softmax(self.classifier(x), dim=1)

    probabilities = torch.softmax(Net()(images), dim=1)

Use instead
-----------
    class Net(nn.Module):
        def forward(self, x):
            return self.classifier(x)

    probabilities = torch.softmax(Net()(images), dim=1)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.dataflow.final_op_in_source import applied, surely
from archcheck.analysis.dataflow.final_op_in_trace import before, resolved_dim, written_at
from archcheck.core.finding import Finding, Location, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import SourceFile, differ

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC407", "repeated-softmax", Severity.ERROR)


@rule.on_source
def of_probabilities(file: SourceFile) -> Iterator[Finding]:
    for softmax, given in applied(file, "softmax", "log_softmax"):
        if surely(given, "softmax"):
            dims = {softmax.argument("dim", 1), *(one.argument("dim", 1) for one in given)} - {None}
            if not any(differ(one, other) for one in dims for other in dims):
                yield _finding(softmax.location, given[0].location)


@rule.on_trace
def softmax_after_softmax(trace: Trace) -> Iterator[Finding]:
    for op in trace.ops:
        first = before(trace, op) if op.name in ("softmax", "log_softmax") else None
        if first is not None and first.name == "softmax":
            at, other = written_at(trace, op), written_at(trace, first)
            same = resolved_dim(trace, op) == resolved_dim(trace, first)
            if same and at is not None and other is not None:
                yield _finding(at, other)


def _finding(at: Location, first: Location) -> Finding:
    return Finding(
        "the softmax of a softmax: what comes in are probabilities already",
        at,
        label="nearly uniform",
        related=(Related(first, "the first one"),) if first != at else (),
        defect=first,
        help="take one of them out; a model that is trained with CrossEntropyLoss needs none",
    )
