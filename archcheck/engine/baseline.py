"""The baseline: findings that a team knows of and lets stand, so that only new ones count.

A finding is known by its code, and by where its defect lies: the file, the class and function, and
the text of the line without spaces. So lines may move, files may be formatted, and what a trace
shows in one place and the source in another is known in both. Findings alike in all of these are
counted. Where a file is gone, its findings are recognised in another file: it was renamed.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import Any, TypeAlias

from archcheck.core.atomic_write import write_whole
from archcheck.core.finding import Finding, Severity
from archcheck.core.known_findings import Comparison, KnownFinding
from archcheck.core.report import Report
from archcheck.core.target import UsageError, parse_target
from archcheck.engine.scopes import scope_at
from archcheck.engine.selection import Selection
from archcheck.python import Project
from archcheck.python.text.document import DocumentError

VERSION = 1

_WRITE_ANEW = "write it anew with --write-baseline"
_KINDS: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("code", "path", "scope", "text", "severity"), str),
    "target": (str, type(None)),
    "count": int,
}
Identity: TypeAlias = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a check could have found: only what it looked for can be said to be gone.

    Attributes:
        files: The paths of the files that were read.
        targets: The models whose pass reached its end.
    """

    files: frozenset[str]
    targets: frozenset[str]
    selection: Selection


@dataclass(frozen=True)
class Baseline:
    """The known findings of one file; their paths are relative to its folder."""

    path: Path
    entries: tuple[KnownFinding, ...] = ()

    @classmethod
    def read(cls, path: Path, *, may_be_absent: bool = False) -> Baseline:
        """The baseline in a file.

        Raises:
            UsageError: It is not there, or no baseline that this archcheck understands.
        """
        try:
            text = path.read_bytes().decode()
        except FileNotFoundError:
            if may_be_absent:
                return cls(path)
            raise UsageError(f"{_shown(path)}: there is no such baseline: {_WRITE_ANEW}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{_shown(path)} cannot be read: {error}") from None
        if "\n<<<<<<< " in f"\n{text}":
            raise UsageError(
                f"{_shown(path)} holds a merge conflict: keep the lines of both sides, "
                "or delete the file and " + _WRITE_ANEW
            )
        try:
            return cls(path, tuple(_entries(json.loads(text))))
        except (ValueError, RecursionError) as error:
            raise UsageError(
                f"{_shown(path)} is no baseline ({error}): delete it and {_WRITE_ANEW}"
            ) from None

    def knows(self, finding: Finding, project: Project) -> bool:
        """Whether it has a finding like this one, however many."""
        return _identity(_entry(finding, project, self.path.parent)) in self._counts

    @cached_property
    def _counts(self) -> Counter[Identity]:
        counts: Counter[Identity] = Counter()
        for entry in self.entries:
            counts[_identity(entry)] += entry.count
        return counts

    def compared(self, findings: Sequence[Finding], project: Project, seen: Seen) -> Comparison:
        """Which of these findings are known, and what became of those that were."""
        left = self._counts.copy()
        found = [_entry(finding, project, self.path.parent) for finding in findings]
        known = [_taken(left, _identity(entry)) for entry in found]
        of_lost_files: Counter[Identity] = Counter()
        for identity, count in left.items():
            if count and not (self.path.parent / identity[1]).exists():
                of_lost_files[_without_path(identity)] += count
        known = [
            is_known or _taken(of_lost_files, _without_path(_identity(entry)))
            for entry, is_known in zip(found, known, strict=True)
        ]
        unseen = self._unseen(left, seen)
        return Comparison(
            path=self.path,
            hidden=frozenset(compress(findings, known)),
            gone=self._counts.total() - sum(known) - sum(entry.count for entry in unseen),
            update=_merged((*found, *unseen)),
        )

    def _unseen(self, left: Counter[Identity], seen: Seen) -> list[KnownFinding]:
        """What was not found, and could not have been by this check."""
        here = self.path.parent
        files = {_from(here, path) for path in seen.files}
        targets = {_target_from(here, text) for text in seen.targets}
        rules = {rule.code for rule in seen.selection.rules}
        unseen: list[KnownFinding] = []
        for entry in self.entries:
            was_looked_for = (
                entry.code in rules
                and (entry.severity != Severity.NOTE or entry.code in seen.selection.chosen)
                and entry.path in files
                and (entry.target is None or entry.target in targets)
            )
            count = min(left[_identity(entry)], entry.count)
            if count and not was_looked_for and (here / entry.path).exists():
                left[_identity(entry)] -= count
                unseen.append(replace(entry, count=count))
        return unseen


