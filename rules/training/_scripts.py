"""Where a statement of a script stands, what is called there, and what names stand for."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from archcheck.python import (
        Call,
        ClassDefinition,
        Function,
        Scope,
        Statement,
    )

LoopStatement: TypeAlias = ast.For | ast.AsyncFor | ast.While


def enclosing_loops(statement: Statement) -> tuple[LoopStatement, ...]:
    """The `for` and `while` statements around a statement in its function, innermost first."""
    return tuple(
        suite.owner
        for suite in statement.suite.outward()
        if suite.kind == "loop" and isinstance(suite.owner, ast.For | ast.AsyncFor | ast.While)
    )


def calls_in(scope: Scope, loop: ast.AST) -> tuple[Call, ...]:
    """The calls in a loop's body, nested loops included, nested functions not."""
    return tuple(call for call in scope.calls if call.statement.is_in(loop))


def is_under(statement: Statement, *words: str) -> bool:
    """Whether an `if` around a statement asks for something with one of these names in it."""
    owners = [suite.owner for suite in statement.suite.outward()]
    asked: list[ast.expr] = [
        owner.test for owner in owners if isinstance(owner, ast.If | ast.IfExp | ast.While)
    ]
    asked += [owner for owner in owners if isinstance(owner, ast.BoolOp)]
    return any(word in name for node in asked for name in names_of(node) for word in words)


def is_in_try(statement: Statement) -> bool:
    """Whether the code is ready for an error there."""
    return any(
        suite.kind in ("try", "handler") and isinstance(suite.owner, ast.Try | ast.ExceptHandler)
        for suite in statement.suite.outward()
    )


def names_of(node: ast.AST) -> Iterator[str]:
    """Every bare name and every name behind a dot in a node."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            yield part.id
        elif isinstance(part, ast.Attribute):
            yield part.attr


def text_of(node: ast.expr | None) -> str | None:
    """`optimizer` or `self.optimizer` of a name or dotted expression; None of anything else."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join((node.id, *reversed(names)))


def name_of(call: Call) -> str | None:
    """The name or dotted expression that what a call gives is assigned to, if to one alone."""
    node = call.statement.node
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and node.value is call.node:
        return text_of(node.targets[0])
    return None


def given_to(call: Call) -> list[ast.expr]:
    """Every argument of a call, named ones too."""
    return [*call.node.args, *(keyword.value for keyword in call.node.keywords)]


def is_given(call: Call, *names: str) -> bool:
    """Whether a call is handed one of these local names as it is."""
    return any(isinstance(item, ast.Name) and item.id in names for item in given_to(call))


def made_in(definition: ClassDefinition, name: str) -> Iterator[tuple[ast.expr, Statement]]:
    """What the methods of a class and of its bases assign to an attribute of `self`."""
    from archcheck.python.modules.writes import attribute_writes

    for ancestor in definition.lineage:
        for write in attribute_writes(ancestor):
            if write.name == name and write.value is not None and write.kind == "assign":
                yield write.value, write.statement


def values_of(node: ast.expr, at: Statement) -> list[tuple[ast.expr, Statement]]:
    """The expressions that a name, or an attribute of `self`, is assigned anywhere near."""
    if isinstance(node, ast.Name):
        return [
            (binding.value, binding.statement)
            for binding in at.scope.reaching(node.id, at)
            if binding.kind == "assign" and binding.value is not None and not binding.path
        ]
    function = at.scope.function
    owner = function.owner if function is not None else None
    if (
        owner is not None
        and function is not None
        and isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == function.self_name
    ):
        return list(made_in(owner, node.attr))
    return []


def functions_called(calls: Iterable[Call], depth: int = 3) -> Iterator[Function]:
    """The functions and methods of the project that some calls reach, through others too."""
    from archcheck.python import Function

    seen: set[Function] = set()
    waiting = [(call, depth) for call in calls]
    while waiting:
        call, left = waiting.pop()
        target = _target(call)
        if isinstance(target, Function) and target not in seen:
            seen.add(target)
            yield target
            if left > 0:
                waiting += [(inner, left - 1) for inner in target.calls]


def _target(call: Call) -> object:
    function = call.scope.function
    owner = function.owner if function is not None else None
    if (
        owner is not None
        and function is not None
        and len(call.parts) == 2
        and call.parts[0] == function.self_name
    ):
        return owner.find_method(call.name)
    return call.target
