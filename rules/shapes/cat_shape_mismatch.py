"""Tensors that are concatenated or stacked differ where they must not.

What it does
------------
Looks at every `cat`, `stack`, `hstack`, `vstack` of the forward pass whose tensors differ in
another dimension than the one they are joined along, or in their number of dimensions.

Why it is bad
-------------
The forward pass stops with "Sizes of tensors must match except in dimension 1". In networks that
go down and up again it does so only for input sizes that do not divide evenly.

Example
-------
    class Up(nn.Module):
        def forward(self, x, skip):  # [8, 64, 28, 28] and [8, 64, 27, 27]
            return torch.cat([x, skip], dim=1)

Use instead
-----------
    class Up(nn.Module):
        def forward(self, x, skip):
            x = F.interpolate(x, size=skip.shape[2:])
            return torch.cat([x, skip], dim=1)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.shapes.arithmetic import text
from archcheck.analysis.shapes.failures import ShapeError, faults
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

from ._widths import working_sizes

if TYPE_CHECKING:
    from archcheck.core.target import Shape
    from archcheck.evidence.trace import Trace

rule = Rule("AC206", "cat-shape-mismatch", Severity.ERROR)

JOINED_ALONG = {"hstack": 1, "vstack": 0, "row_stack": 0, "dstack": 2, "column_stack": 1}


@rule.on_trace
def tensors_that_differ(trace: Trace, project: Project) -> Iterator[Finding]:
    for fault in faults(trace, project, "cat", "stack", *JOINED_ALONG):
        shapes = list(dict.fromkeys(fault.shapes))
        if len(shapes) < 2:
            continue
        first, other = shapes[0], shapes[1]
        if len({len(shape) for shape in shapes}) > 1:
            other = next(shape for shape in shapes if len(shape) != len(first))
            message = f"`{fault.kind}` of tensors with different numbers of dimensions"
            advice = None
        elif fault.kind == "stack":
            message, advice = "`stack` of tensors with different shapes", None
        else:
            dim = _dimension(fault, len(first))
            other = next((s for s in shapes[1:] if _differing(first, s, dim)), ())
            places = _differing(first, other, dim)
            if not places:
                continue
            named = ", ".join(map(str, places))
            message = f"`{fault.kind}` along dimension {dim} of tensors that differ in {named}"
            advice = _advice(first, other, dim)
        sizes = working_sizes(trace)
        yield fault.finding(
            f"{message}: {text(first)} and {text(other)}",
            label=f"{text(first)} against {text(other)}",
            notes=[sizes] if sizes else [],
            help=advice,
        )


def _dimension(fault: ShapeError, rank: int) -> int:
    given = fault.op.arguments.get("dim", 0) if fault.op is not None else 0
    dim = JOINED_ALONG.get(fault.kind, given if isinstance(given, int) else 0)
    return dim % rank if rank else 0


def _differing(first: Shape, other: Shape, dim: int) -> list[int]:
    return [
        place
        for place, (one, two) in enumerate(zip(first, other, strict=False))
        if one != two and place != dim
    ]


def _advice(first: Shape, other: Shape, dim: int) -> str | None:
    places = _differing(first, other, dim)
    if len(places) == 1 and first[dim] == other[dim]:
        return f"dim={places[0]} joins them along the dimension in which they differ"
    if dim == 1 and len(first) == 4 and min(places) >= 2:
        return "bring one to the other's size: F.interpolate(x, size=skip.shape[2:]), or a crop"
    return None
