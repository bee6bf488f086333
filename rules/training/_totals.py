"""Totals over a training loop, and what they keep of each step."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from archcheck.analysis.source.gradient_mode import is_without_gradients
from archcheck.python import Call, Scope, SourceFile, Statement

from ._scripts import calls_in, enclosing_loops, text_of


class Total(NamedTuple):
    """A sum over the turns of a loop that a loss is added to with its graph.

    Attributes:
        name: The total: `running_loss`, `self.total`.
        loss: The name of the loss.
        added: The expression that is added, in which the loss stands.
        backward: Where the graph of the loss is used.
    """

    statement: Statement
    name: str
    loss: str
    added: ast.expr
    backward: Call


def totals_with_history(file: SourceFile) -> Iterator[Total]:
    """The statements that add a loss to a total, where nothing cuts the loss off its graph."""
    for scope in file.scopes if file.calls_named("backward") else ():
        if not any(call.name == "backward" for call in scope.calls):
            continue
        for statement in scope.statements:
            total, added = _sum(statement.node)
            loops = enclosing_loops(statement)
            name = text_of(total)
            if name is None or added is None or not loops:
                continue
            losses = set(_bare(added))
            for backward in calls_in(scope, loops[0]):
                loss = _differentiated(backward, losses)
                if loss is None or loss == name:
                    continue
                if _keeps(scope, statement, loops[0], name, loss, backward):
                    yield Total(statement, name, loss, added, backward)
                    break


def _sum(node: ast.AST) -> tuple[ast.expr | None, ast.expr | None]:
    """The total and what is added to it: of `a += b`, `a = a + b`, `a = b + a`."""
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
        return node.target, node.value
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        value, target = node.value, node.targets[0]
        if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
            name = text_of(target)
            if name is not None and text_of(value.left) == name:
                return target, value.right
            if name is not None and text_of(value.right) == name:
                return target, value.left
    return None, None


def _bare(node: ast.expr) -> Iterator[str]:
    """The names that an arithmetic expression adds up as they are."""
    match node:
        case ast.Name():
            yield node.id
        case ast.BinOp():
            yield from _bare(node.left)
            yield from _bare(node.right)
        case ast.UnaryOp():
            yield from _bare(node.operand)


def _differentiated(call: Call, names: set[str]) -> str | None:
    """The name among these that `backward` runs through: `loss.backward()`,
    `(loss / 4).backward()`, `scaler.scale(loss).backward()`."""
    if call.name != "backward" or call.receiver is None:
        return None
    if any(keyword.arg in ("create_graph", "retain_graph") for keyword in call.node.keywords):
        return None
    receiver = call.receiver
    if isinstance(receiver, ast.Call) and len(receiver.args) == 1:
        if not (isinstance(receiver.func, ast.Attribute) and receiver.func.attr == "scale"):
            return None
        receiver = receiver.args[0]
    return next((name for name in _bare(receiver) if name in names), None)


def _keeps(
    scope: Scope, statement: Statement, loop: ast.AST, total: str, loss: str, backward: Call
) -> bool:
    if is_without_gradients(statement) or is_without_gradients(backward.statement):
        return False
    return not (
        _starts_anew(scope, statement, loop, total)
        or _changes_between(scope, loss, backward.statement, statement)
        or _is_used_with_its_graph(scope, total)
    )


def _starts_anew(scope: Scope, statement: Statement, loop: ast.AST, total: str) -> bool:
    """Whether the total is set to something else in each turn of the loop."""
    if "." in total:
        stores = [
            reference.statement
            for reference in scope.references
            if reference.kind == "store" and ".".join(reference.parts) == total
        ]
        return any(place is not statement and place.is_in(loop) for place in stores)
    return any(
        binding.statement is not statement and binding.statement.is_in(loop)
        for binding in scope.bindings.get(total, [])
    )


def _changes_between(scope: Scope, loss: str, first: Statement, second: Statement) -> bool:
    """Whether the name of the loss means something else where it is added: a detached one."""
    start, end = sorted((first.index, second.index))
    return any(
        start < binding.statement.index < end or binding.kind not in ("assign", "augmented")
        for binding in scope.bindings.get(loss, [])
    )


def _is_used_with_its_graph(scope: Scope, total: str) -> bool:
    """Whether something differentiates the total, or cuts it off its graph."""
    parts = tuple(total.split("."))
    if any(
        reference.parts[: len(parts)] == parts
        and reference.parts[-1] in ("detach_", "backward", "detach")
        for reference in scope.references
    ):
        return True
    return any(
        call.name == "backward"
        and any(
            text_of(part) == total
            for part in ast.walk(call.node)
            if isinstance(part, ast.Name | ast.Attribute)
        )
        for call in scope.calls
    )
