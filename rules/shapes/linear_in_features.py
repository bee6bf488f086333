"""A linear (or recurrent) layer is built for another width than the one that reaches it.

What it does
------------
Compares `in_features` (of an LSTM, GRU or RNN, `input_size`) with the last dimension of what the
layer is given: of what the forward pass really brought there, and from the source alone along a
chain of layers inside `nn.Sequential` or in a straight-line `forward`.

Why it is bad
-------------
The forward pass stops with "mat1 and mat2 shapes cannot be multiplied", which names neither the
layer nor where its width was declared. After a flattening, the width depends on the size of the
input image as well.

Example
-------
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 16, 3, padding=1)
            self.pool = nn.AdaptiveAvgPool2d(2)
            self.classifier = nn.Linear(16, 10)

        def forward(self, x):
            x = self.pool(self.conv(x))
            return self.classifier(torch.flatten(x, 1))  # 64 features: 16 channels of 2 x 2

Use instead
-----------
    self.classifier = nn.Linear(64, 10)
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from archcheck.analysis.edits.syntax_edits import after
from archcheck.analysis.shapes.arithmetic import text
from archcheck.analysis.shapes.failures import ShapeError, faults, node_at, source_file
from archcheck.core.finding import Finding, Fix, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project, SourceFile

from ._chain_shapes import clashes_in, finding
from ._renumber_size import renumbered
from ._unsuitable_inputs import RECURRENT, in_features, misfed
from ._widths import explained

if TYPE_CHECKING:
    from archcheck.core.target import Shape
    from archcheck.evidence.trace import Trace

rule = Rule("AC201", "linear-in-features", Severity.ERROR, fix="safe")


@rule.on_source
def width_along_a_chain(file: SourceFile) -> Iterator[Finding]:
    for clash in clashes_in(file, "linear"):
        yield finding(clash, "features")


@rule.on_trace
def width_that_arrived(trace: Trace, project: Project) -> Iterator[Finding]:
    for fault in faults(trace, project, "linear", *RECURRENT):
        expected = in_features(fault)
        if expected is None or not fault.got or misfed(fault) or fault.got[-1] == expected:
            continue
        got = fault.got[-1]
        declared = fault.declared("in_features" if fault.kind == "linear" else "input_size", 0)
        notes, folded = explained(trace, fault.values[0], expected)
        moved = _moved(fault, expected)
        yield fault.finding(
            f"{fault.subject} expects {expected} features, got {got}",
            label=f"got {text(fault.got)}, expects [*, {expected}]",
            declared=declared,
            at_constructor=True,
            notes=notes,
            help=moved.help if moved else _resized(fault, folded),
            fix=moved.fix if moved else renumbered(fault, declared, expected, got, -1),
        )


class _Moved(NamedTuple):
    """The features are there, but not in the last dimension: how to bring them there."""

    help: str
    fix: Fix | None


def _moved(fault: ShapeError, expected: int) -> _Moved | None:
    got = fault.got
    if len(got) > 2 and prod(got[1:]) == expected:
        name = next(iter(fault.operands()), "x")
        # With all of its features in a row, the input means what it meant.
        return _Moved(f"flatten it first: torch.flatten({name}, 1)", _with(fault, "flatten(1)"))
    if len(got) in (3, 4) and got[1] == expected:
        call = "transpose(1, 2)" if len(got) == 3 else "movedim(1, -1)"
        name = next(iter(fault.operands()), "x")
        fix = _with(fault, call)
        return _Moved(
            f"the {expected} features are in dimension 1: {name}.{call}",
            replace(fix, safety="unsafe") if fix is not None else None,
        )
    return None


def _with(fault: ShapeError, method: str) -> Fix | None:
    """The fix that gives the layer the result of a method of its operand."""
    file = source_file(fault.project, fault.location) if fault.operands() else None
    node = node_at(file, fault.location) if file is not None else None
    if file is None or not isinstance(node, ast.Call) or len(node.args) != 1:
        return None
    operand = node.args[0]
    if not isinstance(operand, ast.Name | ast.Attribute | ast.Call | ast.Subscript):
        return None
    return Fix("safe", (after(file, operand, f".{method}"),))


def _resized(fault: ShapeError, folded: Shape) -> str:
    layer, got = fault.layer.type if fault.layer is not None else "Linear", fault.got[-1]
    if len(folded) in (2, 3) and prod(folded[1:]) > 1:
        pool = f"nn.AdaptiveAvgPool{len(folded) - 1}d(1)"
        return f"nn.{layer}({got}, …), or {pool} and nn.Linear({folded[0]}, …) for any input size"
    return f"nn.{layer}({got}, …)"
