"""Notebooks: the Python of their code cells, one after another."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from archcheck.python.documents.snippets import (
    Line,
    dedented,
    is_automagic,
    is_python,
    without_magics,
)
from archcheck.python.syntax.tree import syntax_tree
from archcheck.python.text.document import Block, Document, DocumentError, LineOrigin


@dataclass(frozen=True, slots=True)
class _Cell:
    number: int
    lines: tuple[tuple[str, int], ...]  # a line's text, and where it begins in the JSON


def read_notebook(path: str, text: str, encoding: str) -> Document:
    """The document whose `code` is the notebook's code cells; positions count within a cell.

    Magics, shell lines and questions are blanked, cells that a cell magic hands to another
    program are passed over, and so is a notebook in another language.

    Raises:
        DocumentError: The file is no notebook.
    """
    try:
        cells = tuple(_code_cells(text))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        raise DocumentError(f"{path}: is not a notebook that Jupyter would open") from None
    lines: list[str] = []
    origins: dict[int, LineOrigin] = {}
    blocks: list[Block] = []
    skipped = 0
    bound: set[str] = set()
    for cell in cells:
        code = _python_of(cell, bound)
        if code is None:
            skipped += 1
            continue
        first = len(lines) + 1
        for number, (line, (_, offset)) in enumerate(zip(code, cell.lines, strict=True), start=1):
            lines.append(line.text)
            origins[len(lines)] = LineOrigin(number, line.cut, line.cut, cell.number, offset)
        if len(lines) >= first:
            blocks.append(Block(first, len(lines), cell.number))
    return Document(
        path,
        "notebook",
        text,
        "\n".join(lines),
        tuple(blocks),
        skipped,
        encoding,
        origins,
    )


def _python_of(cell: _Cell, bound: set[str]) -> list[Line] | None:
    """The cell's lines as Python; None where they are for another program.

    `bound` are the names that the cells before have bound; those of this one are added.
    """
    code = dedented([Line(text) for text, _ in cell.lines])
    try:
        tree = syntax_tree("\n".join(line.text for line in code))
    except SyntaxError:
        if is_automagic([line.text for line in code], bound):
            return [Line("") for _ in code]
        had_code = any(line.text for line in code)
        code = without_magics(code)
        if had_code and not any(line.text for line in code):
            return None
        with suppress(SyntaxError):
            bound.update(_names_bound(syntax_tree("\n".join(line.text for line in code))))
        return code
    bound.update(_names_bound(tree))
    return code


def _names_bound(tree: ast.Module) -> Iterator[str]:
    """The names that a cell's own statements bind."""
    for statement in tree.body:
        for node in ast.walk(statement):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield node.name
            elif isinstance(node, ast.alias):
                yield (node.asname or node.name).partition(".")[0]
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id


def _code_cells(text: str) -> Iterator[_Cell]:
    book = _Reader(text).value(0)[0]
    metadata = _plain(book.get("metadata", {}))
    language = (
        metadata.get("language_info", {}).get("name")
        or metadata.get("kernelspec", {}).get("language")
        or "python"
    )
    if not is_python(str(language).lower()):
        return
    # Version 3 of the format keeps the cells in worksheets.
    cells = book.get("cells")
    if cells is None:
        cells = [cell for sheet in book["worksheets"] for cell in sheet["cells"]]
    for number, cell in enumerate(cells, start=1):
        if _plain(cell["cell_type"]) == "code":
            source = cell["source"] if "source" in cell else cell["input"]
            yield _Cell(number, tuple(_lines(source, text)))


def _lines(source: Any, text: str) -> Iterator[tuple[str, int]]:
    """The lines of a cell, which may be one string or one for each line; as Python ends them."""
    line = ""
    begin: int | None = None
    ended_by_return = False
    for string in source if isinstance(source, list) else [source]:
        at = string.offset
        for character, width in string.characters(text):
            if character == "\n" and ended_by_return:
                begin = at + width
            elif character in "\r\n":
                yield line, begin if line and begin is not None else at
                line, begin = "", at + width
            else:
                begin = begin if line else at
                line += character
            ended_by_return = character == "\r"
            at += width
    if begin is not None:
        yield line, begin


@dataclass(frozen=True, slots=True)
class _String:
    """A JSON string, and where its text begins."""

    text: str
    offset: int

    def characters(self, text: str) -> Iterator[tuple[str, int]]:
        """Its characters, each with the length of its notation."""
        at = self.offset
        for character in self.text:
            width = 1
            if text[at] == "\\":
                width = 2 if text[at + 1] != "u" else 6 if ord(character) < 0x10000 else 12
            yield character, width
            at += width


def _plain(value: Any) -> Any:
    if isinstance(value, _String):
        return value.text
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


class _Reader:
    """A JSON reader that says where strings stand, which the standard one does not."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.decoder = json.JSONDecoder()

    def value(self, at: int) -> tuple[Any, int]:
        """The value at an offset, and the offset after it.

        Raises:
            ValueError: There is none.
        """
        at = self._skip_space(at)
        character = self.text[at]
        if character == '"':
            string, end = json.decoder.scanstring(self.text, at + 1, False)  # type: ignore[attr-defined]
            # Python's parser takes no lone surrogates.
            clean = string.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            return _String(clean if len(clean) == len(string) else string, at + 1), end
        if character == "{":
            return self._object(at + 1)
        if character == "[":
            return self._array(at + 1)
        return self.decoder.raw_decode(self.text, at)

    def _object(self, at: int) -> tuple[dict[str, Any], int]:
        members: dict[str, Any] = {}
        at = self._skip_space(at)
        while self.text[at] != "}":
            key, at = self.value(at)
            at = self._expect(":", at)
            members[key.text], at = self.value(at)
            at = self._next("}", at)
        return members, at + 1

    def _array(self, at: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        at = self._skip_space(at)
        while self.text[at] != "]":
            item, at = self.value(at)
            items.append(item)
            at = self._next("]", at)
        return items, at + 1

    def _next(self, end: str, at: int) -> int:
        """After the comma, or at the end of the list."""
        at = self._skip_space(at)
        return at if self.text[at] == end else self._skip_space(self._expect(",", at))

    def _expect(self, character: str, at: int) -> int:
        at = self._skip_space(at)
        if self.text[at] != character:
            raise ValueError(f"{character!r} expected")
        return at + 1

    def _skip_space(self, at: int) -> int:
        while self.text[at] in " \t\r\n":
            at += 1
        return at
