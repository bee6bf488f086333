"""Conditions that ask for the truth of a container, which is false when it is empty."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from archcheck.source import AttributeWrite, Function, ModuleClass, Statement

_CHANGES = frozenset({
    "append", "extend", "insert", "add_module", "register_module", "_modules", "__setitem__",
})  # fmt: skip


class Question(NamedTuple):
    """A condition on an attribute that can hold an empty Sequential.

    Attributes:
        attribute: What is asked: `self.shortcut`.
        whole: The same with the `not` before it, if there is one.
        emptied: Where it gets the empty Sequential.
    """

    attribute: ast.Attribute
    whole: ast.expr
    negated: bool
    emptied: AttributeWrite


def questions(module: ModuleClass) -> Iterator[Question]:
    """The conditions of a class that come out otherwise when the container is empty; those that
    do the same either way are left out."""
    asked = [
        (method, at, node, *found)
        for method in module.own_methods
        for node, at in method.nodes(ast.If, ast.While, ast.IfExp, ast.Assert)
        for found in _asked(node.test, node.test, False)  # type: ignore[attr-defined]
        if isinstance(found[0].value, ast.Name) and found[0].value.id == method.self_name
    ]
    empty = _may_be_empty(module) if asked else {}
    for method, at, node, attribute, whole, negated in asked:
        if attribute.attr in empty and not _changes_nothing(method, node, at, attribute):
            yield Question(attribute, whole, negated, empty[attribute.attr])


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
) -> Iterator[tuple[ast.Attribute, ast.expr, bool]]:
    """The attributes whose own truth a condition asks for, with what a fix replaces."""
    match test:
        case ast.Attribute():
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
