"""A reshape moves elements across the batch dimension.

What it does
------------
Follows the batch dimension through the forward pass, and looks for reshapes after which a row
holds elements of several samples, or one sample has fallen into rows that go into a layer as
samples of their own. Folding a dimension into the batch and back (time steps, windows, crops) is
left alone.

Why it is bad
-------------
Nothing fails before the loss does, for the wrong number of rows; where the numbers happen to fit,
nothing fails at all, and the model learns from samples that were cut up and mixed.

Example
-------
    class Net(nn.Module):
        def forward(self, x):
            x = self.features(x)  # [8, 4608]
            x = x.view(-1, 2048)  # [18, 2048]
            return self.classifier(x)

Use instead
-----------
    class Net(nn.Module):
        def forward(self, x):
            x = self.features(x)
            x = x.view(x.shape[0], -1)
            return self.classifier(x)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.axes.batch import Batch
from archcheck.analysis.axes.reshapes import misplaced, remedy, why
from archcheck.analysis.shapes.arithmetic import text
from archcheck.analysis.shapes.batch_axis import RESHAPES, batch_axes, cut_up, misled, mixed
from archcheck.analysis.shapes.failures import ShapeError, shortened, trail
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC211", "batch-size-changed", Severity.ERROR)


@rule.on_trace
def samples_that_mix(trace: Trace, project: Project) -> Iterator[Finding]:
    axes = batch_axes(trace)
    for op in trace.ops:
        if op.name not in RESHAPES or op.failure is not None or op.location is None:
            continue
        before, after = trace.values[op.inputs[0]], trace.values[op.outputs[0]]
        axis = axes.get(before.index)
        if axis is None or before.guessed or after.guessed:
            continue
        batch = before.shape[axis]
        why = mixed(before.shape, after.shape, axis) or cut_up(trace, op, batch)
        if why is None:
            continue
        fault = ShapeError.of(trace, project, op)
        written = fault.text(op.location)
        yield Finding(
            f"`{shortened(written) or op.name}` makes {text(after.shape)} of "
            f"{text(before.shape)}: {why}",
            op.location,
            label=f"{batch} samples, {after.shape[0]} rows",
            module=fault.module_path,
            trail=trail(trace, op.location, fault.call, op.inputs[:1]),
            help=_help(axis),
            covers=tuple(("AC201", place) for place in misled(trace, op) if axis == 0),
        )


@rule.on_trace
def samples_in_another_order(trace: Trace, project: Project) -> Iterator[Finding]:
    found = list(misplaced(trace))
    batch = Batch(trace, project) if found else None
    for each in found:
        at = each.op.location
        if at is None or batch is None or not any(map(batch.is_batch, each.roots)):
            continue
        before, after = trace.shape(each.op.inputs[0]), trace.shape(each.op.outputs[0])
        fault = ShapeError.of(trace, project, each.op)
        operands = fault.operands()
        yield Finding(
            f"`{shortened(fault.text(at)) or each.op.name}` makes {text(after)} of "
            f"{text(before)}: {why(each, after)} samples",
            at,
            label="mixes the samples",
            module=fault.module_path,
            trail=trail(trace, at, fault.call, each.op.inputs[:1]),
            help=remedy(each, operands[0] if operands else "x"),
            tentative=trace.symbolic is None,
        )


def _help(axis: int) -> str:
    if axis > 0:
        return f"bring the batch dimension to the front first: x.transpose(0, {axis})"
    return "keep the batch: x.view(x.shape[0], -1), or torch.flatten(x, 1)"
