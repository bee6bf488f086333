"""Writing what fixes make of a file, whole or not at all."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from archcheck.core.atomic_write import replace_file
from archcheck.python.text.document import Document

# How many lines at the top of a file may say that a program wrote it.
_HEAD = 20
_GENERATED = (
    r"(?i)@generated\b|\b(?:do|must) not (?:be )?(?:edit|modif)"
    r"|\bauto(?:matically)?[- ]?generated\b|\bgenerated (?:automatically|by\b.*\bfrom\b)"
)
_IS_REMARK = r"\s*(?:#|//|<!--|\*|\"\"\"|'''|%)"


class WriteError(Exception):
    """A file was not written; the text says why, and follows the file's name."""


def obstacle(document: Document, folder: Path, *, outside: bool) -> str | None:
    """Why a file is not to be changed, in words that follow its name; None where it may be.

    Args:
        folder: The working directory.
        outside: Files outside of it may be changed too.
    """
    place = Path(os.path.realpath(document.path))
    home = Path(os.path.realpath(folder))
    if not outside and home not in place.parents:
        return "lies outside the working directory (see --fix-outside)"
    line = generated_line(document)
    if line is not None:
        return f"says in line {line} that a program generated it"
    try:
        return _closed(place, document)
    except OSError as error:
        return f"cannot be looked at ({(error.strerror or str(error)).lower()})"


def generated_line(document: Document) -> int | None:
    """The line in the head of a file that says that a program wrote it."""
    for number, line in enumerate(document.shown_lines[:_HEAD], start=1):
        if re.match(_IS_REMARK, line) and re.search(_GENERATED, line):
            return number
    return None


def write(document: Document, data: bytes) -> None:
    """Put other bytes in the place of a file's, in one step; links and permissions stay.

    Args:
        document: The file as it was read.

    Raises:
        WriteError: The file has changed since, or cannot be written. It is as it was.
    """
    place = Path(os.path.realpath(document.path))
    try:
        reason = _closed(place, document)
        if reason is not None:
            raise WriteError(reason)
        replace_file(place, data)
    except OSError as error:
        raise WriteError(f"cannot be written ({(error.strerror or str(error)).lower()})") from None


def _closed(place: Path, document: Document) -> str | None:
    """Why a file cannot be changed.

    Raises:
        OSError: It cannot be looked at.
    """
    status = place.stat()
    if not stat.S_ISREG(status.st_mode):
        return "is no ordinary file"
    # The superuser may write anything; that the file is marked read-only still means something.
    if not status.st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
        return "is read-only"
    if not os.access(place, os.W_OK):
        return "is read-only for this user"
    if not os.access(place.parent, os.W_OK | os.X_OK):
        return "lies in a folder that is read-only"
    if status.st_nlink > 1:
        return "has another hard link, which a new file would not keep"
    if place.read_bytes() != document.encode(document.text):
        return "has changed on the disk since it was read"
    return None
