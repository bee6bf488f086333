"""A folder of entries, each a file: written whole or not at all, read with suspicion.

Several runs may use it at once. What is damaged, of another version or somebody else's counts as
not there; what cannot be written is left out.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from archcheck.core.atomic_write import replace_file
from archcheck.core.facts import digest

FOLDER = ".archcheck_cache"

_MOST_BYTES = 200_000_000
# How much is left when the oldest entries are taken away.
_AFTER_TRIMMING = 150_000_000
# What a run that was killed left half-written, in seconds.
_FORGOTTEN = 3600.0
_HEAD = b"archcheck 1 "
_HALF = "half-"
_OWN_FILES = {
    # Git passes over it, whatever the project's own .gitignore says.
    ".gitignore": "*\n",
    "CACHEDIR.TAG": (
        "Signature: 8a477f597d28d172789f06886806bc55\n"
        "# This folder holds what archcheck found out; it may be deleted at any time.\n"
    ),
}


class Store:
    """The entries of one project.

    Attributes:
        problem: Why nothing can be written, once that has shown.
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER
        self.problem: str | None = None
        self._has_written = False

    def prepare(self) -> None:
        """Make the folder, before anything is found out about the project."""
        try:
            self.folder.mkdir(exist_ok=True)
            for name, text in _OWN_FILES.items():
                if not (self.folder / name).exists():
                    (self.folder / name).write_text(text, encoding="utf-8")
        except OSError as error:
            self._give_up(error)

    def read(self, key: str) -> bytes | None:
        """What was written under a key; None where there is nothing whole."""
        path = self._path(key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        head, body = data[: len(_HEAD) + 40], data[len(_HEAD) + 40 :]
        if head != _HEAD + digest(key, body).encode():
            return None
        with contextlib.suppress(OSError):
            # What is used lives longest.
            os.utime(path)
        return body

    def write(self, key: str, body: bytes) -> None:
        """Put an entry in the place of what is there, in one step."""
        if self.problem is not None:
            return
        path = self._path(key)
        data = _HEAD + digest(key, body).encode() + body
        try:
            path.parent.mkdir(exist_ok=True)
            replace_file(path, data, prefix=_HALF, durable=False)
            self._has_written = True
        except OSError as error:
            self._give_up(error)

    def trim(self) -> None:
        """Take the oldest entries away if there are too many; only a run that wrote looks."""
        if not self._has_written:
            return
        entries: list[tuple[float, int, str]] = []
        for place, _, names in os.walk(self.folder):
            for name in names:
                path = os.path.join(place, name)
                with contextlib.suppress(OSError):
                    found = os.stat(path)
                    is_half = name.startswith(_HALF)
                    if is_half and time.time() - found.st_mtime > _FORGOTTEN:
                        os.unlink(path)
                    elif not is_half and name not in _OWN_FILES:
                        entries.append((found.st_mtime, found.st_size, path))
        total = sum(size for _, size, _ in entries)
        if total <= _MOST_BYTES:
            return
        for _, size, path in sorted(entries):
            with contextlib.suppress(OSError):
                os.unlink(path)
            total -= size
            if total <= _AFTER_TRIMMING:
                return

    def _give_up(self, error: OSError) -> None:
        self.problem = f"{FOLDER} cannot be written ({(error.strerror or str(error)).lower()})"

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / key[2:]
