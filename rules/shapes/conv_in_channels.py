"""A convolution is built for another number of channels than reaches it.

What it does
------------
Compares `in_channels` (and `groups`) of a convolution, transposed ones included, with dimension
1 of what it is given: of what the forward pass really brought there, and from the source alone
along a chain of layers inside `nn.Sequential`.

Why it is bad
-------------
The forward pass stops with "expected input to have 64 channels, but got 128 channels instead".

Example
-------
    features = nn.Sequential(
        nn.Conv2d(3, 64, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
    )

Use instead
-----------
    features = nn.Sequential(
        nn.Conv2d(3, 64, 3),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3),
    )
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.shapes.arithmetic import text
from archcheck.analysis.shapes.failures import ShapeError, faults
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project, SourceFile

from ._chain_shapes import clashes_in, finding
from ._renumber_size import is_in_another_axis, renumbered
from ._unsuitable_inputs import in_channels, misfed

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC202", "conv-in-channels", Severity.ERROR, fix="safe")

KINDS = (
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
)  # fmt: skip


@rule.on_source
def channels_along_a_chain(file: SourceFile) -> Iterator[Finding]:
    for clash in clashes_in(file, "conv"):
        yield finding(clash, "channels")


@rule.on_trace
def channels_that_arrived(trace: Trace, project: Project) -> Iterator[Finding]:
    for fault in faults(trace, project, *KINDS):
        expected = in_channels(fault)
        if expected is None or len(fault.got) < 2 or misfed(fault) or fault.got[1] == expected:
            continue
        got, layer = fault.got[1], fault.layer.type if fault.layer is not None else fault.kind
        declared = fault.declared("in_channels", 0)
        groups = fault.attribute("groups")
        notes = []
        if isinstance(groups, int) and groups > 1:
            notes.append(f"{expected} channels in {groups} groups")
        yield fault.finding(
            f"{fault.subject} expects {expected} channels, got {got}",
            label=f"got {text(fault.got)}, expects [*, {expected}{', *' * (len(fault.got) - 2)}]",
            declared=declared,
            at_constructor=True,
            notes=notes,
            help=_help(fault, expected, got, layer),
            fix=renumbered(fault, declared, expected, got, 1),
        )


def _help(fault: ShapeError, expected: int, got: int, layer: str) -> str | None:
    if is_in_another_axis(fault, expected, 1) and expected in fault.got[2:]:
        place = fault.got.index(expected, 2)
        name = next(iter(fault.operands()), "x")
        order = f"{name}.movedim({place}, 1)" if len(fault.got) > 3 else f"{name}.transpose(1, 2)"
        return f"the {expected} channels are in dimension {place}: {order}, or one transpose less"
    return f"nn.{layer}({got}, …)" if fault.layer is not None else None
