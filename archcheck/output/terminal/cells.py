"""Text measured in terminal cells: a Chinese character takes two, a tab as many as are left."""

from __future__ import annotations

from typing import NamedTuple

from archcheck.output.wording import printable

TAB = 4
ELLIPSIS = "…"


def cell_len(text: str) -> int:
    """How many cells a printable text takes."""
    if text.isascii():
        return len(text)
    # Imported only now: most text has no need of it.
    import rich.cells

    return rich.cells.cell_len(text)


class Spread(NamedTuple):
    """A line of source as the terminal shows it.

    `starts` has the cell in which each character of the source begins, and the end of the line.
    """

    text: str
    starts: tuple[int, ...]

    @property
    def width(self) -> int:
        return self.starts[-1]

    @property
    def indentation(self) -> int:
        return len(self.text) - len(self.text.lstrip(" "))

    def cell(self, column: int) -> int:
        """The cell of a column that counts characters from 1; past the end, the end."""
        return self.starts[min(max(column - 1, 0), len(self.starts) - 1)]


def spread(line: str) -> Spread:
    """Expand tabs, replace control characters, and note where each character begins."""
    pieces: list[str] = []
    starts = [0]
    for character in printable(line.rstrip("\r\n")):
        if character == "\t":
            character = " " * (TAB - starts[-1] % TAB)
        elif character == "\N{IDEOGRAPHIC SPACE}":
            # It has no outline, so nothing is lost, and indentation counts in plain spaces.
            character = "  "
        pieces.append(character)
        starts.append(starts[-1] + cell_len(character))
    return Spread("".join(pieces), tuple(starts))


def window(text: str, start: int, room: int, first: int = 0) -> str:
    """The cells from `start` on, `room` of them at most; an ellipsis stands for what is cut off.

    What is kept stands where it stood: cell `start + n` of the text is cell n of the result.
    Cells before `first` are not missed: they hold the indentation that all lines share.
    """
    left = start > first
    right = cell_len(text) > start + room
    kept = _cut(text, start + left, max(room - left - right, 0))
    return ELLIPSIS * left + kept + ELLIPSIS * right


def _cut(text: str, start: int, room: int) -> str:
    """Exactly these cells; half of a wide character is a space."""
    end = start + room
    shown: list[str] = []
    position = 0
    for character in text:
        size = cell_len(character)
        visible = min(position + size, end) - max(position, start)
        if visible > 0:
            shown.append(character if visible == size else " " * visible)
        elif not size and start < position <= end:
            shown.append(character)  # an accent belongs to the character before it
        position += size
    return "".join(shown)


def fit(text: str, room: int) -> str:
    """The text, cut with an ellipsis if it is wider than the room."""
    return text if cell_len(text) <= room else window(text, 0, room)


def fit_left(text: str, room: int) -> str:
    """The end of the text, after an ellipsis if it is wider than the room."""
    width = cell_len(text)
    return text if width <= room else window(text, width - room, room)


def wrap(text: str, first_room: int, room: int) -> list[str]:
    """Break at spaces; a word wider than the room stays whole, so that a path can be clicked."""
    lines = [""]
    for word in printable(text).split():
        limit = first_room if len(lines) == 1 else room
        if not lines[-1]:
            lines[-1] = word
        elif cell_len(lines[-1]) + 1 + cell_len(word) <= limit:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
