"""A `squeeze()` that names no dimension also drops a batch of one.

What it does
------------
Looks for `squeeze()` without a dimension on values that still have the batch of the input as a
dimension of their own.

Why it is bad
-------------
With one sample (the last batch of an epoch, a single image at inference) the batch dimension goes,
too. What comes after fails, or takes the features for samples.

Example
-------
    class Net(nn.Module):
        def forward(self, x):
            x = self.pool(self.features(x))  # [batch, 512, 1, 1]
            return self.classifier(x.squeeze())

Use instead
-----------
    class Net(nn.Module):
        def forward(self, x):
            x = self.pool(self.features(x))  # [batch, 512, 1, 1]
            return self.classifier(x.flatten(1))
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.axes.batch import Batch
from archcheck.analysis.axes.flow import AxisFlow
from archcheck.analysis.axes.parts import sole_root
from archcheck.analysis.edits.syntax_edits import replacement
from archcheck.analysis.shapes.arithmetic import text
from archcheck.analysis.shapes.failures import ShapeError, node_at, shortened, source_file, trail
from archcheck.core.finding import Finding, Fix, Location, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

if TYPE_CHECKING:
    from archcheck.core.target import Shape
    from archcheck.evidence.records import Op
    from archcheck.evidence.trace import Trace

rule = Rule("AC221", "squeezed-batch", Severity.WARNING, fix="safe")


@rule.on_trace
def batch_of_one_dropped(trace: Trace, project: Project) -> Iterator[Finding]:
    ops = [op for op in trace.ops if op.name == "squeeze" and op.arguments.get("dim") is None]
    batch = Batch(trace, project) if ops else None
    for op in ops:
        axis = _batch_axis(trace, op, batch) if batch is not None else None
        if axis is None or op.location is None:
            continue
        shape = trace.shape(op.inputs[0])
        gone = [dim for dim, size in enumerate(shape) if size == 1 and dim != axis]
        fault = ShapeError.of(trace, project, op)
        yield Finding(
            f"`{shortened(fault.text(op.location)) or 'squeeze()'}` of {text(shape)} drops "
            f"dimension {axis}, too, where the batch has one sample",
            op.location,
            label="drops a batch of one",
            module=fault.module_path,
            trail=trail(trace, op.location, fault.call, op.inputs[:1]),
            help=_help(gone),
            fix=_fix(project, op.location, gone),
            covers=_follows(trace, op, axis, shape),
        )


def _batch_axis(trace: Trace, op: Op, batch: Batch) -> int | None:
    """The dimension of the batch that the op would drop with one sample."""
    axes = trace.analysed(AxisFlow).of(op.inputs[0])
    for dim, axis in enumerate(axes or ()):
        root = sole_root(axis)
        if root is not None and batch.is_batch(root):
            # A tensor of two dimensions whose second is features: without a batch it is a sample.
            return dim if len(axes or ()) > 1 else None
    return None


def _help(gone: list[int]) -> str:
    if not gone:
        return "name the dimension that is to go, or leave the squeeze out"
    dims = str(gone[0]) if len(gone) == 1 else f"({', '.join(map(str, gone))})"
    return f"squeeze({dims}) drops these dimensions alone"


def _fix(project: Project, at: Location, gone: list[int]) -> Fix | None:
    """The squeeze with the dimensions that it dropped in this pass."""
    file = source_file(project, at)
    node = node_at(file, at) if file is not None else None
    if file is None or not isinstance(node, ast.Call) or node.keywords or not gone:
        return None
    function = node.func
    if not isinstance(function, ast.Attribute):
        return None
    dims = str(gone[0]) if len(gone) == 1 else f"({', '.join(map(str, gone))})"
    source = file.text(node.args[0]) if node.args else file.text(function.value)
    is_function = bool(node.args)
    new = f"{file.text(function)}({source}, {dims})" if is_function else f"{source}.squeeze({dims})"
    return Fix("safe", (replacement(file, node, new),))


def _follows(trace: Trace, op: Op, axis: int, shape: Shape) -> tuple[tuple[str, Location], ...]:
    """The failures of a pass with one sample that lacks its batch from here on."""
    if shape[axis] != 1:
        return ()
    after = trace.dataflow.after(op.outputs)
    places = [
        failure.location
        for failure in trace.failures
        if failure.location is not None
        and (failure.op is None or not after.isdisjoint(trace.ops[failure.op].inputs))
    ]
    codes = ("AC004", "AC204", "AC218", "AC217", "AC402")
    return tuple((code, place) for place in places for code in codes)
