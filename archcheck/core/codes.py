"""Codes of rules as users write them: a code, the prefix of a family, or ALL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from archcheck.core.rule import Rule
from archcheck.core.target import UsageError
from archcheck.core.wording import nearest

EVERYTHING = "ALL"


def require_known(codes: Iterable[str], rules: Sequence[Rule]) -> None:
    """Refuse codes, prefixes and names that no rule has.

    Raises:
        UsageError: Names the nearest code that exists.
    """
    known = [rule.code for rule in rules]
    for code in codes:
        if code != EVERYTHING and not (code and any(k.startswith(code) for k in known)):
            raise UsageError(
                f"no rule has the code {code!r}{nearest(code, known)} (see `archcheck rules`)"
            )


def matches(code: str, prefixes: Iterable[str]) -> bool:
    """Whether a code is one of these, or of a family among them."""
    return strength(code, prefixes) >= 0


def strength(code: str, prefixes: Iterable[str]) -> int:
    """The length of the longest prefix that matches; 0 for ALL, -1 for none."""
    return max(
        (
            0 if prefix == EVERYTHING else len(prefix)
            for prefix in prefixes
            if prefix == EVERYTHING or code.startswith(prefix)
        ),
        default=-1,
    )
