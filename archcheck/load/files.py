"""Which files of the project a target was made from: what a cache has to look at."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from archcheck.load.places import is_users

Stamp: TypeAlias = tuple[int, int] | None


def stamp(file: str) -> Stamp:
    """What tells whether a file has changed: when it was written, and its length."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


class OpenedFiles:
    """Notes the files that are opened for reading while a target is loaded and run."""

    def __init__(self) -> None:
        self._paths: set[str] = set()
        self._records = False
        sys.addaudithook(self._note)

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        """Note files in this block, from none on."""
        self._paths.clear()
        self._records = True
        try:
            yield
        finally:
            self._records = False

    def below(self, *folders: str | Path) -> set[str]:
        """Those that lie below one of these folders, and are still there."""
        tops = tuple(os.path.realpath(folder) + os.sep for folder in folders)
        return {
            path
            for path in self._paths
            if path.startswith(tops) and "__pycache__" not in path and os.path.isfile(path)
        }

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self._records or event != "open":
            return
        path, mode = arguments[0], arguments[1]
        if isinstance(path, str) and (mode is None or (isinstance(mode, str) and "r" in mode)):
            self._paths.add(os.path.realpath(path))


def loaded_files() -> set[str]:
    """The files of the user's modules that are loaded."""
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return {
        file
        for file in files
        # Modules that are made rather than loaded may name a file that isn't there.
        if isinstance(file, str) and os.path.isabs(file) and is_users(file)
    }
