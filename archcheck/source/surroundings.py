"""The text of a package, searched as one: who else speaks of a name."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

_BETWEEN = "\n\0\n"


class Surroundings:
    """The Python files of a package (or of a folder that is none), as one long text.

    Looking through the text costs milliseconds where parsing the files would cost minutes.
    """

    def __init__(self, places: tuple[str, ...]) -> None:
        self.places = places
        self.starts: list[int] = []
        texts: list[str] = []
        length = 0
        for place in places:
            try:
                text = Path(place).read_text(encoding="utf-8", errors="replace")
            except OSError:
                text = ""
            self.starts.append(length)
            length += len(text) + len(_BETWEEN)
            texts.append(text)
        self.text = _BETWEEN.join(texts)

    @staticmethod
    def of_package(folder: str) -> Surroundings:
        """All Python files below a folder."""
        return Surroundings(
            tuple(
                os.path.join(place, name)
                for place, _, names in sorted(os.walk(folder))
                for name in sorted(names)
                if name.endswith(".py")
            )
        )

    @staticmethod
    def of_folder(folder: str) -> Surroundings:
        """The Python files in a folder, not those below it."""
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            names = []
        return Surroundings(
            tuple(os.path.join(folder, name) for name in names if name.endswith(".py"))
        )

    def naming(self, word: str) -> Iterator[str]:
        """The files that have a word in their text."""
        if not word:
            return
        at = self.text.find(word)
        while at >= 0:
            index = bisect_right(self.starts, at) - 1
            if not (_continues(self.text, at - 1) or _continues(self.text, at + len(word))):
                yield self.places[index]
                if index + 1 == len(self.starts):
                    return
                at = self.starts[index + 1] - 1
            at = self.text.find(word, at + 1)

    def sets_on_others(self, name: str) -> bool:
        """Whether an attribute of this name may be set on another object than `self`."""
        dotted = f".{name}"
        text = self.text
        at = text.find(dotted)
        while at >= 0:
            after = at + len(dotted)
            if not _continues(text, after) and not (
                text.endswith("self", 0, at) and not _continues(text, at - 5)
            ):
                rest = text[after : after + 200].partition("\n")[0].lstrip(" \t")
                if rest.startswith(":"):
                    # An annotation, if a value follows it; else the end of an `if`.
                    rest = "=" if "=" in rest else ""
                if rest.startswith("=") and not rest.startswith("=="):
                    return True
            at = text.find(dotted, at + 1)
        return False


def _continues(text: str, at: int) -> bool:
    """Whether the character at a position is part of a word."""
    return 0 <= at < len(text) and (text[at].isalnum() or text[at] == "_")
