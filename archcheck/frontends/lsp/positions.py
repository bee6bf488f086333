"""Between archcheck's positions (from 1, in characters) and the protocol's (from 0, in units)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lsprotocol import types

from archcheck.core.finding import Edit, Location
from archcheck.frontends.lsp.documents import OpenDocument, Part, uri_of
from archcheck.python.documents.read import read_document
from archcheck.python.text.document import Document, DocumentError

_BYTES: Mapping[str, tuple[str, int]] = {
    "utf-8": ("utf-8", 1),
    "utf-16": ("utf-16-le", 2),
    "utf-32": ("utf-32-le", 4),
}


class Ruler:
    """Counts columns in the units that the client asked for.

    Args:
        encoding: `utf-8`, `utf-16` or `utf-32`.
    """

    def __init__(self, encoding: str) -> None:
        self._codec, self._width = _BYTES[encoding]

    def units(self, text: str) -> int:
        """How long a text is for the client."""
        if text.isascii():
            return len(text)
        return len(text.encode(self._codec, "surrogatepass")) // self._width

    def position(self, lines: tuple[str, ...], line: int, column: int) -> types.Position:
        """The client's position of a line and column from 1, within the text."""
        if line > len(lines):
            return types.Position(max(len(lines) - 1, 0), self.units(lines[-1]) if lines else 0)
        return types.Position(line - 1, self.units(lines[line - 1][: column - 1]))

    def column(self, lines: tuple[str, ...], position: types.Position) -> int:
        """The column, from 1, of a client's position."""
        if position.line >= len(lines):
            return 1
        left = position.character
        for number, character in enumerate(lines[position.line], start=1):
            if left <= 0:
                return number
            left -= self.units(character)
        return len(lines[position.line]) + 1

    def range(self, lines: tuple[str, ...], span: Location) -> types.Range:
        """The client's range of a span; one that leaves its end out goes to the line's end."""
        start = self.position(lines, span.line, span.column)
        last = span.end_line or span.line
        if span.end_column:
            end = self.position(lines, last, span.end_column)
        else:
            end = self.position(lines, last, len(lines[last - 1]) + 1 if last <= len(lines) else 1)
        return types.Range(start, end)

    def offsets(self, text: str, start: int, end: int) -> types.Range:
        """The client's range of a part of a text."""
        return types.Range(self._at(text, start), self._at(text, end))

    def _at(self, text: str, offset: int) -> types.Position:
        lines = Part("", text[:offset]).lines
        return types.Position(len(lines) - 1, self.units(lines[-1]))


class Places:
    """Where the client finds what archcheck speaks of.

    Args:
        documents: What is open, by path; all else is read from the disk.
    """

    def __init__(self, documents: Mapping[str, OpenDocument], ruler: Ruler) -> None:
        self._documents = documents
        self.ruler = ruler

    def place(self, span: Location) -> types.Location | None:
        """The client's place of a span of a document; None where there is none."""
        opened = self._documents.get(span.path)
        if opened is None:
            return self._on_disk(span)
        part = next((one for one in opened.parts if one.cell == span.cell), None)
        if part is not None:
            return types.Location(part.uri, self.ruler.range(part.lines, span))
        if span.cell is not None and any(one.cell is None for one in opened.parts):
            # A notebook that the editor shows as the JSON that it is.
            document = read_document(Path(span.path), data=opened.data)
            return types.Location(opened.uri, self._in_json(document, span))
        return None

    def location(self, document: Document, uri: str, position: types.Position) -> Location | None:
        """The place of the code that the client points at, in a text of an open document."""
        opened = self._documents.get(document.path)
        part = next((one for one in opened.parts if one.uri == uri), None) if opened else None
        if part is None or (document.kind == "notebook" and part.cell is None):
            return None
        line = document.code_line(position.line + 1, part.cell)
        column = self.ruler.column(part.lines, position)
        first = document.origin(Location(document.path, line, 2, line, 2))
        # Column 2 is the first that stands where the editor has it, less what comes before.
        return Location(document.path, line, max(1, column - (first.column - 2)))

    def _on_disk(self, span: Location) -> types.Location | None:
        try:
            document = read_document(Path(span.path))
        except DocumentError:
            return None
        if span.cell is not None:
            return types.Location(uri_of(span.path), self._in_json(document, span))
        found = self.ruler.range(document.shown_lines, span)
        return types.Location(uri_of(span.path), found)

    def _in_json(self, document: Document, span: Location) -> types.Range:
        line = document.code_line(span.line, span.cell)
        last = document.code_line(span.end_line or span.line, span.cell)
        code = Location(span.path, line, span.column, last, span.end_column or span.column)
        edit = document.to_text(Edit(code, ""))
        return self.ruler.offsets(document.text, edit.start, edit.end)
