"""Which rules run, and which of their findings are kept."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from archcheck.config import Config, nearest
from archcheck.finding import Finding, Severity
from archcheck.rule import Rule
from archcheck.target import UsageError

EVERYTHING = "ALL"


class Selection(NamedTuple):
    """The rules that run. A rule that is on only by default keeps quiet about mere notes."""

    rules: tuple[Rule, ...]
    chosen: frozenset[str]

    @classmethod
    def of(cls, rules: Sequence[Rule], config: Config) -> Selection:
        """What the configuration selects; of two that match, the longer code decides.

        Raises:
            UsageError: A code is not known.
        """
        for codes in (config.select or (), config.extend_select, config.ignore):
            require_known(codes, rules)
        for codes in config.per_file_ignores.values():
            require_known(codes, rules)
        wanted = (*(config.select or ()), *config.extend_select)
        selected, chosen = [], set()
        for rule in rules:
            on, off = _strength(rule.code, wanted), _strength(rule.code, config.ignore)
            by_default = config.select is None and rule.runs_by_default
            if off > on or (on < 0 and not by_default):
                continue
            selected.append(rule)
            if on >= 0:
                chosen.add(rule.code)
        return cls(tuple(selected), frozenset(chosen))

    def with_defaults(self, rules: Sequence[Rule]) -> Selection:
        """These rules and all that are on by default."""
        codes = {rule.code for rule in self.rules}
        more = tuple(rule for rule in rules if rule.code in codes or rule.runs_by_default)
        return Selection(more, self.chosen)

    def keeps(self, finding: Finding) -> bool:
        return finding.code in self.chosen or finding.severity != Severity.NOTE


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
    return _strength(code, prefixes) >= 0


def _strength(code: str, prefixes: Iterable[str]) -> int:
    """The length of the longest prefix that matches; 0 for ALL, -1 for none."""
    return max(
        (
            0 if prefix == EVERYTHING else len(prefix)
            for prefix in prefixes
            if prefix == EVERYTHING or code.startswith(prefix)
        ),
        default=-1,
    )


def ignored_in(path: str, patterns: Mapping[str, tuple[str, ...]], root: Path) -> tuple[str, ...]:
    """The codes that `per-file-ignores` silences in this file; its patterns start at `root`."""
    if not patterns:
        return ()
    from pathspec import GitIgnoreSpec

    path = os.path.relpath(path, root)
    return tuple(
        code
        for pattern, codes in patterns.items()
        if GitIgnoreSpec.from_lines([pattern]).match_file(path)
        for code in codes
    )
