"""The architecture lock: what a model was when its team last agreed to it.

In: `archcheck.lock`. Out: the locked models, which checks hold models against.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from archcheck.engine.selection import Selection

if TYPE_CHECKING:
    from archcheck.engine.lock.lock_file import Lock

LOCK_NAME = "archcheck.lock"


def held_against(root: Path, selection: Selection) -> Lock | None:
    """What the models of a project were when they were locked, if a rule compares them with that.

    Raises:
        UsageError: The lock file cannot be used.
    """
    path = root / LOCK_NAME
    if not path.is_file() or not any(rule.against_lock for rule in selection.rules):
        return None
    # Only a project that keeps an architecture pays for reading one.
    from archcheck.engine.lock.lock_file import read_lock

    return read_lock(Path(os.path.relpath(path)))
