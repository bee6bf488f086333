"""A reshape joins and parts dimensions in an order in which they do not lie.

What it does
------------
Follows which input dimension each dimension of each value holds, and looks for a `view` or
`reshape` that gives a dimension the size of another one (the number of steps, say) although its
places then hold pieces of several: heads merged without moving the head dimension back, a `view`
in the place of a transpose. Where the samples of the batch come apart, that is AC211.

Why it is bad
-------------
The sizes are right, so nothing fails. What stands at a step is spliced from several steps and
heads, and the layers behind it learn to live with that as well as they can.

Example
-------
    class Attention(nn.Module):
        def forward(self, x):
            b, t, c = x.shape
            y = self.attend(x)  # [b, heads, t, width]
            return self.out(y.reshape(b, t, c))

Use instead
-----------
    class Attention(nn.Module):
        def forward(self, x):
            b, t, c = x.shape
            y = self.attend(x)  # [b, heads, t, width]
            return self.out(y.transpose(1, 2).reshape(b, t, c))
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.axes.batch import Batch
from archcheck.analysis.axes.reshapes import misplaced, remedy, why
from archcheck.analysis.shapes.arithmetic import text
from archcheck.analysis.shapes.failures import ShapeError, shortened, trail
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC222", "scrambled-axes", Severity.ERROR)


@rule.on_trace
def sizes_in_another_order(trace: Trace, project: Project) -> Iterator[Finding]:
    found = list(misplaced(trace))
    batch = Batch(trace, project) if found else None
    for each in found:
        at = each.op.location
        if at is None or batch is None or any(map(batch.is_batch, each.roots)):
            continue
        before, after = trace.shape(each.op.inputs[0]), trace.shape(each.op.outputs[0])
        fault = ShapeError.of(trace, project, each.op)
        operands = fault.operands()
        yield Finding(
            f"`{shortened(fault.text(at)) or each.op.name}` makes {text(after)} of "
            f"{text(before)}: {why(each, after)} places",
            at,
            label="splices them",
            module=fault.module_path,
            trail=trail(trace, at, fault.call, each.op.inputs[:1]),
            help=remedy(each, operands[0] if operands else "x"),
            tentative=trace.symbolic is None,
        )
