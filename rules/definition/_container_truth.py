"""Conditions that ask for the truth of a container, which is false when it is empty."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from archcheck.core.finding import Location
from archcheck.python import AttributeWrite, Function, ModuleClass, Statement

_CHANGES = frozenset({
    "append", "extend", "insert", "add_module", "register_module", "_modules", "__setitem__",
})  # fmt: skip


class Question(NamedTuple):
    """A condition on an attribute or a parameter that can hold an empty Sequential.

    Attributes:
        asked: What is asked: `self.shortcut`, `head`.
        whole: The same with the `not` before it, if there is one.
        emptied: Where it gets the empty Sequential.
        chosen: Of `head or default`, the whole choice.
    """

    asked: ast.Attribute | ast.Name
    whole: ast.expr
    negated: bool
    emptied: Location
    chosen: ast.BoolOp | None = None

    @property
    def name(self) -> str:
        return self.asked.id if isinstance(self.asked, ast.Name) else self.asked.attr


def questions(module: ModuleClass) -> Iterator[Question]:
    """The conditions of a class that come out otherwise when the container is empty; those that
    do the same either way are left out."""
    yield from _on_attributes(module)
    if module.initializer is not None:
        yield from _on_parameters(module, module.initializer)


def _on_attributes(module: ModuleClass) -> Iterator[Question]:
    asked = [
        (method, at, node, *found)
        for method in module.own_methods
        for node, at in method.nodes(ast.If, ast.While, ast.IfExp, ast.Assert)
        for found in _asked(node.test, node.test, False)  # type: ignore[attr-defined]
        if _is_of_self(found[0], method)
    ]
    chosen = [
        (node, value)
        for method in module.own_methods
        for node, value, _ in _choices(method)
        if _is_of_self(value, method)
    ]
    empty = _may_be_empty(module) if asked or chosen else {}
    for method, at, node, attribute, whole, negated in asked:
        assert isinstance(attribute, ast.Attribute)
        if attribute.attr in empty and not _changes_nothing(method, node, at, attribute):
            yield Question(attribute, whole, negated, empty[attribute.attr].location)
    for choice, attribute in chosen:
        assert isinstance(attribute, ast.Attribute)
        if attribute.attr in empty:
            yield Question(attribute, attribute, False, empty[attribute.attr].location, choice)


def _is_of_self(asked: ast.expr, method: Function) -> bool:
    return (
        isinstance(asked, ast.Attribute)
        and isinstance(asked.value, ast.Name)
        and asked.value.id == method.self_name
    )


def _choices(
    method: Function,
) -> Iterator[tuple[ast.BoolOp, ast.Attribute | ast.Name, Statement]]:
    """What `a or b` asks for its truth, where the choice is a value and no test."""
    tests = {
        part
        for node, _ in method.nodes(ast.If, ast.While, ast.IfExp, ast.Assert)
        for part in ast.walk(node.test)  # type: ignore[attr-defined]
    }
    for node, at in method.nodes(ast.BoolOp):
        assert isinstance(node, ast.BoolOp)
        if node not in tests and isinstance(node.op, ast.Or):
            for value in node.values[:-1]:
                if isinstance(value, ast.Attribute | ast.Name):
                    yield node, value, at


def _on_parameters(module: ModuleClass, constructor: Function) -> Iterator[Question]:
    """The questions for the truth of what some caller gives as an empty Sequential."""
    asked = [
        (attribute, whole, negated, None if isinstance(node, ast.If) else _otherwise(node), at)
        for node, at in constructor.nodes(ast.If, ast.IfExp)
        for attribute, whole, negated in _asked(node.test, node.test, False)  # type: ignore[attr-defined]
    ]
    choices = [(value, value, False, node, at) for node, value, at in _choices(constructor)]
    for value, whole, negated, choice, at in (*asked, *choices):
        if not isinstance(value, ast.Name) or not _is_a_parameter(constructor, value.id, at):
            continue
        if choice is not None and _is_the_identity(module, choice):
            continue
        emptied = _given_empty(module, value.id)
        if emptied is not None:
            chosen = choice if isinstance(choice, ast.BoolOp) else None
            yield Question(value, whole, negated, emptied, chosen)


def _otherwise(node: ast.AST) -> ast.expr:
    assert isinstance(node, ast.IfExp)
    return node.body if isinstance(node.test, ast.UnaryOp) else node.orelse


def _is_a_parameter(function: Function, name: str, at: Statement) -> bool:
    bindings = function.reaching(name, at)
    return bool(bindings) and all(binding.kind == "parameter" for binding in bindings)


def _is_the_identity(module: ModuleClass, choice: ast.expr) -> bool:
    """Whether what is taken in the place of an empty Sequential does the same: nothing."""
    other = choice.values[-1] if isinstance(choice, ast.BoolOp) else choice
    if isinstance(other, ast.Constant):
        return other.value is None
    return isinstance(other, ast.Call) and any(
        layer.is_a("Identity") or (layer.is_sequential and layer.children == ())
        for layer in module.file.layers(other)
    )


def _given_empty(module: ModuleClass, parameter: str) -> Location | None:
    """Where somebody builds the class with an empty Sequential for a parameter."""
    if module.constructor is None:
        return None
    for file in module.file.project.files_naming(module.name, module.file):
        for call in file.calls_of(module.definition):
            given = module.constructor.bind(call.node).values.get(parameter)
            if given is not None and any(
                layer.is_sequential and layer.children == ()
                for layer in file.layers(given, call.statement)
            ):
                return file.location(given)
    return None


def _may_be_empty(module: ModuleClass) -> dict[str, AttributeWrite]:
    """The attributes that can hold an empty Sequential, and where they get it."""
    found: dict[str, AttributeWrite] = {}
    for definition in module.lineage:
        if definition.module is None:
            continue
        for submodule in definition.module.submodules:
            name, write = submodule.attribute, submodule.write
            if not any(
                layer.class_name == "Sequential" and layer.is_torch and layer.children == ()
                for layer in submodule.alternatives
            ):
                continue
            if not _is_replaced(definition.module, write) and not _is_filled(module, name):
                found.setdefault(name, write)
    return found


def _is_replaced(module: ModuleClass, write: AttributeWrite) -> bool:
    """Whether another value always takes its place."""
    return any(
        other.name == write.name
        and other.function is write.function
        and other.statement.index > write.statement.index
        and write.statement.suite.is_within(other.statement.suite)
        for other in module.own_writes
    )


def _is_filled(module: ModuleClass, name: str) -> bool:
    """Whether some method puts layers into the container."""
    return any(
        use.name == name and bool(use.rest) and use.rest[0] in _CHANGES
        for definition in module.lineage
        if definition.module is not None
        for use in definition.module.uses
    )


def _asked(
    test: ast.expr, whole: ast.expr, negated: bool
) -> Iterator[tuple[ast.Attribute | ast.Name, ast.expr, bool]]:
    """The names whose own truth a condition asks for, with what a fix replaces."""
    match test:
        case ast.Attribute() | ast.Name():
            yield test, whole, negated
        case ast.UnaryOp(op=ast.Not()):
            yield from _asked(test.operand, test, not negated)
        case ast.BoolOp():
            for value in test.values:
                yield from _asked(value, value, False)


def _changes_nothing(method: Function, node: ast.AST, at: Statement, asked: ast.Attribute) -> bool:
    """Whether an empty container, being the identity, gives the same on both branches."""
    if isinstance(node, ast.IfExp):
        if node.test is not asked:
            return False
        argument = _applied(node.body, asked)
        return argument is not None and argument == ast.dump(node.orelse)
    if not isinstance(node, ast.If) or node.test is not asked or len(node.body) != 1:
        return False
    only = node.body[0]
    if isinstance(only, ast.For) and not node.orelse:
        return ast.dump(only.iter) == ast.dump(asked)
    if not isinstance(only, ast.Assign) or len(only.targets) != 1:
        return False
    target = only.targets[0]
    argument = _applied(only.value, asked)
    if argument is None or not isinstance(target, ast.Name):
        return False
    if len(node.orelse) == 1:
        other = node.orelse[0]
        return (
            isinstance(other, ast.Assign)
            and ast.dump(other.targets[0]) == ast.dump(target)
            and ast.dump(other.value) == argument
        )
    before = [b.value for b in method.reaching(target.id, at) if b.value is not None]
    return not node.orelse and (
        argument == ast.dump(ast.Name(target.id, ast.Load()))
        or (bool(before) and all(ast.dump(value) == argument for value in before))
    )


def _applied(value: ast.expr, container: ast.Attribute) -> str | None:
    """What the container is applied to, if a value is nothing but that."""
    if (
        isinstance(value, ast.Call)
        and ast.dump(value.func) == ast.dump(container)
        and len(value.args) == 1
        and not value.keywords
    ):
        return ast.dump(value.args[0])
    return None
