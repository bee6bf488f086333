"""Looks things up by the names that users type."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")


def known(name: str, table: Mapping[str, T], what: str, hint: str = "") -> T:
    """The entry of this name, in whatever case it is typed.

    Raises:
        ValueError: There is none; the text names the nearest ones, or all.
    """
    key = name.strip().lower().replace("_", "-").replace(" ", "-")
    if key in table:
        return table[key]
    near = get_close_matches(key, list(table), 3, 0.5)
    choices = f"did you mean {' or '.join(map(repr, near))}?" if near else (
        f"known are {', '.join(list(table)[:8])}{', …' * (len(table) > 8)}"
    )  # fmt: skip
    raise ValueError(f"{name!r} is no known {what}; {choices}{hint}")
