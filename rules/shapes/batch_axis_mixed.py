"""A layer takes the samples of the batch for the steps of a sequence.

What it does
------------
Follows the batch through the forward pass, and looks for attention, recurrent layers,
convolutions, cumulative sums and means that run over it while they take another dimension of the
input (time, tokens, places of an image) for their batch. Which dimension is the batch is told by
names (`--input B,T,64`, `batch, time, _ = x.shape`, a docstring), by other layers (convolutions,
`batch_first=True`), and by code that takes the last step of dimension 1. Where nothing tells, or
the code says that time comes first, nothing is reported; nor where samples meet on purpose, in
batch norms, losses and contrastive logits.

Why it is bad
-------------
Nothing fails. Each sample is answered from those that happen to share its batch, and steps of one
sample never see each other. The model trains, and gives other answers for another batch.

Example
-------
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(64, 32)  # reads [time, batch, features]

        def forward(self, x):
            batch, time, _ = x.shape
            out, _ = self.rnn(x)
            return out[:, -1]

Use instead
-----------
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(64, 32, batch_first=True)

        def forward(self, x):
            batch, time, _ = x.shape
            out, _ = self.rnn(x)
            return out[:, -1]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from archcheck.analysis.axes.mixing import Mixing, mixings
from archcheck.analysis.shapes.arithmetic import text
from archcheck.analysis.shapes.failures import ShapeError, named, trail
from archcheck.core.finding import Finding, Fix, Location, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

from ._batch_first import constructor_of, layer_of, told_batch_first

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC219", "batch-axis-mixed", Severity.ERROR, fix="safe")

_DOES = {
    "attention": "attends across",
    "recurrence": "steps through",
    "convolution": "slides over",
    "cumulative": "adds up along",
    "product": "weighs and sums",
    "reduction": "summarises",
}


@rule.on_trace
def samples_as_steps(trace: Trace, project: Project) -> Iterator[Finding]:
    found: dict[Location, list[Mixing]] = {}
    for mixing in mixings(trace, project):
        if mixing.op.location is not None:
            found.setdefault(mixing.op.location, []).append(mixing)
    for at, group in found.items():
        yield _finding(trace, project, at, group)


def _finding(trace: Trace, project: Project, at: Location, group: Sequence[Mixing]) -> Finding:
    first = group[0]
    fault = ShapeError.of(trace, project, first.op)
    shape = trace.values[first.meeting.value].shape
    layer = layer_of(trace, first.op)
    subject = named(layer) if layer is not None else fault.subject
    constructor = constructor_of(project, layer) if layer is not None else None
    related = []
    if first.reason.location is not None and first.reason.location != at:
        related.append(Related(first.reason.location, first.reason.text))
    fix: Fix | None = None
    if constructor is not None:
        declared = constructor[0].location(constructor[1])
        related.insert(0, Related(declared, "declared here"))
        if all(mixing.dim == 0 and mixing.lane == 1 for mixing in group):
            fix = told_batch_first(*constructor)
    return Finding(
        f"{subject} {_DOES[first.meeting.kind]} the {shape[first.dim]} samples of the batch: it "
        f"takes dimension {first.lane} of {text(shape)} for the batch, and that is dimension "
        f"{first.dim}",
        at,
        label="mixes the samples",
        module=fault.module_path,
        trail=trail(trace, at, fault.call, [first.meeting.value]),
        related=tuple(related),
        notes=(f"dimension {first.dim} is the batch: {first.reason.text}",),
        help=_help(fault, first, layer is not None),
        fix=fix,
        covers=(("AC403", at),),
    )


def _help(fault: ShapeError, mixing: Mixing, is_layer: bool) -> str:
    operands = fault.operands()
    name = operands[0] if len(operands) > 0 and operands[0].isidentifier() else "x"
    if is_layer and mixing.dim == 0:
        return (
            f"batch_first=True where the layer is made, or {name}.transpose(0, 1) before the call "
            "and after it"
        )
    return f"{name}.transpose({mixing.dim}, {mixing.lane}) brings the batch where it is read"
