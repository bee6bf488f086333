"""Documents: a file as its author wrote it, and the Python text in it.

A document has two texts. `text` is the file's own. `code` is what Python parses: the same for a
Python file; for Markdown, the code blocks at the lines where they stand, everything else blank;
for a notebook, the code cells one after another. Everything in archcheck speaks in positions of
`code`; `Document.origin` translates them into the author's, and `Document.to_text` turns an edit
of `code` into an edit of `text`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias

from archcheck.core.finding import Edit, Location

Kind: TypeAlias = Literal["python", "markdown", "notebook"]


# Python's lines, and no others: str.splitlines also breaks at form feeds and the like.
_LINE_END = re.compile(r"\r\n|\r|\n")


class DocumentError(Exception):
    """A file that cannot be read. The text is one line: which file, what is wrong with it."""


class SyntaxProblem(NamedTuple):
    """Why code does not parse, in plain words.

    Attributes:
        message: One sentence.
        location: In positions of the `code` of the document that `parse` gave back.
        label: The few words beside the underline.
        help: The change that mends it.
        edits: That change, where it is certain.
        repaired: The edits were made in memory, and the check goes on with the repaired text.
    """

    message: str
    location: Location
    label: str = ""
    help: str | None = None
    edits: tuple[Edit, ...] = ()
    repaired: bool = False


class Block(NamedTuple):
    """A run of lines of `code` that the author wrote as one piece.

    Attributes:
        first_line, last_line: In `code`, both included.
        cell: The number of the notebook's cell (from 1).
    """

    first_line: int
    last_line: int
    cell: int | None = None


class LineOrigin(NamedTuple):
    """Where a line of `code` stands in the document.

    Attributes:
        line: Its number there: in the file, or in the notebook's cell.
        start: The characters of the document's line before the code begins (column 1 of `code`).
        shift: What turns any later column of `code` into the document's.
        cell: The notebook's cell.
        offset: In a notebook, where the text of the line begins in `text`, in JSON's notation.
    """

    line: int
    start: int = 0
    shift: int = 0
    cell: int | None = None
    offset: int = 0


class TextEdit(NamedTuple):
    """Replace `text[start:end]` of a document by `new`."""

    start: int
    end: int
    new: str


@dataclass(frozen=True)
class Document:
    """A file: what its author wrote, and the Python text in it.

    Attributes:
        path: As it is shown.
        text: The file's own text, line endings kept, without a byte order mark.
        code: The text that Python parses, lines ended by a line feed.
        blocks: The pieces that `code` is made of, in order; of a Python file the one.
        skipped_blocks: How many code blocks were passed over because they are not Python.
        encoding: What turns `text` back into the file's bytes.
        origins: The lines of `code` that stand elsewhere in the document.
        problems: What was wrong with the file before it was parsed.
    """

    path: str
    kind: Kind
    text: str
    code: str
    blocks: tuple[Block, ...]
    skipped_blocks: int = 0
    encoding: str = "utf-8"
    origins: Mapping[int, LineOrigin] = field(default_factory=dict)
    problems: tuple[SyntaxProblem, ...] = ()

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The lines of `code`, without their ends."""
        return tuple(self.code.split("\n"))

    @cached_property
    def shown_lines(self) -> tuple[str, ...]:
        """The lines of the document that `origin` counts; of a notebook, those of its code."""
        if self.kind == "notebook":
            return self.lines
        return tuple(_LINE_END.split(self.text))

    @cached_property
    def _text_line_starts(self) -> tuple[int, ...]:
        return (0, *(match.end() for match in _LINE_END.finditer(self.text)))

    def origin(self, location: Location) -> Location:
        """The span of the document that a span of `code` stands for."""
        if not self.origins:
            return location
        first = self._line(location.line)
        # A location may leave its end out.
        last = self._line(location.end_line) if location.end_line else first
        return replace(
            location,
            line=first.line,
            column=self._start_column(first, location.column),
            end_line=last.line if location.end_line else 0,
            end_column=(self._end_column(last, location.end_column) if location.end_column else 0),
            cell=first.cell,
        )

    def code_line(self, line: int, cell: int | None = None) -> int:
        """The line of `code` at, or next after, a line of the document."""
        if cell is None:
            return line
        places = ((o.cell or 0, o.line, n) for n, o in self.origins.items())
        return min((p for p in places if p[:2] >= (cell, line)), default=(0, 0, line))[2]

    def to_text(self, edit: Edit) -> TextEdit:
        """The same change, made to `text`: line endings, prefixes and JSON's notation are kept."""
        at = edit.location
        first, last = self._line(at.line), self._line(at.end_line or at.line)
        start_column = self._start_column(first, at.column)
        end_column = self._end_column(last, at.end_column or at.column)
        if self.kind == "notebook":
            # Imported only now, like the readers below: most files are Python's.
            from archcheck.python.text.json_strings import in_json, offset_in_json

            return TextEdit(
                offset_in_json(self.text, first.offset, start_column),
                offset_in_json(self.text, last.offset, end_column),
                in_json(self.text, first.offset, edit.new),
            )
        starts = self._text_line_starts
        if (
            not edit.new
            and first.line < last.line
            and at.column == at.end_column == 1
            and not self._marks(first).strip(" \t>")
        ):
            # Whole lines go with what stands before the code in them.
            return TextEdit(starts[first.line - 1], starts[last.line - 1], "")
        start = starts[first.line - 1] + start_column - 1
        end = starts[last.line - 1] + end_column - 1
        new = edit.new
        if "\n" in new:
            # A list's marker stands on its first line only.
            prefix = re.sub(r"[^\s>]", " ", self._marks(first))
            new = new.replace("\n", self._line_end + prefix)
        return TextEdit(start, max(start, end), new)

    def encode(self, text: str) -> bytes:
        """The bytes of the file with this text in the place of `text`.

        Raises:
            UnicodeEncodeError: The text has a character that the file's encoding has not.
        """
        return text.encode(self.encoding)

    def _line(self, line: int) -> LineOrigin:
        return self.origins.get(line) or LineOrigin(line)

    def _marks(self, origin: LineOrigin) -> str:
        """What stands on a line before the code."""
        start = self._text_line_starts[origin.line - 1]
        return self.text[start : start + origin.start]

    def _start_column(self, origin: LineOrigin, column: int) -> int:
        return origin.start + 1 if column <= 1 else self._end_column(origin, column)

    def _end_column(self, origin: LineOrigin, column: int) -> int:
        column = max(origin.start + 1, column + origin.shift)
        if self.kind == "notebook":
            return column
        # What was added to a line to make it parse stands beyond its end.
        return min(column, len(self.shown_lines[origin.line - 1]) + 1)

    @cached_property
    def _line_end(self) -> str:
        match = _LINE_END.search(self.text)
        return match.group() if match else "\n"
