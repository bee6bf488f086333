"""A batch or instance norm is made for inputs of another number of dimensions.

What it does
------------
Looks for `BatchNorm1d` on the output of a 2-d convolution, `BatchNorm2d` on a flat tensor, and
the like: in the forward pass, and from the source alone along a chain of layers inside
`nn.Sequential` or in a straight-line `forward`.

Why it is bad
-------------
The forward pass stops with "expected 2D or 3D input (got 4D input)".

Example
-------
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(16, 32, 3)
            self.bn = nn.BatchNorm1d(32)

        def forward(self, x):
            return self.bn(self.conv(x))

Use instead
-----------
    self.bn = nn.BatchNorm2d(32)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.shapes.arithmetic import text
from archcheck.analysis.shapes.failures import Declared, ShapeError, faults
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project, SourceFile

from ._chain_shapes import clashes_in, rank_finding
from ._norms import form, norm_type, rank_fits, sibling
from ._retype_layer import retyped
from ._unsuitable_inputs import misfed

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC204", "norm-wrong-rank", Severity.ERROR, fix="safe")


@rule.on_source
def rank_along_a_chain(file: SourceFile) -> Iterator[Finding]:
    for clash in clashes_in(file, "rank"):
        yield rank_finding(clash)


@rule.on_trace
def rank_that_arrived(trace: Trace, project: Project) -> Iterator[Finding]:
    for fault in faults(trace, project, "batch_norm", "instance_norm"):
        kind = norm_type(fault.layer)
        if kind is None or not fault.got or rank_fits(fault) or misfed(fault):
            continue
        declared = fault.declared_type()
        right = sibling(kind, len(fault.got))
        subject = fault.subject.removesuffix(f" ({kind})")
        yield fault.finding(
            f"{subject} is a {kind}, which takes {form(kind)}, got {text(fault.got)}",
            label=f"got {len(fault.got)} dimensions",
            declared=declared,
            at_constructor=True,
            help=_help(fault, declared, kind, right),
            fix=retyped(fault, declared, kind, right) if right else None,
        )


def _help(fault: ShapeError, declared: Declared | None, kind: str, right: str | None) -> str | None:
    if right is None:
        return None
    written = fault.text(declared.constructor) if declared is not None else ""
    if kind in written:
        return written.replace(kind, right, 1)
    return f"nn.{right}({fault.got[1] if len(fault.got) > 1 else '…'})"
