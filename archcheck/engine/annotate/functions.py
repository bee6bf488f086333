"""The functions of a file by their places, methods among them."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from archcheck.python import SourceFile

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


def functions_of(file: SourceFile) -> list[tuple[str, FunctionNode]]:
    """Every function of a file with its dotted name, outer ones before inner ones."""
    found: list[tuple[str, FunctionNode]] = []

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            name = prefix
            if isinstance(child, FunctionNode | ast.ClassDef):
                name = f"{prefix}{child.name}"
                if isinstance(child, FunctionNode):
                    found.append((name, child))
                name += "."
            visit(child, name)

    visit(file.tree, "")
    return found


def function_at(file: SourceFile, line: int) -> tuple[str, FunctionNode] | None:
    """The innermost function around a line."""
    around = [
        (name, node)
        for name, node in functions_of(file)
        if first_line(node) <= line <= (node.end_lineno or node.lineno)
    ]
    return around[-1] if around else None


def first_line(node: FunctionNode) -> int:
    """The line of its first decorator, or else of its `def`."""
    return min((one.lineno for one in node.decorator_list), default=node.lineno)
