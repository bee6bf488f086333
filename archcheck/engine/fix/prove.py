"""Fixes are proven: made in memory, checked again, traced again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from archcheck.core.finding import Edit
from archcheck.engine.checker import CheckResult
from archcheck.engine.fix.apply_edits import Patch, applied, compatible
from archcheck.engine.fix.verify import to_blame
from archcheck.python import Project
from archcheck.python.text.document import DocumentError


class Again(Protocol):
    """Looks again at what may have changed; see `Checker.again`."""

    def __call__(self, before: CheckResult, buffers: Mapping[str, bytes]) -> CheckResult: ...


@dataclass
class Looks:
    """Further looks at files and models, and how many of them there may be (None: any number)."""

    again: Again
    left: int | None = None

    def look(self, before: CheckResult, buffers: Mapping[str, bytes]) -> CheckResult:
        """Look again; see `Again`."""
        if self.left is not None:
            self.left -= 1
        return self.again(before, buffers)

    @property
    def are_over(self) -> bool:
        return self.left is not None and self.left <= 0


@dataclass
class Proof:
    """Fixes that are tried on top of each other.

    Attributes:
        base: What is seen without them.
        known: What is seen with those that hold.
        held, refuted: Those that hold, and those that do not, whatever else is made. One that is
            in neither could not be tried.
    """

    base: CheckResult
    looks: Looks
    known: CheckResult = field(init=False)
    held: list[Patch] = field(default_factory=list)
    refuted: list[Patch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.known = self.base

    def add(self, group: Sequence[Patch]) -> None:
        """Try fixes that can be made at once: all together; where they fail together, parts of
        them, in the end one by one."""
        if self.looks.are_over:
            return
        after, blamed = self._look(group)
        if not blamed:
            self._hold(group, after)
        elif len(group) > 1:
            for part in _parts(group, blamed):
                possible, _ = compatible(part, with_all_of=self.held)
                if possible:
                    self.add(possible)
        elif not self._holds_with_what_follows(group[0], after):
            self.refuted += group

    def _look(self, group: Sequence[Patch]) -> tuple[CheckResult, set[str]]:
        """What is seen with these fixes too, and the files in which they do not hold."""
        texts = applied([*self.held, *group], self.base.project)
        try:
            after = self.looks.look(self.known, {**self.base.buffers, **texts})
            return after, to_blame(self.known, after, group, texts, self.base.project)
        except DocumentError:
            return self.known, set(texts)

    def _hold(self, group: Sequence[Patch], after: CheckResult) -> None:
        self.held += group
        self.known = after

    def _holds_with_what_follows(self, patch: Patch, after: CheckResult) -> bool:
        """Try a fix with the safe fixes of what it brings about."""
        whole = _with_what_follows(patch, self.base, self.known, after)
        if whole is None or not compatible([whole], with_all_of=self.held)[0]:
            return False
        after, blamed = self._look([whole])
        if not blamed:
            self._hold([whole], after)
        return not blamed


def _with_what_follows(
    patch: Patch, base: CheckResult, known: CheckResult, after: CheckResult
) -> Patch | None:
    """A fix with the safe fixes of what it brings about: a layer that changes leaves the shape
    comments behind it stale. None where it brings about anything else."""
    places = {(one.code, one.location.path, one.location.line) for one in known.findings}
    edits: list[Edit] = []
    for finding in after.findings:
        if (finding.code, finding.location.path, finding.location.line) in places:
            continue
        if finding.fix is None or finding.fix.safety != "safe":
            return None
        edits += finding.fix.edits
    if not edits or not all(_is_where_it_was(edit, base.project, after.project) for edit in edits):
        return None
    return patch.with_edits(edits, base.project)


def _is_where_it_was(edit: Edit, before: Project, after: Project) -> bool:
    """Whether a place is the same in both, because no line was inserted or taken away."""
    at = edit.location
    old, new = before.file(at.path).lines, after.file(at.path).lines
    rows = slice(at.line - 1, at.end_line)
    return len(old) == len(new) and old[rows] == new[rows]


def _parts(group: Sequence[Patch], blamed: set[str]) -> tuple[Sequence[Patch], ...]:
    """A group that failed, in parts to try next; those in files that nothing was found in first."""
    unaffected = [patch for patch in group if blamed.isdisjoint(patch.edits)]
    if 0 < len(unaffected) < len(group):
        return unaffected, [patch for patch in group if patch not in unaffected]
    return group[: len(group) // 2], group[len(group) // 2 :]
