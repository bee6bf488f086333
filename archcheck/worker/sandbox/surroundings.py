"""What stands around a place in the user's source: an annotation, a decorator, a `try`."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Literal

from archcheck.python.syntax.catching import handles


class _File:
    """The spans of a file's annotations and decorators, and the lines whose imports may fail."""

    def __init__(self, text: str) -> None:
        self.annotations: list[ast.expr] = []
        self.decorators: list[ast.expr] = []
        self.guarded: list[tuple[int, int]] = []
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return
        for node in ast.walk(tree):
            if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
                self.annotations.append(node.annotation)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self.decorators += node.decorator_list
                if not isinstance(node, ast.ClassDef) and node.returns is not None:
                    self.annotations.append(node.returns)
            # That a module is not there is a ModuleNotFoundError.
            elif handles(node, "ModuleNotFoundError"):
                body: list[ast.stmt] = node.body  # type: ignore[attr-defined]
                self.guarded.append((body[0].lineno, body[-1].end_lineno or body[-1].lineno))


class Surroundings:
    """Answers by position; each file is read once.

    Args:
        user_files: Whether a code object's file is the user's own.
    """

    def __init__(self, user_files: Callable[[str], bool]) -> None:
        self.user_files = user_files
        self._files: dict[str, _File] = {}

    def context(
        self, code: CodeType, instruction: int
    ) -> Literal["annotation", "decorator", "use"]:
        """What the expression at an instruction is part of."""
        if not self.user_files(code.co_filename):
            return "use"
        file = self._file(code.co_filename)
        for place, position in enumerate(code.co_positions()):
            if place * 2 == instruction:
                line, _, column, _ = position
                if line is None or column is None:
                    return "use"
                if _covers(file.annotations, line, column):
                    return "annotation"
                return "decorator" if _covers(file.decorators, line, column) else "use"
        return "use"

    def is_unguarded_import(self, frame: FrameType | None) -> bool:
        """Whether the user's own code imports here, and none of it would catch a failure."""
        while frame is not None and Path(frame.f_code.co_filename).parent.name == "importlib":
            frame = frame.f_back
        if frame is None or not self.user_files(frame.f_code.co_filename):
            return False
        while frame is not None:
            path = frame.f_code.co_filename
            if self.user_files(path):
                line = frame.f_lineno
                if any(first <= line <= last for first, last in self._file(path).guarded):
                    return False
            frame = frame.f_back
        return True

    def _file(self, path: str) -> _File:
        known = self._files.get(path)
        if known is None:
            known = self._files[path] = _File("".join(linecache.getlines(path)))
        return known


def _covers(expressions: list[ast.expr], line: int, column: int) -> bool:
    return any(
        (node.lineno, node.col_offset)
        <= (line, column)
        < (node.end_lineno or node.lineno, node.end_col_offset or 0)
        for node in expressions
    )
