"""Bare `self.… = …` statements in a document: a piece of an `__init__` shown on its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.python.modules.classes import ClassDefinition
from archcheck.python.modules.module_class import ModuleClass
from archcheck.python.names.sites import Statement

if TYPE_CHECKING:
    from archcheck.python.file import SourceFile


def fragments_of(file: SourceFile) -> Iterator[ModuleClass]:
    """See `SourceFile.fragments`."""
    if file.document.kind == "python" or not file.is_relevant:
        return
    for body, statement in _runs(file):
        first, last = body[0], body[-1]
        template = ast.parse("class _:\n def __init__(self): ...").body[0]
        assert isinstance(template, ast.ClassDef)
        initializer = template.body[0]
        assert isinstance(initializer, ast.FunctionDef)
        initializer.body = list(body)
        for node in (template, initializer):
            ast.copy_location(node, first)
            node.end_lineno, node.end_col_offset = last.end_lineno, last.end_col_offset
        template.name = ""
        yield ModuleClass(ClassDefinition(template, file, file.scope, statement))


def _runs(file: SourceFile) -> Iterator[tuple[list[ast.stmt], Statement]]:
    run: list[ast.stmt] = []
    start: Statement | None = None
    block = 0
    for statement in file.scope.statements:
        if statement.suite.parent is not None:
            continue
        node = statement.node
        at = _block_of(file, getattr(node, "lineno", 1))
        if run and (at != block or not _sets_self(node)):
            assert start is not None
            yield run, start
            run = []
        if _sets_self(node):
            if not run:
                start, block = statement, at
            run.append(node)  # type: ignore[arg-type]
    if run and start is not None:
        yield run, start


def _block_of(file: SourceFile, line: int) -> int:
    for index, block in enumerate(file.document.blocks):
        if block.first_line <= line <= block.last_line:
            return index
    return -1


def _sets_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and any(
        isinstance(target, ast.Attribute)
        and isinstance(target.value, ast.Name)
        and target.value.id == "self"
        for target in node.targets
    )
