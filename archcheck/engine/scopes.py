"""The class and function that a place is in."""

from __future__ import annotations

import ast

from archcheck.core.finding import Location
from archcheck.python import Project
from archcheck.python.text.document import DocumentError


def scope_at(location: Location, project: Project) -> str | None:
    """The dotted name of the innermost class or function around a place, if there is one."""
    try:
        node: ast.AST | None = project.file(location.path).tree
    except (DocumentError, OSError):
        return None
    names: list[str] = []
    while node is not None:
        node = next(
            (
                child
                for child in ast.walk(node)
                if child is not node
                and isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
                and child.lineno <= location.line <= (child.end_lineno or child.lineno)
            ),
            None,
        )
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.append(node.name)
    return ".".join(names) or None
