"""Training on a batch of one crashes: batch statistics over a single value.

What it does
------------
Looks, in train mode, for batch norms whose input holds one value per channel and sample, so that
a batch of one leaves nothing to normalise. It is a note; it becomes an error where the given
input has a batch of one.

Why it is bad
-------------
Training stops with "Expected more than 1 value per channel when training", often only at the end
of an epoch, when a single sample is left over.

Example
-------
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(512, 128)
            self.bn = nn.BatchNorm1d(128)

        def forward(self, x):
            return self.bn(self.fc(x))

Use instead
-----------
    loader = DataLoader(data, batch_size=32, drop_last=True)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from archcheck.analysis.shapes.arithmetic import text
from archcheck.analysis.shapes.failures import ShapeError, faults
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC217", "batch-of-one", Severity.NOTE, default=True)


@rule.on_trace
def single_values(trace: Trace, project: Project) -> Iterator[Finding]:
    if trace.mode != "train":
        return
    failed = [
        fault
        for fault in faults(trace, project, "batch_norm")
        if len(fault.got) > 1 and fault.got[0] * prod(fault.got[2:]) == 1
    ]
    for fault in failed[:1]:
        yield replace(_finding(fault), severity=Severity.ERROR)
    if failed:
        return
    for op in trace.ops:
        if op.name != "batch_norm":
            continue
        fault = ShapeError.of(trace, project, op)
        if fault.attribute("training") is False:
            continue
        if len(fault.got) > 1 and fault.got[0] > 1 and prod(fault.got[2:]) == 1:
            yield _finding(fault)
            return


def _finding(fault: ShapeError) -> Finding:
    return fault.finding(
        f"{fault.subject} has one value per channel of each sample: a batch of one cannot train",
        label=f"got {text(fault.got)}",
        help="drop_last=True in the training DataLoader, or nn.GroupNorm or nn.LayerNorm here",
    )
