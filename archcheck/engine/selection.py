"""Which rules run, and which of their findings are kept."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from archcheck.core.codes import require_known, strength
from archcheck.core.config import Config
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule


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
            on, off = strength(rule.code, wanted), strength(rule.code, config.ignore)
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
