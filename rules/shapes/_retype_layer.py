"""The fix of a layer of the wrong class: another one of torch is named where it is chosen."""

from __future__ import annotations

import ast
from dataclasses import replace

from archcheck.analysis.edits.size_source import size_source
from archcheck.analysis.shapes.failures import Declared, ShapeError, node_at, source_file
from archcheck.core.finding import Edit, Fix
from archcheck.evidence.dataflow import indices
from archcheck.python import ClassDefinition, Project, SourceFile
from archcheck.python.names.resolve import resolve_parts

from ._instances import Built


def retyped(fault: ShapeError, declared: Declared | None, old: str, new: str) -> Fix | None:
    """The fix that takes one class of torch for another: at the constructor, at the one place
    that decides a name for the class, or as the base of a class that is used here alone.

    Args:
        declared: The callee of the constructor.
    """
    if declared is None or fault.layer is None or not _all_need_it(fault, declared):
        return None
    file = source_file(fault.project, declared.location)
    callee = node_at(file, declared.location) if file is not None else None
    if file is None or not isinstance(callee, ast.expr):
        return None
    at = file.statement_at(callee)
    target = file.resolve(callee, at)
    if isinstance(target, ClassDefinition):
        base = _only_base(target, fault.project)
        return _renamed(target.file, base, old, new) if base is not None else None
    place = size_source(callee, at, Built(fault.trace, fault.project, fault.layer.path))
    return _renamed(place.file, place.expression, old, new) if place is not None else None


def _all_need_it(fault: ShapeError, declared: Declared) -> bool:
    """Whether every layer that is built there gets inputs of as many dimensions."""
    trace = fault.trace
    calls = [
        trace.calls[call]
        for module in trace.modules
        if module.constructed == declared.constructor
        for call in module.calls
    ]
    firsts = [index for call in calls for index in list(indices(call.inputs))[:1]]
    return {len(trace.shape(index)) for index in firsts} == {len(fault.got)}


def _only_base(target: ClassDefinition, project: Project) -> ast.expr | None:
    """The base of a class that only chooses the arguments of its constructor, and that is named
    nowhere but where the layer is built."""
    named = [
        mention
        for file in project.files_naming(target.name, target.file)
        for mention in file.references
        if target.name in mention.parts
        and resolve_parts(mention.parts, mention.statement) is target
    ]
    if len(named) != 1 or len(target.node.bases) != 1 or target.methods.keys() - {"__init__"}:
        return None
    return target.node.bases[0]


def _renamed(file: SourceFile, expression: ast.expr, old: str, new: str) -> Fix | None:
    """Another last name of a dotted one; a bare one would need an import."""
    if not isinstance(expression, ast.Attribute) or expression.attr != old:
        return None
    at = file.location(expression)
    name = replace(at, line=at.end_line, column=at.end_column - len(old))
    return Fix("safe", (Edit(name, new),))
