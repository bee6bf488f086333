"""Edits of source text, from nodes of the syntax tree."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from archcheck.core.finding import Edit, Location

if TYPE_CHECKING:
    from archcheck.python import SourceFile


def insertion(path: str, line: int, column: int, new: str) -> Edit:
    """Insert text before a column (from 1) of a line."""
    return Edit(Location(path, line, column, line, column), new)


def before(file: SourceFile, node: ast.AST, new: str) -> Edit:
    """Insert text right before a node."""
    at = file.location(node)
    return insertion(at.path, at.line, at.column, new)


def after(file: SourceFile, node: ast.AST, new: str) -> Edit:
    """Insert text right after a node."""
    at = file.location(node)
    return insertion(at.path, at.end_line, at.end_column, new)


def replacement(file: SourceFile, node: ast.AST, new: str) -> Edit:
    """Put text in the place of a node."""
    return Edit(file.location(node), new)


def between(file: SourceFile, first: ast.AST, last: ast.AST, new: str = "") -> Edit:
    """Put text in the place of what stands after one node, up to the end of another."""
    start, end = file.location(first), file.location(last)
    return Edit(
        Location(start.path, start.end_line, start.end_column, end.end_line, end.end_column), new
    )


def first_statement(
    file: SourceFile, function: ast.FunctionDef | ast.AsyncFunctionDef, new: str
) -> Edit | None:
    """Make a line of code the first statement of a function, below its docstring.

    None where the body is laid out so that no line can be inserted.
    """
    body = function.body
    documented = (
        isinstance(body[0], ast.Expr)
        and isinstance(body[0].value, ast.Constant)
        and isinstance(body[0].value.value, str)
    )
    rest = body[1:] if documented else body
    if len(rest) == 1 and isinstance(rest[0], ast.Pass):
        return replacement(file, rest[0], new)
    if rest:
        at = file.location(rest[0])
        indent = file.lines[at.line - 1][: at.column - 1]
        if indent.strip():
            # `def __init__(self): self.x = 1`, all on one line.
            return before(file, rest[0], f"{new}; ") if body[0] is rest[0] else None
        return before(file, rest[0], f"{new}\n{indent}")
    at = file.location(body[0])
    indent = file.lines[at.line - 1][: at.column - 1]
    return None if indent.strip() else after(file, body[0], f"\n{indent}{new}")


def line_before(file: SourceFile, node: ast.stmt, new: str) -> Edit | None:
    """A line of code before a statement; None where that does not begin a line."""
    indent = _indent(file, node)
    return None if indent is None else before(file, node, f"{new}\n{indent}")


def line_after(file: SourceFile, node: ast.stmt, new: str) -> Edit | None:
    """A line of code after a statement; None where that shares its lines with others."""
    indent, at = _indent(file, node), file.location(node)
    last = file.lines[at.end_line - 1]
    tail = last[at.end_column - 1 :].strip()
    if indent is None or (tail and not tail.startswith("#")):
        return None
    return insertion(at.path, at.end_line, len(last) + 1, f"\n{indent}{new}")


def _indent(file: SourceFile, node: ast.stmt) -> str | None:
    """What stands before a statement on its line; None if that is code."""
    at = file.location(node)
    indent = file.lines[at.line - 1][: at.column - 1]
    return None if indent.strip() else indent


def is_alone(statement: ast.stmt, around: ast.AST) -> bool:
    """Whether a statement is all that its suite has, so that it cannot be taken out."""
    suites = [getattr(around, name, None) for name in ("body", "orelse", "finalbody")]
    return any(suite == [statement] for suite in suites)


def without_line(file: SourceFile, node: ast.stmt | ast.expr) -> Edit | None:
    """Take a statement, or an item of a list, out with its lines; None where it shares them."""
    at = file.location(node)
    start, end = file.lines[at.line - 1], file.lines[at.end_line - 1]
    tail = end[at.end_column - 1 :].strip().removeprefix(",").lstrip()
    if start[: at.column - 1].strip() or (tail and not tail.startswith("#")):
        return None
    if at.end_line >= len(file.lines):
        return None
    return Edit(Location(at.path, at.line, 1, at.end_line + 1, 1), "")
