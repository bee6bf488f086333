"""Codes of rules as users write them: a code, the prefix of a family, or ALL."""

from __future__ import annotations

import re
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


def next_free_code(family: str, taken: Iterable[str]) -> str:
    """Return the code after the highest one of a family (letters and the first digit): AC2, AC223.

    A number that was once given away is not given away again, so gaps stay.

    Raises:
        UsageError: It is no family, or has no number left.
    """
    family = family.upper()
    if not re.fullmatch(r"[A-Z]+\d", family):
        raise UsageError(f"{family!r} is no family of rules: write letters and one digit, as AC2")
    numbers = [int(code.removeprefix(family)) for code in taken if _is_of(code, family)]
    following = max(numbers, default=0) + 1
    if following > 99:
        raise UsageError(f"the family {family} has no number left")
    return f"{family}{following:02d}"


def _is_of(code: str, family: str) -> bool:
    return re.fullmatch(rf"{family}\d\d", code) is not None
