"""Edits that put another name in the place of one, or take it away."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING

from archcheck.analysis.edits.syntax_edits import is_alone, replacement, without_line

if TYPE_CHECKING:
    from archcheck.core.finding import Edit
    from archcheck.python import Binding, Call, SourceFile


def unwrapped(file: SourceFile, call: Call) -> tuple[Edit, ...]:
    """The edit that puts what a call is given in the place of the call: `x` for `Variable(x)`."""
    node = call.node
    if len(node.args) != 1 or node.keywords or isinstance(node.args[0], ast.Starred):
        return ()
    given, statement = node.args[0], call.statement.node
    text = file.text(given)
    if isinstance(statement, ast.Assign) and statement.value is node:
        line = without_line(file, statement)
        is_idle = [file.text(target) for target in statement.targets] == [text]
        if is_idle and line is not None and not is_alone(statement, call.statement.suite.owner):
            return (line,)
    is_whole = isinstance(given, ast.Name | ast.Attribute | ast.Call | ast.Subscript)
    return (replacement(file, node, text if is_whole else f"({text})"),)


def without_import(file: SourceFile, binding: Binding, calls: Sequence[Call]) -> tuple[Edit, ...]:
    """The edits that unwrap all these calls of an imported name, and take its import away."""
    mentions = [one for one in file.references if one.parts[0] == binding.name]
    statement = binding.statement.node
    if len(mentions) != len(calls) or not isinstance(statement, ast.ImportFrom):
        return ()
    line = without_line(file, statement) if len(statement.names) == 1 else None
    edits = [unwrapped(file, call) for call in calls]
    if line is None or not all(edits):
        return ()
    return (line, *(edit for made in edits for edit in made))


def renamed(file: SourceFile, name: ast.expr, dotted: str, instead: str) -> tuple[Edit, ...]:
    """The edit that puts another last name in the place of a dotted one."""
    old, new = dotted.rpartition(".")[2], instead.rpartition(".")[2]
    if not isinstance(name, ast.Attribute) or name.attr != old:
        return ()
    return (replacement(file, name, f"{file.text(name.value)}.{new}"),)


def renamed_import(
    file: SourceFile, binding: Binding, dotted: str, instead: str
) -> tuple[Edit, ...]:
    """The edits that import another name, and that put it in the place of the old one."""
    old, new = dotted.rpartition(".")[2], instead.rpartition(".")[2]
    if not isinstance(binding.node, ast.alias) or binding.node.name != old:
        return ()
    if binding.node.asname is not None:
        return (replacement(file, binding.node, f"{new} as {binding.node.asname}"),)
    names = [n for n in ast.walk(file.tree) if isinstance(n, ast.Name) and n.id == old]
    return tuple(replacement(file, node, new) for node in (binding.node, *names))
