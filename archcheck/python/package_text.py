"""The text of a package: who else speaks of a name."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

# A folder of more files is no package: data, or what a program wrote. Those that come first are
# looked through.
_MOST = 4000
_MOST_LOOKED_AT = 20_000


class Surroundings:
    """The Python files of a package (or of a folder that is none), as text.

    Looking through the text costs milliseconds where parsing the files would cost minutes.
    """

    def __init__(self, places: tuple[str, ...]) -> None:
        self.texts: dict[str, str] = {}
        for place in filter(os.path.isfile, places):
            try:
                self.texts[place] = Path(place).read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue

    @staticmethod
    def of_package(folder: str) -> Surroundings:
        """The Python files below a folder, without those that no code of it imports."""
        return Surroundings(tuple(islice(_python_files(folder), _MOST)))

    @staticmethod
    def of_folder(folder: str) -> Surroundings:
        """The Python files in a folder, not those below it."""
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            names = []
        found = (os.path.join(folder, name) for name in names if name.endswith(".py"))
        return Surroundings(tuple(islice(found, _MOST)))

    def naming(self, word: str) -> Iterator[str]:
        """The files that have a word in their text."""
        for place, text in self.texts.items():
            if word in text and any(
                not _continues(text, at - 1) and not _continues(text, at + len(word))
                for at in _places(word, text)
            ):
                yield place

    def sets_on_others(self, name: str) -> bool:
        """Whether an attribute of this name may be set on another object than `self`."""
        dotted = f".{name}"
        return any(
            _is_set_on_another(text, at, at + len(dotted))
            for text in self.texts.values()
            if dotted in text
            for at in _places(dotted, text)
        )


def _python_files(folder: str) -> Iterator[str]:
    """Yield the Python files of a package, the nearest folders first."""
    looked, folders = 0, deque([folder])
    while folders and looked < _MOST_LOOKED_AT:
        place = folders.popleft()
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError:
            continue
        looked += len(entries)
        names = [entry.name for entry in entries]
        if "pyvenv.cfg" in names:
            continue
        yield from (entry.path for entry in entries if entry.name.endswith(".py"))
        folders += [
            entry.path
            for entry in entries
            if _may_hold_code(entry.name) and entry.is_dir(follow_symlinks=False)
        ]


def _may_hold_code(name: str) -> bool:
    return not name.startswith(".") and name not in ("__pycache__", "node_modules", "site-packages")


def _places(word: str, text: str) -> Iterator[int]:
    at = text.find(word) if word else -1
    while at >= 0:
        yield at
        at = text.find(word, at + 1)


def _is_set_on_another(text: str, dot: int, end: int) -> bool:
    """Whether `….name`, from its dot to its end, is what an assignment sets."""
    if _continues(text, end):
        return False
    if text.endswith("self", 0, dot) and not _continues(text, dot - 5):
        return False
    rest = text[end : end + 200].partition("\n")[0].lstrip(" \t")
    if rest.startswith(":"):
        # An annotation, if a value follows it; else the end of an `if`.
        return "=" in rest
    return rest.startswith("=") and not rest.startswith("==")


def _continues(text: str, at: int) -> bool:
    """Whether the character at a position is part of a word."""
    return 0 <= at < len(text) and (text[at].isalnum() or text[at] == "_")
