"""Two affine layers in a row with nothing nonlinear between them.

What it does
------------
Looks for a linear layer or convolution whose result goes into another one through nothing but
reshapes, sums with constants, dropout or average pooling. What is linear on purpose is left alone:
low-rank factors, depthwise and separable convolutions, projections around attention, resampling in
between, a layer with several readers, a stem in front of blocks that begin with a convolution.

Why it is bad
-------------
A linear map of a linear map is a linear map: the two layers can express what one can, at the cost
of both. Most often an activation was forgotten.

Example
-------
    class Net(nn.Module):
        def forward(self, x):
            x = self.fc1(x)
            return self.fc2(x)

Use instead
-----------
    class Net(nn.Module):
        def forward(self, x):
            x = torch.relu(self.fc1(x))
            return self.fc2(x)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.dataflow.final_op_in_trace import written_at
from archcheck.core.finding import Finding, Related, Severity
from archcheck.core.rule import Rule

from ._linear_pairs import linear_pairs, widths

if TYPE_CHECKING:
    from archcheck.evidence.records import Op
    from archcheck.evidence.trace import Trace

rule = Rule("AC304", "missing-nonlinearity", Severity.WARNING)


@rule.on_trace
def one_after_the_other(trace: Trace) -> Iterator[Finding]:
    for first, second in linear_pairs(trace):
        at, other = written_at(trace, first), written_at(trace, second)
        if at is None:
            continue
        before, after = widths(trace, first)[0], widths(trace, second)[1]
        yield Finding(
            f"{_name(trace, first)} and {_name(trace, second)} follow each other with nothing "
            "nonlinear between them",
            at,
            label="no activation after it",
            module=trace.calls[first.call].path or None if first.call is not None else None,
            related=(Related(other, "the next layer"),) if other not in (None, at) else (),
            notes=(f"together they are one linear map from {before} to {after} features",),
            help="put an activation between them, or one layer in their place",
        )


def _name(trace: Trace, op: Op) -> str:
    module = trace.module_of(op)
    return f"`{module.path}`" if module is not None and module.path else f"a {op.name}"
