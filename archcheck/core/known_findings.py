"""Findings that a baseline lets stand, and what came of comparing a check with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from archcheck.core.finding import Finding


@dataclass(frozen=True, slots=True)
class KnownFinding:
    """One line of a baseline: findings that are alike, and how many there are.

    Attributes:
        text: The line that they are in.
        target: The model whose trace showed them; None for what the source shows.
    """

    path: str
    scope: str
    code: str
    text: str
    severity: str
    target: str | None
    count: int = 1


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of holding findings against a baseline.

    Attributes:
        hidden: Those that are known.
        gone: How many known findings are no more.
        update: What the baseline would have to hold for nothing to be new, and nothing gone.
    """

    path: Path
    hidden: frozenset[Finding]
    gone: int
    update: tuple[KnownFinding, ...]
