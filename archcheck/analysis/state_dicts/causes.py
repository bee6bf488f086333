"""A cause of keys or shapes that differ, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """Why some names don't load.

    Attributes:
        message: A sentence without a full stop.
        names: Of the model's state dict, or of the file's where the model lacks them.
        help: What to do.
        harmless: The model loses nothing by it.
    """

    message: str
    names: tuple[str, ...]
    help: str = ""
    harmless: bool = False


def listed(names: Sequence[str], most: int = 3) -> str:
    """Return the first names, and how many more there are."""
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"


def sizes(shape: tuple[int, ...] | None) -> str:
    """Return a shape as torch prints it."""
    return "no fixed shape" if shape is None else f"[{', '.join(map(str, shape))}]"
