"""Lines of styled text: what every report for a terminal is made of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from archcheck.output.terminal.cells import cell_len

if TYPE_CHECKING:
    from rich.text import Text


class Styled:
    """A line in pieces, each with a style in rich's words, such as `bold red`.

    Rich itself, which takes longer to import than a file takes to check, is for colours alone.
    """

    def __init__(self, text: str = "", style: str = "") -> None:
        self.pieces: list[tuple[str, str]] = [(text, style)] if text else []

    @classmethod
    def of(cls, *pieces: str | tuple[str, str] | Styled) -> Styled:
        """A line of text, of text with a style, and of other lines."""
        line = cls()
        for piece in pieces:
            if isinstance(piece, tuple):
                line.append(*piece)
            else:
                line.append(piece)
        return line

    @classmethod
    def quoting(cls, text: str, style: str = "bold") -> Styled:
        """The text, with this style for what stands in backticks."""
        pieces = re.split(r"(`[^`]+`)", text)
        return cls.of(*((piece, style * (n % 2)) for n, piece in enumerate(pieces)))

    def append(self, more: str | Styled, style: str = "") -> Styled:
        """Add text with a style, or a line with those that it has, at the end."""
        self.pieces += more.pieces if isinstance(more, Styled) else Styled(more, style).pieces
        return self

    def rstrip(self) -> Styled:
        """Take the blanks at the end away."""
        while self.pieces:
            text, style = self.pieces.pop()
            if kept := text.rstrip():
                return self.append(kept, style)
        return self

    @property
    def width(self) -> int:
        """In terminal cells."""
        return cell_len(self.plain)

    @property
    def plain(self) -> str:
        """The text alone."""
        return "".join(text for text, _ in self.pieces)

    def __rich__(self) -> Text:
        """The line as rich prints it."""
        from rich.text import Text

        return Text.assemble(*self.pieces)
