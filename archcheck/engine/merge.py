"""One defect, one finding: what several readers, targets and submodules found becomes one list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias

from archcheck.core.finding import Finding, Location, Severity

Place: TypeAlias = tuple[str, str, int, int]
Line: TypeAlias = tuple[str, str, int]


class Found(NamedTuple):
    """A finding, with what showed it: the target that was traced, or None for the source."""

    finding: Finding
    traced: str | None
    fallback: bool = False


def merged(found: Sequence[Found]) -> list[Finding]:
    """The findings without those that say again what another one says.

    - A fallback (a failure that nothing explains) goes where an error explains it.
    - The same defect in many submodules of one class is one finding that counts them.
    - What a finding says that it covers goes: a residual that is never added leaves its projection
      unused, and that is the same defect.
    - The same defect read from the source and from a trace is the more severe one, or else the
      traced one: it has the shapes.
    """
    errors = [f.finding for f in found if not f.fallback and f.finding.severity == Severity.ERROR]
    kept = [one for one in found if not one.fallback or not _explained(one.finding, errors)]
    covered = [cover for one in kept for cover in one.finding.covers]
    kept = [one for one in kept if not _is_covered(one.finding, covered)]
    traced = _first_of_each([one for one in kept if one.traced is not None])
    from_source = _first_of_each([one for one in kept if one.traced is None])
    worst = _severities(from_source)
    traced = [f for f in traced if f.severity is None or f.severity >= worst.get(_line(f), "note")]
    lines = {_line(finding) for finding in traced}
    return traced + [finding for finding in from_source if _line(finding) not in lines]


def _is_covered(finding: Finding, covered: Iterable[tuple[str, Location]]) -> bool:
    places = (finding.location, finding.defect or finding.location)
    return any(
        code == finding.code and any(span.covers(place) for place in places)
        for code, span in covered
    )


def _severities(findings: Iterable[Finding]) -> dict[Line, Severity]:
    """The worst severity of each rule's findings on each line."""
    worst: dict[Line, Severity] = {}
    for finding in findings:
        if finding.severity is not None:
            known = worst.get(_line(finding), Severity.NOTE)
            worst[_line(finding)] = max(known, finding.severity, key=lambda found: found.rank)
    return worst


def _explained(finding: Finding, errors: Iterable[Finding]) -> bool:
    places = [finding.location, *(related.location for related in finding.related)]
    return any(
        (error.explains or error.location).covers(place) for error in errors for place in places
    )


def _first_of_each(found: Iterable[Found]) -> list[Finding]:
    groups: dict[Place, list[Found]] = {}
    for one in found:
        groups.setdefault(_place(one.finding), []).append(one)
    return [_with_the_others(_worst_first(group)) for group in groups.values()]


def _worst_first(group: Sequence[Found]) -> Sequence[Found]:
    return sorted(group, key=lambda one: -(one.finding.severity or Severity.NOTE).rank)


def _place(finding: Finding) -> Place:
    at: Location = finding.defect or finding.location
    return finding.code, at.path, at.line, at.column


def _line(finding: Finding) -> Line:
    return _place(finding)[:3]


def _with_the_others(group: Sequence[Found]) -> Finding:
    first = group[0].finding
    modules = dict.fromkeys(
        one.finding.module
        for one in group[1:]
        if one.traced == group[0].traced and one.finding.module not in (None, first.module)
    )
    if not modules:
        return first
    names = [f"`{module}`" for module in modules]
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return replace(first, notes=(*first.notes, f"the same at {listed}"))