def accepted(report: Report, comparison: Comparison) -> tuple[Report, int]:
    """Write the findings of a report into its baseline.

    Returns:
        The report as the new baseline leaves it, and how many of its findings are let stand.

    Raises:
        UsageError: The file cannot be written.
    """
    write_baseline(comparison)
    hidden = comparison.hidden | set(report.findings)
    after = replace(comparison, hidden=hidden, gone=0)
    return replace(report, findings=(), baseline=after), len(hidden)


def write_baseline(comparison: Comparison) -> None:
    """Write what a check found into its baseline, beside what it could not have found.

    Raises:
        UsageError: The file cannot be written.
    """
    lines = [
        "    " + json.dumps(asdict(entry), ensure_ascii=False, separators=(", ", ": "))
        for entry in comparison.update
    ]
    body = "[\n" + ",\n".join(lines) + "\n  ]" if lines else "[]"
    text = f'{{\n  "version": {VERSION},\n  "findings": {body}\n}}\n'
    write_whole(comparison.path, text.encode("utf-8", "replace"))


def _entries(document: Any) -> Iterator[KnownFinding]:
    if not isinstance(document, dict) or not isinstance(document.get("findings"), list):
        raise ValueError("it has no list of findings")
    if document.get("version") != VERSION:
        raise ValueError(f"its version is {document.get('version')!r}, not {VERSION}")
    for number, entry in enumerate(document["findings"], start=1):
        if (
            not isinstance(entry, dict)
            or entry.keys() != _KINDS.keys()
            or not all(isinstance(entry[key], kind) for key, kind in _KINDS.items())
        ):
            raise ValueError(f"its finding {number} is malformed")
        yield KnownFinding(**entry)


def _entry(finding: Finding, project: Project, folder: Path) -> KnownFinding:
    place = finding.defect or finding.location
    try:
        lines = project.file(place.path).lines
    except (DocumentError, OSError):
        lines = ()
    text = lines[place.line - 1] if 1 <= place.line <= len(lines) else finding.message
    return KnownFinding(
        path=_from(folder, place.path),
        scope=scope_at(place, project) or "",
        code=finding.code,
        text=" ".join(text.split()),
        severity=(finding.severity or Severity.ERROR).value,
        target=None if finding.target is None else _target_from(folder, finding.target),
    )


def _merged(entries: Iterable[KnownFinding]) -> tuple[KnownFinding, ...]:
    """The findings in the order of the file, those that are alike as one."""
    counts: Counter[KnownFinding] = Counter()
    for entry in entries:
        counts[replace(entry, count=1)] += entry.count
    merged = (replace(entry, count=count) for entry, count in counts.items())
    return tuple(
        sorted(merged, key=lambda e: (e.path, e.scope, e.code, e.text, e.target or "", e.severity))
    )


def _taken(left: Counter[Identity], identity: Identity) -> bool:
    """Take one of these, if there is one left."""
    if left[identity] <= 0:
        return False
    left[identity] -= 1
    return True


def _identity(entry: KnownFinding) -> Identity:
    return entry.code, entry.path, entry.scope, "".join(entry.text.split())


def _without_path(identity: Identity) -> Identity:
    return identity[0], "", identity[2], identity[3]


def _from(folder: Path, path: str) -> str:
    """A path as the baseline has it."""
    try:
        return os.path.relpath(path, folder).replace(os.sep, "/")
    except ValueError:
        # On another drive there is no way from here to there.
        return path


def _target_from(folder: Path, text: str) -> str:
    target = parse_target(text)
    if target is None or not target.is_file:
        return text
    return _from(folder, target.place) + text[len(target.place) :]


def _shown(path: Path) -> str:
    return _from(Path.cwd(), str(path))
