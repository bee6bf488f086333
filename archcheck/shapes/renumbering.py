"""The fix of a size that does not fit: where the number comes from, another one is written."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace

from archcheck.evidence import Module, Trace, Value
from archcheck.finding import Edit, Fix, Location
from archcheck.shapes.deciding import WIDTH_GIVEN, Given, deciding, means_the_same
from archcheck.shapes.faults import Declared, Fault, node_at, source_file
from archcheck.shapes.rewriting import rewritten
from archcheck.source import ClassDefinition, Project, SourceFile
from archcheck.source.edits import replacement
from archcheck.source.scope import Function, argument_of
from archcheck.target import parse_target
from archcheck.wiring.dataflow import AFFINE, JOINS

_FARTHEST = 200


def renumbered(
    fault: Fault, declared: Declared | None, expected: int, got: int, dimension: int
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
    if declared.location == declared.constructor:
        return None
    at = file.statement_at(argument)
    giver = _giver(trace, fault.values[0], dimension)
    instance = _Built(trace, fault.project, fault.layer.path, giver is None)
    if not isinstance(argument, ast.Constant) and giver is not None:
        width = _width_of(giver, fault.project)
        there = width[0].statement_at(width[1]) if width is not None else None
        if width is not None and there is not None and means_the_same(width[1], there, at):
            function = at.scope.function
            giving = _Built(trace, fault.project, giver.path, False)
            # The same constructor, and the same run of it.
            if function is None or giving.ran(function) is instance.ran(function):
                return Fix("safe", (replacement(file, argument, file.text(width[1])),))
    place = deciding(argument, at, instance)
    if place is None:
        return None
    if place.statement.scope is at.scope and not fault.is_built_once(declared):
        # A number in the class is that of all its modules.
        return None
    edits = rewritten(place.file, place.expression, expected, got)
    return Fix("safe", edits) if edits else None


def retyped(fault: Fault, declared: Declared | None, old: str, new: str) -> Fix | None:
    """The fix that takes one class of torch for another where a layer's class is chosen: at the
    constructor, at the one place that decides a name for it, or as the base of a class of the
    project that is built here alone."""
    plain = fault.retyping(declared, old, new)
    if plain is not None or declared is None or fault.layer is None:
        return plain
    file = source_file(fault.project, declared.location)
    callee = node_at(file, declared.location) if file is not None else None
    if file is None or not isinstance(callee, ast.expr):
        return None
    at = file.statement_at(callee)
    target = file.resolve(callee, at)
    if isinstance(target, ClassDefinition):
        near = fault.project.files_naming(target.name, target.file)
        built = sum(len(other.calls_of(target)) for other in near)
        bases = target.node.bases
        if built != 1 or len(bases) != 1 or target.methods.keys() - {"__init__"}:
            return None
        return _renaming(target.file, bases[0], old, new)
    place = deciding(callee, at, _Built(fault.trace, fault.project, fault.layer.path, False))
    return _renaming(place.file, place.expression, old, new) if place is not None else None


def _renaming(file: SourceFile, expression: ast.expr, old: str, new: str) -> Fix | None:
    """Another last name of a dotted one."""
    if not isinstance(expression, ast.Attribute) or expression.attr != old:
        return None
    at = file.location(expression)
    name = replace(at, line=at.end_line, column=at.end_column - len(old))
    return Fix("safe", (Edit(name, new),))


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


def _width_of(module: Module, project: Project) -> tuple[SourceFile, ast.expr] | None:
    """The expression of a layer's output size, at its constructor."""
    if module.constructed is None:
        return None
    file = source_file(project, module.constructed)
    node = node_at(file, module.constructed) if file is not None else None
    if file is None or not isinstance(node, ast.Call):
        return None
    found = argument_of(node, *WIDTH_GIVEN[module.type])
    return (file, found) if found is not None else None


@dataclass(frozen=True, slots=True)
class _Built:
    """The modules of a traced model whose constructors ran around a layer.

    Attributes:
        path: That of the layer, or of a module around it.
        is_fed: The size in question is that of the model's own input. Who builds the model with
            the same default may well feed it as the default says.
    """

    trace: Trace
    project: Project
    path: str
    is_fed: bool

    @property
    def is_seen(self) -> bool:
        return True

    def given(self, function: Function, name: str) -> Given | None:
        """See `Instance`."""
        module = self.ran(function)
        return self._given(function, name, module) if module is not None else None

    def ran(self, function: Function) -> Module | None:
        """The module around the layer whose constructor this function is."""
        owner = function.owner
        if owner is None or function.name != "__init__":
            return None
        path = self.path
        while path:
            path = path.rpartition(".")[0]
            module = self.trace.module(path)
            if module is not None and module.type == owner.name:
                return module
        return None

    def _given(self, function: Function, name: str, module: Module) -> Given | None:
        signature = function.signature.without_first()
        parameter = signature.by_name.get(name)
        call, file = self._call(module)
        above = _Built(self.trace, self.project, module.path, self.is_fed)
        if call is not None:
            bound = signature.bind(call)
            if not bound.complete:
                return None
            given = bound.values.get(name)
            if given is not None:
                if file is None or not self._is_built_once(module.constructed):
                    return None
                return Given(given, file.statement_at(given), above)
        if parameter is None or parameter.default is None or function.statement is None:
            return None
        if self.is_fed and self._is_relied_on(function, name):
            return None
        return Given(parameter.default, function.statement, above)

    def _is_relied_on(self, function: Function, name: str) -> bool:
        """Whether the project builds the class without this argument."""
        owner = function.owner
        assert owner is not None
        signature = function.signature.without_first()
        return any(
            name not in signature.bind(call.node).values
            for file in self.project.files_naming(owner.name, function.file)
            for call in file.calls_of(owner)
        )

    def _call(self, module: Module) -> tuple[ast.Call | None, SourceFile | None]:
        """The call that built a module, and its file; None where the user named it."""
        if module.constructed is not None:
            file = source_file(self.project, module.constructed)
            node = node_at(file, module.constructed) if file is not None else None
            return (node, file) if isinstance(node, ast.Call) else (None, None)
        target = parse_target(self.trace.target)
        if target is None or not target.call:
            return None, None
        node = ast.parse(f"_({target.call})", mode="eval").body
        return (node, None) if isinstance(node, ast.Call) else (None, None)

    def _is_built_once(self, place: Location | None) -> bool:
        return sum(module.constructed == place for module in self.trace.modules) == 1
