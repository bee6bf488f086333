"""Facts about the world outside archcheck that an answer came of, and how they are looked at.

A fact is a question about the disk or the environment, as plain data; its answer is a short text.
An answer that was kept holds for as long as all its facts are answered as they were then.

    content PATH          the bytes of a file of the project; the stamp of a very large one
    stamp PATH            when and how long a file was written: enough for installed packages
    kind PATH             whether there is a file, a folder, or nothing
    entries FOLDER        the names of all that is in a folder
    packages FOLDER       those of them that an import could mean
    modules FOLDER NAMES  which entries an import of these names could find there
    python FOLDER         the content of all Python files in a folder, and below it
    variable NAME         an environment variable
    environment           all of them
    unseen REASON         what cannot be looked at: an answer that came of it is not kept
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from archcheck.core.dependencies import Dependencies

Fact: TypeAlias = tuple[str, ...]

ABSENT = "absent"
# Of longer files, the stamp is looked at, not the bytes.
_LONG = 16 * 1024 * 1024


def digest(*parts: str | bytes) -> str:
    """A short name for these texts, in this order."""
    summed = hashlib.blake2b(digest_size=20)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        summed.update(b"%d:" % len(data))
        summed.update(data)
    return summed.hexdigest()


def stamp(path: str) -> str:
    """What changes whenever a file or a folder does: its length and its times.

    The time of the last change of status is among them: no program can set that one back.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ABSENT
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


class DependencyRecorder:
    """Facts that an answer comes of, noted while it is being found.

    Attributes:
        answers: Those of some facts, as they were when they were noted.
        stamps: Those of files and folders, from before they were first looked at.
        installed: Those of the files of installed packages that were loaded.
    """

    def __init__(self) -> None:
        self.facts: set[Fact] = set()
        self.answers: dict[Fact, str] = {}
        self.stamps: dict[str, str] = {}
        self.installed: dict[str, str] = {}

    def add(self, kind: str, path: str) -> None:
        """Note that a file or folder is about to be looked at."""
        if (kind, path) in self.facts:
            return
        self.facts.add((kind, path))
        if kind == "packages":
            # The folder itself may well change, by what no import means.
            self.answers[kind, path] = Filesystem().look((kind, path))
            return
        for place in _python_files(path) if kind == "python" else (path,):
            self.stamps.setdefault(place, stamp(place))

    def include(self, other: DependencyRecorder | Dependencies) -> None:
        """Note what something came of that this answer comes of."""
        self.facts |= other.facts
        agree = (
            *(self.answers.setdefault(fact, then) == then for fact, then in other.answers.items()),
            *(self.stamps.setdefault(path, then) == then for path, then in other.stamps.items()),
            *(self.installed.setdefault(p, then) == then for p, then in other.installed.items()),
        )
        if not all(agree):
            self.include_unseen("a file that changed meanwhile")

    def include_unseen(self, what: str) -> None:
        """Note that it comes of something that cannot be looked at again."""
        self.facts.add(("unseen", what))

    def dependencies(self) -> Dependencies:
        """All that was noted."""
        return Dependencies(frozenset(self.facts), self.answers, self.stamps, self.installed)


class Filesystem:
    """The world as it is now; each thing is looked at once."""

    def __init__(self) -> None:
        self._answers: dict[Fact, str] = {}
        self._folders: dict[str, dict[str, list[str]]] = {}

    def holds(self, facts: Mapping[Fact, str]) -> bool:
        """Whether all these facts are what they were."""
        return all(self.look(fact) == answer for fact, answer in facts.items())

    def look(self, fact: Fact) -> str:
        """The answer to a fact's question."""
        known = self._answers.get(fact)
        if known is None:
            known = self._answers[fact] = self._looked(*fact)
        return known

    def _looked(self, kind: str, subject: str = "", detail: str = "") -> str:
        match kind:
            case "content":
                return _content(subject)
            case "stamp":
                return stamp(subject)
            case "kind":
                return _kind(subject)
            case "entries":
                return digest(*_listing(subject))
            case "packages":
                return digest(*filter(_is_importable, _listing(subject)))
            case "modules":
                return self._modules(subject, detail.split())
            case "python":
                return digest(*(self.look(("content", path)) for path in _python_files(subject)))
            case "variable":
                value = os.environ.get(subject)
                return ABSENT if value is None else digest(value)
            case "environment":
                items = sorted(os.environ.items())
                return digest(*(text for item in items for text in item))
        raise ValueError(f"nobody can look at {kind}")

    def entries(self, folder: str) -> Mapping[str, list[str]]:
        """What is in a folder by the name that an import would have; and under "" what sends
        imports elsewhere, with its stamp."""
        if folder not in self._folders:
            self._folders[folder] = {}
            for entry in _listing(folder):
                self._folders[folder].setdefault(entry.partition(".")[0], []).append(entry)
                if entry.endswith(".pth"):
                    path = os.path.join(folder, entry)
                    self._folders[folder].setdefault("", []).append(f"{entry} {stamp(path)}")
        return self._folders[folder]

    def _modules(self, folder: str, names: Iterable[str]) -> str:
        entries = self.entries(folder)
        return digest(*(entry for name in ("", *names) for entry in entries.get(name, ())))


def _content(path: str) -> str:
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_size > _LONG:
                return stamp(path)
            return digest(file.read())
    except IsADirectoryError:
        return "folder"
    except (OSError, ValueError):
        return ABSENT if not os.path.lexists(path) else "unreadable"


def _kind(path: str) -> str:
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return ABSENT
    return "folder" if stat.S_ISDIR(mode) else "file"


def _listing(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (OSError, ValueError):
        return []


def _is_importable(entry: str) -> bool:
    return entry.endswith(".py") or "." not in entry


def _python_files(folder: str) -> Iterable[str]:
    return (
        os.path.join(place, name)
        for place, _, names in sorted(os.walk(folder))
        for name in sorted(names)
        if name.endswith(".py")
    )
