"""The text of a file: its tree, and where its nodes stand."""

from __future__ import annotations

import ast
import re
from functools import cached_property

from archcheck.core.finding import Location
from archcheck.python.syntax.parse import parse
from archcheck.python.syntax.tree import Parsed
from archcheck.python.text.comments import Comment, comments
from archcheck.python.text.document import Document, SyntaxProblem


class SourceText:
    """A document, parsed; positions of nodes are those of `document.code`."""

    def __init__(self, document: Document) -> None:
        self._read = document
        self.path = document.path

    @cached_property
    def parsed(self) -> Parsed:
        return parse(self._read)

    @property
    def code(self) -> str:
        """The text that Python compiles, as it was read."""
        return self._read.code

    @property
    def document(self) -> Document:
        """The document; where its code was repaired to make it parse, with the repaired code."""
        return self.parsed.document

    @property
    def tree(self) -> ast.Module:
        return self.parsed.tree

    @property
    def problems(self) -> tuple[SyntaxProblem, ...]:
        """What does not parse, in plain words."""
        return self.parsed.problems

    @property
    def lines(self) -> tuple[str, ...]:
        return self.document.lines

    @cached_property
    def comments(self) -> tuple[Comment, ...]:
        """Every comment, in order."""
        return comments(self.document)

    @cached_property
    def _is_ascii(self) -> bool:
        return self.document.code.isascii()

    def column(self, line: int, offset: int) -> int:
        """The column (from 1, in characters) of an offset in the bytes of a line."""
        if self._is_ascii:
            return offset + 1
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        if text.isascii():
            return offset + 1
        return len(text.encode()[:offset].decode(errors="ignore")) + 1

    def location(self, node: ast.AST) -> Location:
        """The span of a node."""
        line: int = getattr(node, "lineno", 1)
        end_line: int = getattr(node, "end_lineno", None) or line
        start: int = getattr(node, "col_offset", 0)
        end: int = getattr(node, "end_col_offset", None) or start
        return Location(
            self.path, line, self.column(line, start), end_line, self.column(end_line, end)
        )

    def name_location(
        self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    ) -> Location:
        """The span of the name in a `class` or `def` statement."""
        start = self.location(node)
        text = self.lines[start.line - 1]
        found = re.compile(rf"\b{re.escape(node.name)}\b").search(text, start.column + 3)
        if found is None:
            return Location(self.path, start.line, start.column, start.line, len(text) + 1)
        return Location(self.path, start.line, found.start() + 1, start.line, found.end() + 1)

    def text(self, node: ast.AST) -> str:
        """The source text of a node."""
        at = self.location(node)
        if at.line == at.end_line:
            return self.lines[at.line - 1][at.column - 1 : at.end_column - 1]
        rows = self.lines[at.line - 1 : at.end_line]
        return "\n".join((rows[0][at.column - 1 :], *rows[1:-1], rows[-1][: at.end_column - 1]))
