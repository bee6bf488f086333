"""What is known about a statement that does not parse, and why it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from archcheck.python.syntax.repairs import indentation_of, shown_indentation
from archcheck.python.text.comments import masked
from archcheck.python.text.document import Document


@dataclass(frozen=True, slots=True)
class Reason:
    """Why. Lines and columns count from 0 in the statement; without an end, to the line's.

    `blameless`: the code may well be right elsewhere.
    """

    message: str
    line: int
    column: int = 0
    end_column: int | None = None
    label: str = ""
    help: str | None = None
    blameless: bool = False


@dataclass(frozen=True, slots=True)
class Broken:
    """A statement that does not parse, and what Python says about it.

    Attributes:
        bare: Its lines with blanks for strings and comments.
        first: The line of the document's `code` that it begins at.
    """

    lines: Sequence[str]
    bare: Sequence[str]
    error: SyntaxError
    first: int
    document: Document

    @property
    def at(self) -> int:
        """The line that Python stops at, from 0 in the statement."""
        return min(max((self.error.lineno or 1) - 1, 0), len(self.lines) - 1)

    @property
    def says(self) -> str:
        """Python's own words."""
        return str(self.error.msg)

    @property
    def column(self) -> int:
        return min(max((self.error.offset or 1) - 1, 0), max(len(self.lines[self.at]) - 1, 0))

    def shown(self, line: int) -> int:
        """How far the document's author sees a line indented."""
        return shown_indentation(self.document, self.first + line) + width(self.lines[line])


def broken(lines: Sequence[str], error: SyntaxError, first: int, document: Document) -> Broken:
    """Gather what an explanation needs."""
    return Broken(lines, masked("\n".join(lines)).split("\n"), error, first, document)


def width(line: str) -> int:
    """How many blanks a line begins with."""
    return len(indentation_of(line))
