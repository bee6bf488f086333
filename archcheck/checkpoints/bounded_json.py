"""JSON of a file that nobody vouches for: bounded, with the keys that stand twice."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from archcheck.evidence.checkpoint import CheckpointError

# Brackets cost the most memory a byte: an empty list takes fifty times what it is written in.
MOST_BRACKETS = 6_000_000


class Parsed(NamedTuple):
    """A JSON object, and the keys that stand twice in one of its objects."""

    value: dict[str, Any]
    twice: tuple[str, ...]


def parse_object(data: bytes, where: str) -> Parsed:
    """Parse a JSON object.

    Raises:
        CheckpointError: It is no JSON object, or one that no checkpoint has.
    """
    if data.count(b"[") + data.count(b"{") > MOST_BRACKETS:
        raise CheckpointError(f"{where} describes more tensors than any checkpoint has")
    twice: list[str] = []

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            seen: set[str] = set()
            twice.extend(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        return found

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=collect)
    except (ValueError, RecursionError):
        raise CheckpointError(f"{where} is damaged: it is no JSON") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{where} is damaged: it is no JSON object")
    return Parsed(value, tuple(twice))


def sizes_of(value: Any) -> tuple[int, ...] | None:
    """Return the sizes of a list of them; None where it is none."""
    if not isinstance(value, list):
        return None
    if not all(isinstance(size, int) and not isinstance(size, bool) for size in value):
        return None
    return tuple(value) if all(0 <= size < 2**63 for size in value) else None
