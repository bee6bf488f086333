"""What stands around a place in the user's source: an annotation, a decorator, a `try`."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Literal

from archcheck.worker.slicing.name_sets import dotted_name

_CATCHES_IMPORTS = frozenset(("ImportError", "ModuleNotFoundError", "Exception", "BaseException"))


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
            elif isinstance(node, ast.Try | ast.With):
                self.guarded += _guarded_lines(node)


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


def _guarded_lines(node: ast.Try | ast.With) -> Iterator[tuple[int, int]]:
    if isinstance(node, ast.Try):
        guards = any(_catches(handler.type) for handler in node.handlers)
    else:
        guards = any(
            isinstance(item.context_expr, ast.Call)
            and (dotted_name(item.context_expr.func) or "").rpartition(".")[2] == "suppress"
            and any(_catches(argument) for argument in item.context_expr.args)
            for item in node.items
        )
    if guards:
        yield node.body[0].lineno, node.body[-1].end_lineno or node.body[-1].lineno


def _catches(type_: ast.expr | None) -> bool:
    """Whether an `except` clause catches failed imports."""
    if type_ is None:
        return True
    if isinstance(type_, ast.Tuple):
        return any(_catches(element) for element in type_.elts)
    name = dotted_name(type_)
    return name is None or name.rpartition(".")[2] in _CATCHES_IMPORTS
