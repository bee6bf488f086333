"""From the text that was traced to the text that is being typed: what still stands where."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from archcheck.core.finding import Edit, Finding, Location
from archcheck.python.syntax.tree import syntax_tree


@dataclass(frozen=True)
class Drift:
    """Where lines of a text are found again in a later text of the same file.

    Attributes:
        means_the_same: The two differ in comments and layout only: what was true of the one is
            true of the other.
        lines: By the line before, the line now; those that were changed are missing.
    """

    before: tuple[str, ...]
    after: tuple[str, ...]
    means_the_same: bool
    lines: Mapping[int, int]

    @classmethod
    def between(cls, before: str, after: str) -> Drift:
        old, new = tuple(before.split("\n")), tuple(after.split("\n"))
        if old == new:
            return cls(old, new, True, {number: number for number in range(1, len(old) + 1)})
        lines = _lines_of_equal_trees(before, after)
        if lines is not None:
            return cls(old, new, True, lines)
        return cls(old, new, False, _equal_lines(old, new))

    def moved(self, place: Location) -> Location | None:
        """A span of the text before in the text now; None where its lines were changed."""
        first, last = self.lines.get(place.line), self.lines.get(place.end_line or place.line)
        if first is None or last is None:
            return None
        old, new = self.before[place.line - 1], self.after[first - 1]
        if old.strip() != new.strip():
            # The same code in another layout.
            return Location(place.path, first, len(new) - len(new.lstrip()) + 1, cell=place.cell)
        shift = len(new) - len(new.lstrip()) - (len(old) - len(old.lstrip()))
        return replace(
            place,
            line=first,
            column=max(1, place.column + shift),
            end_line=last if place.end_line else 0,
            end_column=max(1, place.end_column + shift) if place.end_column else 0,
        )


def moved_finding(finding: Finding, drifts: Mapping[str, Drift]) -> Finding | None:
    """The finding where it stands now; None where a line that it speaks of was changed.

    Args:
        drifts: By path; files that are not among them are as they were.
    """
    gone = False

    def moved(place: Location) -> Location:
        nonlocal gone
        drift = drifts.get(place.path)
        found = drift.moved(place) if drift is not None else place
        gone = gone or found is None
        return found or place

    fix = finding.fix
    result = replace(
        finding,
        location=moved(finding.location),
        defect=finding.defect and moved(finding.defect),
        explains=finding.explains and moved(finding.explains),
        trail=tuple(replace(note, location=moved(note.location)) for note in finding.trail),
        related=tuple(replace(one, location=moved(one.location)) for one in finding.related),
        covers=tuple((code, moved(place)) for code, place in finding.covers),
        fix=fix
        and replace(fix, edits=tuple(Edit(moved(one.location), one.new) for one in fix.edits)),
    )
    return None if gone else result


def _lines_of_equal_trees(before: str, after: str) -> dict[int, int] | None:
    """Which line became which, where both texts are the same program."""
    try:
        old, new = syntax_tree(before), syntax_tree(after)
    except SyntaxError:
        return None
    if ast.dump(old) != ast.dump(new):
        return None
    lines: dict[int, int] = {}
    pairs = list(zip(ast.walk(old), ast.walk(new), strict=True))
    # Where a statement begins matters most: what stood in one row may stand in several.
    for kind in (ast.stmt, ast.expr):
        for one, other in pairs:
            if isinstance(one, kind) and isinstance(other, kind):
                lines.setdefault(one.lineno, other.lineno)
    for one, other in pairs:
        if isinstance(one, ast.stmt) and isinstance(other, ast.stmt):
            lines.setdefault(one.end_lineno or one.lineno, other.end_lineno or other.lineno)
    return lines


def equal_ends(old: Sequence[str], new: Sequence[str]) -> tuple[int, int]:
    """How many lines or characters two texts begin with alike, and how many they end with."""
    most = min(len(old), len(new))
    head = tail = 0
    while head < most and old[head] == new[head]:
        head += 1
    while tail < most - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    return head, tail


def _equal_lines(old: tuple[str, ...], new: tuple[str, ...]) -> dict[int, int]:
    """Which lines are still there, word for word."""
    head, tail = equal_ends(old, new)
    lines = {number: number for number in range(1, head + 1)}
    lines.update((len(old) - step, len(new) - step) for step in range(tail))
    middle = SequenceMatcher(
        None, old[head : len(old) - tail], new[head : len(new) - tail], autojunk=False
    )
    for start, there, size in middle.get_matching_blocks():
        lines.update((head + start + step + 1, head + there + step + 1) for step in range(size))
    return lines
