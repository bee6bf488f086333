"""The fix of a size that does not fit: where the number comes from, another one is written."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from archcheck.analysis.edits.size_source import WIDTH_GIVEN, means_the_same, size_source
from archcheck.analysis.edits.syntax_edits import replacement
from archcheck.analysis.shapes.failures import (
    Declared,
    ShapeError,
    is_built_once,
    node_at,
    source_file,
)
from archcheck.core.finding import Fix
from archcheck.evidence.dataflow import AFFINE, JOINS, indices
from archcheck.python.names.scope import argument_of
from archcheck.python.names.sites import Statement

from ._instances import Built
from ._rewrite_number import rewritten

if TYPE_CHECKING:
    from archcheck.core.target import Shape
    from archcheck.evidence.records import Module, Value
    from archcheck.evidence.trace import Trace
    from archcheck.python import SourceFile

_FARTHEST = 200


def renumbered(
    fault: ShapeError, declared: Declared | None, expected: int, got: int, dimension: int
) -> Fix | None:
    """The fix that has a layer built for the size that arrives.

    It takes the name that the layer before gives its own size, where there is one; else it
    writes the number at the one place that decides it.

    Args:
        declared: Where the layer got the size that it was built for.
        dimension: The dimension of what arrives, 1 or -1.
    """
    trace = fault.trace
    if declared is None or fault.layer is None or trace.inferred_input:
        return None
    file = source_file(fault.project, declared.location)
    argument = node_at(file, declared.location) if file is not None else None
    if file is None or not isinstance(argument, ast.expr):
        return None
    if declared.location == declared.constructor or is_in_another_axis(fault, expected, dimension):
        return None
    at = file.statement_at(argument)
    giver = _giver(trace, fault.values[0], dimension)
    instance = Built(trace, fault.project, fault.layer.path, expected, is_fed=giver is None)
    if giver is not None and not isinstance(argument, ast.Constant):
        name = _name_of_width(giver, at, instance)
        if name is not None:
            return Fix("safe", (replacement(file, argument, name),))
    place = size_source(argument, at, instance)
    if place is None:
        return None
    if place.statement.scope is at.scope and not is_built_once(trace, declared.constructor):
        # A number in the class is that of all its modules.
        return None
    if place.statement.scope is not at.scope and _is_width_of_input(fault, expected, dimension):
        return None  # the number says what the module takes, and that is what it gets
    edits = rewritten(place.file, place.expression, expected, got)
    if not edits:
        return None
    return Fix("unsafe" if _is_default(place.file, place.expression) else "safe", edits)


def is_in_another_axis(fault: ShapeError, expected: int, dimension: int) -> bool:
    """Whether the size that a layer wants arrives, and only in another dimension: then the layer
    is right, and a transpose is missing or one too many."""
    shape = fault.got
    place = dimension % len(shape)
    return expected > 1 and expected in (*shape[:place], *shape[place + 1 :])


def _is_width_of_input(fault: ShapeError, expected: int, dimension: int) -> bool:
    """Whether a module around the layer is given the very size that the layer was built for."""
    trace, call = fault.trace, fault.call
    place = call.parent if call is not None else None
    while place is not None:
        around = trace.calls[place]
        for index in indices(around.inputs):
            shape = trace.shape(index)
            if len(shape) > 1 and shape[dimension] == expected:
                return True
        place = around.parent
    return False


def _is_default(file: SourceFile, expression: ast.expr) -> bool:
    """Whether an expression stands in the default of a parameter: callers rely on that."""
    for node in ast.walk(file.tree):
        if isinstance(node, ast.arguments):
            defaults = [*node.defaults, *(one for one in node.kw_defaults if one is not None)]
            if any(part is expression for one in defaults for part in ast.walk(one)):
                return True
    return False


def reshaped(
    fault: ShapeError, declared: Declared | None, expected: Shape, got: Shape
) -> Fix | None:
    """The fix that has a layer built for other sizes, where they are written out in a row.

    Args:
        declared: Where the layer got the sizes that it was built for.
    """
    if declared is None or fault.trace.inferred_input:
        return None
    file = source_file(fault.project, declared.location)
    row = node_at(file, declared.location) if file is not None else None
    if file is None or not isinstance(row, ast.Tuple | ast.List) or len(row.elts) != len(got):
        return None
    if not is_built_once(fault.trace, declared.constructor):
        return None
    changes = [
        rewritten(file, size, old, new)
        for size, old, new in zip(row.elts, expected, got, strict=True)
        if old != new
    ]
    return Fix("safe", tuple(edit for edits in changes for edit in edits)) if all(changes) else None


def _giver(trace: Trace, value: Value, dimension: int) -> Module | None:
    """The layer of torch that gave a value its size, through all that keeps it."""
    size = value.shape[dimension]
    seen = value
    for _ in range(_FARTHEST):
        op = trace.dataflow.producer(seen.index)
        if op is None or not op.inputs:
            return None
        module = trace.module_of(op)
        if module is not None and module.type in WIDTH_GIVEN:
            return module if module.attributes.get(WIDTH_GIVEN[module.type][0]) == size else None
        before = trace.values[op.inputs[0]]
        if op.name in AFFINE or (op.name in JOINS and op.name != "add"):
            return None
        if len(before.shape) != len(seen.shape) or before.shape[dimension] != size:
            return None
        seen = before
    return None


def _name_of_width(giver: Module, at: Statement, instance: Built) -> str | None:
    """What the constructor of a layer calls its output size, if that means the same at the
    statement that builds another layer: in the same run of the same function."""
    trace, project = instance.trace, instance.project
    if giver.constructed is None:
        return None
    file = source_file(project, giver.constructed)
    call = node_at(file, giver.constructed) if file is not None else None
    if file is None or not isinstance(call, ast.Call):
        return None
    width = argument_of(call, *WIDTH_GIVEN[giver.type])
    if width is None or not means_the_same(width, file.statement_at(width), at):
        return None
    function = at.scope.function
    run = instance.ran(function) if function is not None else None
    if run is None:
        # Where it cannot be told which run it was, there must have been but one.
        layers = (giver, trace.module(instance.path))
        alone = all(one is not None and is_built_once(trace, one.constructed) for one in layers)
        return file.text(width) if alone else None
    assert function is not None
    same = Built(trace, project, giver.path).ran(function) is run
    return file.text(width) if same else None
