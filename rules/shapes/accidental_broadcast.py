"""An elementwise operator expands both of its operands: `[8, 1] + [8]` gives `[8, 8]`.

What it does
------------
Looks for elementwise operators and losses in the forward pass whose operands hold the same sizes
but for dimensions of size 1, and whose result is larger than either: every sample meets every
other one. Outer sums and products that are written out by `None`, `unsqueeze` or a reshape are
left alone.

Why it is bad
-------------
Nothing fails. The model trains on a matrix of all pairs where a vector was meant.

Example
-------
    class Critic(nn.Module):
        def forward(self, x, reward):  # reward: [8]
            value = self.head(x)  # [8, 1]
            return reward - value  # [8, 8]

Use instead
-----------
    class Critic(nn.Module):
        def forward(self, x, reward):
            value = self.head(x).squeeze(-1)
            return reward - value
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.shapes.arithmetic import broadcast, text, without_ones
from archcheck.analysis.shapes.failures import ShapeError, shortened, trail
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

if TYPE_CHECKING:
    from archcheck.evidence.records import Op, Value
    from archcheck.evidence.trace import Trace

rule = Rule("AC210", "accidental-broadcast", Severity.WARNING)

ELEMENTWISE = frozenset(
    "add sub mul div maximum minimum eq ne lt le gt ge mse_loss l1_loss smooth_l1_loss huber_loss "
    "binary_cross_entropy binary_cross_entropy_with_logits".split()
)
# Ops by which an author says that a dimension of size 1 is meant.
DELIBERATE = frozenset(
    "getitem unsqueeze view reshape expand expand_as view_as reshape_as permute transpose t T mT "
    "unflatten diag_embed repeat tile meshgrid arange".split()
)


@rule.on_trace
def outer_by_accident(trace: Trace, project: Project) -> Iterator[Finding]:
    for op in trace.ops:
        if op.name not in ELEMENTWISE or op.location is None or len(op.inputs) != 2:
            continue
        first, second = (trace.values[index] for index in op.inputs)
        result = broadcast(first.shape, second.shape)
        if result is None or result in (first.shape, second.shape):
            continue
        if without_ones(first.shape) != without_ones(second.shape) or max(result) < 2:
            continue
        if any(not _is_data(trace, value) for value in (first, second)):
            continue
        column = first if len(first.shape) > len(second.shape) else second
        fault = ShapeError.of(trace, project, op)
        names = fault.operands()
        place = 0 if column is first else 1
        name = names[place] if len(names) == 2 else "x"
        axis = next(d for d, size in enumerate(column.shape) if size == 1 and d) - len(column.shape)
        yield Finding(
            f"`{shortened(fault.text(op.location)) or op.name}` expands both operands: "
            f"{text(first.shape)} and {text(second.shape)} give {text(result)}",
            op.location,
            label=f"gives {text(result)}",
            module=fault.module_path,
            trail=trail(trace, op.location, fault.call, op.inputs),
            notes=("every entry of one meets every entry of the other",),
            help=f"{name}.squeeze({axis}) gives both the shape {text(without_ones(first.shape))}",
        )


def _is_data(trace: Trace, value: Value) -> bool:
    """Computed from an input, and with no dimension of size 1 that was put there on purpose."""
    if value.kind in ("parameter", "buffer", "constant") or value.guessed:
        return False
    op: Op | None = trace.dataflow.producer(value.index)
    if op is None:
        return value.kind == "input"
    if 1 in value.shape and op.name in DELIBERATE:
        return False
    return value.index in trace.dataflow.fed
