"""What every command says: text on standard output, complaints on standard error."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from archcheck.core.target import UsageError

DEFECT = "this is a defect of archcheck, not of your code: please report it with the lines above"


def wants_color() -> bool:
    """Whether to colour standard output: on a terminal, unless NO_COLOR or TERM forbids."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(os.environ.get("FORCE_COLOR")) or sys.stdout.isatty()


def show(text: str) -> None:
    """Print text on standard output, ended by a new line."""
    if isinstance(sys.stdout.encoding, str) and sys.stdout.encoding.lower() != "utf-8":
        # A terminal that cannot show a character gets a substitute, never a traceback.
        text = text.encode(sys.stdout.encoding, "replace").decode(sys.stdout.encoding)
    sys.stdout.write(text if text.endswith("\n") or not text else f"{text}\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Say one line on standard error."""
    print(usage_error(text), file=sys.stderr)


def usage_error(text: str) -> str:
    """The line that `complain` prints."""
    return f"archcheck: {' '.join(text.split())}"


def write(path: Path, text: str, option: str) -> None:
    """Write a file that an option names.

    Raises:
        UsageError: It cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{option}: {path}: {error.strerror}") from error
