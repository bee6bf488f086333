"""Two operands of `+ - * /` and the like do not broadcast.

What it does
------------
Looks at every elementwise operator of the forward pass, residual sums first among them, whose
operands have sizes that differ and are not 1.

Why it is bad
-------------
The forward pass stops with "The size of tensor a (32) must match the size of tensor b (28) at
non-singleton dimension 3", which says neither which layer shrank the map nor by how much.

Example
-------
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(16, 16, 3)

        def forward(self, x):
            return x + self.conv(x)  # the convolution takes two rows and columns off

Use instead
-----------
    self.conv = nn.Conv2d(16, 16, 3, padding=1)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

from archcheck.analysis.shapes.arithmetic import clashes, text
from archcheck.analysis.shapes.failures import ShapeError, faults
from archcheck.core.finding import Finding, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

from ._residual_branches import advice, parted, unsqueezed
from ._unsuitable_inputs import misfed
from ._widths import working_sizes

if TYPE_CHECKING:
    from archcheck.evidence.records import Value
    from archcheck.evidence.trace import Trace

rule = Rule("AC205", "elementwise-shape-mismatch", Severity.ERROR)

SIGNS = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**", "floor_divide": "//",
    "remainder": "%", "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
    "bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^",
}  # fmt: skip
NAMED = (
    "maximum", "minimum", "where", "lerp", "addcmul", "addcdiv", "masked_fill", "fmod", "atan2",
    "logical_and", "logical_or", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss",
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div",
)  # fmt: skip

_ASSIGNED = re.compile(
    r"expanded size of the tensor \((\d+)\) must match the existing size \((\d+)"
)


@rule.on_trace
def operands(trace: Trace, project: Project) -> Iterator[Finding]:
    for (fault, pair), *alike in _same_cause(_clashing(trace, project)):
        one, other = (value.shape for value in pair)
        names = fault.operands()
        named = len(names) == len(fault.values) == 2
        first = f"`{names[0]}` {text(one)}" if named else text(one)
        second = f"`{names[1]}` {text(other)}" if named else text(other)
        sign = f"`{SIGNS.get(fault.kind, fault.kind)}`"
        changes = parted(trace, *pair)
        finding = fault.finding(
            f"the operands of {sign} do not broadcast: {first} and {second}",
            label=f"{text(one)} against {text(other)}",
            notes=[change.sentence for change in changes] or _sizes(trace),
            help=advice(changes, pair[0]) or unsqueezed(one, other, names),
            also=[
                *(
                    Related(change.module.constructed, "changes the size")
                    for change in changes
                    if change.module is not None and change.module.constructed is not None
                ),
                *(Related(later.location, "the same two shapes") for later, _ in alike),
            ],
        )
        yield replace(finding, covers=tuple(("AC004", later.location) for later, _ in alike))


@rule.on_trace
def assigned(trace: Trace, project: Project) -> Iterator[Finding]:
    for fault in faults(trace, project, "setitem"):
        place = _ASSIGNED.search(fault.failure.message)
        if place is None or len(fault.values) < 2:
            continue
        given = fault.values[-1].shape
        yield fault.finding(
            f"{fault.subject} is given {text(given)}, which does not fit there: "
            f"{place[1]} and {place[2]} differ",
            label=f"got {text(given)}",
        )


def _clashing(trace: Trace, project: Project) -> Iterator[tuple[ShapeError, tuple[Value, Value]]]:
    """The faults, each with the first two of its operands that do not broadcast."""
    for fault in faults(trace, project, *SIGNS, *NAMED):
        if len(fault.shapes) < 2 or misfed(fault):
            continue
        pairs = combinations(fault.values, 2)
        pair = next((pair for pair in pairs if clashes(pair[0].shape, pair[1].shape)), None)
        if pair is not None:
            yield fault, pair


def _same_cause(
    found: Iterable[tuple[ShapeError, tuple[Value, Value]]],
) -> Iterable[list[tuple[ShapeError, tuple[Value, Value]]]]:
    """Two shapes that meet again and again in one call do so for one reason."""
    groups: dict[object, list[tuple[ShapeError, tuple[Value, Value]]]] = {}
    for fault, (one, other) in found:
        key = fault.failure.call, frozenset((one.shape, other.shape))
        groups.setdefault(key, []).append((fault, (one, other)))
    return groups.values()


def _sizes(trace: Trace) -> list[str]:
    sizes = working_sizes(trace)
    return [sizes] if sizes else []
