"""A residual block that activates before the sum and not after it.

What it does
------------
Looks for blocks that return the sum of a skip and of something that a ReLU (or the like) was
applied to last, where nothing activates the sum.

Why it is bad
-------------
The branch can only add: what comes out of a ReLU is never negative, so the values on the skip path
grow from block to block, and the block cannot take anything back. The original residual network
activates the sum; the later one puts norm and activation in front of the convolutions. Some
networks (Darknet, YOLO) do it this way on purpose.

Example
-------
    class Block(nn.Module):
        def forward(self, x):
            out = torch.relu(self.bn1(self.conv1(x)))
            return x + torch.relu(self.bn2(self.conv2(out)))

Use instead
-----------
    class Block(nn.Module):
        def forward(self, x):
            out = torch.relu(self.bn1(self.conv1(x)))
            return torch.relu(x + self.bn2(self.conv2(out)))
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.dataflow.final_op_in_trace import written_at
from archcheck.core.finding import Finding, Location, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import SourceFile

from ._residual_order import activated_before_sum, sums_after_activation

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC305", "activation-before-add", Severity.NOTE)


@rule.on_source
def returned_sum(file: SourceFile) -> Iterator[Finding]:
    for module in file.modules:
        flow = module.flow()
        for total, active in activated_before_sum(flow) if flow is not None else ():
            yield _finding(total.location, active.location, None)


@rule.on_trace
def sum_at_the_end(trace: Trace) -> Iterator[Finding]:
    for total, active in sums_after_activation(trace):
        at, other = total.location, written_at(trace, active)
        path = trace.calls[total.call].path if total.call is not None else None
        if at is not None and other is not None:
            yield _finding(at, other, path)


def _finding(at: Location, active: Location, path: str | None) -> Finding:
    return Finding(
        "the block activates before its sum and not after it: the branch can only add",
        at,
        label="nothing activates the sum",
        module=path,
        related=(Related(active, "activated here"),) if active != at else (),
        help="activate the sum: relu(x + out)",
    )
