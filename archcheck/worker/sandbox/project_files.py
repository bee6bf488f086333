"""Which files of the project a target was made from: what a cache has to look at."""

from __future__ import annotations

import os
import sys
from typing import TypeAlias

from archcheck.worker.sandbox.user_paths import is_users

Stamp: TypeAlias = tuple[int, int] | None


def stamp(file: str) -> Stamp:
    """What tells whether a file has changed: when it was written, and its length."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def loaded_files() -> set[str]:
    """The files of the user's modules that are loaded."""
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return {
        file
        for file in files
        # Modules that are made rather than loaded may name a file that isn't there.
        if isinstance(file, str) and os.path.isabs(file) and is_users(file)
    }
