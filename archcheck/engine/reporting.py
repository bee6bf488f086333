"""From what a check showed to its `Report`, in the positions of the files as users wrote them."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from archcheck.core.finding import Finding, Fix, Location
from archcheck.core.report import Report, source_key
from archcheck.engine.checker import CheckResult
from archcheck.engine.run_rules import FileResult
from archcheck.engine.scopes import scope_at
from archcheck.engine.targets import Plan
from archcheck.python import Project
from archcheck.python.text.document import DocumentError

if TYPE_CHECKING:
    from archcheck.core.known_findings import Comparison
    from archcheck.engine.baseline import Baseline
    from archcheck.engine.lock.lock_file import Lock
    from archcheck.evidence.target_summary import TargetReport
    from archcheck.evidence.trace import Trace


def plan_report(
    plan: Plan,
    examined: CheckResult,
    fixes: Mapping[Finding, Fix | None],
    usage_errors: Sequence[str],
    lock: Lock | None,
    baseline: Baseline | None,
) -> Report:
    """Return the report on what a plan asked for."""
    unchecked = [f"{text}: not traced, because tracing is off" for text in plan.untraced]
    unchecked += lock.passed_over(examined.traces) if lock is not None else ()
    known = _compared(baseline, examined) if baseline is not None else None
    met = {str(path) for path in plan.files} - plan.named
    return report(examined, fixes, usage_errors, unchecked, known, met)


def _compared(baseline: Baseline, examined: CheckResult) -> Comparison:
    from archcheck.engine.baseline import Seen

    seen = Seen(
        files=frozenset(result.path for result in examined.files if not result.usage_error),
        targets=frozenset(trace.target for trace in examined.traces if trace.complete),
        selection=examined.selection,
    )
    return baseline.compared(examined.findings, examined.project, seen)


def report(
    examined: CheckResult,
    fixes: Mapping[Finding, Fix | None] = MappingProxyType({}),
    usage_errors: Sequence[str] = (),
    unchecked: Sequence[str] = (),
    comparison: Comparison | None = None,
    met: Container[str] = (),
) -> Report:
    """What was found, as the user sees it: with the positions of the files as they wrote them.

    Args:
        met: Files that only stand in a folder that is named. One that cannot be read is said not
            to be checked; one that is named itself is an error of the call.
        fixes: Those that were tried: as they hold, or None where they do not.
        comparison: Which findings the baseline hides.
    """
    project = examined.project
    findings = sorted(
        (
            _as_the_user_sees_it(_with_tried_fix(finding, fixes), project)
            for finding in examined.findings
            if comparison is None or finding not in comparison.hidden
        ),
        key=lambda f: (f.location.path, f.location.cell or 0, f.location, f.code, f.message),
    )
    read = [result for result in examined.files if not result.usage_error]
    unreadable = [
        result.usage_error for result in examined.files if result.usage_error and result.path in met
    ]
    return Report(
        findings=tuple(findings),
        targets=tuple(_targets(examined)),
        files=len(read),
        suppressed=examined.suppressed,
        unchecked=(*_unchecked(read), *_unseen(examined.traces), *unchecked),
        unreadable=tuple(unreadable),
        usage_errors=(
            *usage_errors,
            *(error for error in examined.usage_errors if error not in unreadable),
        ),
        defects=examined.defects,
        fail_on=examined.config.fail_on,
        sources=_sources(findings, project),
        rules=examined.selection.rules,
        baseline=comparison,
    )


def _unchecked(results: Iterable[FileResult]) -> Iterable[str]:
    for result in results:
        if result.skipped_blocks:
            blocks = "block is" if result.skipped_blocks == 1 else "blocks are"
            yield f"{result.path}: {result.skipped_blocks} {blocks} not Python code"


def _unseen(traces: Iterable[Trace]) -> Iterable[str]:
    for trace in traces:
        if trace.shows_nothing:
            yield f"{trace.target}: not traced, because archcheck itself failed on it"
        elif trace.decided_by_values and not trace.complete and not trace.failures:
            names = ", ".join(f"`{name}`" for name in trace.decided_by_values)
            yield (
                f"{trace.target}: not traced to its end, because how it goes on depends on the "
                f"values of {names}, which are made up here"
            )


def _origin(location: Location, project: Project) -> Location:
    """Where the user wrote what Python compiled at this place."""
    try:
        return project.file(location.path).document.origin(location)
    except (DocumentError, OSError):
        return location


def _targets(examined: CheckResult) -> Iterator[TargetReport]:
    if not examined.traces:
        return
    # Imported only now: a check of the source alone has no use for it.
    from archcheck.evidence.target_summary import TargetReport

    for trace in examined.traces:
        yield TargetReport(trace, _places(trace, examined.project))


def _places(trace: Trace, project: Project) -> dict[str, Location]:
    """Where the user sees the construction of modules, if not where the trace has it."""
    places = {}
    for module in trace.modules:
        if module.constructed is not None:
            origin = _origin(module.constructed, project)
            if origin != module.constructed:
                places[module.path] = origin
    return places


def _with_tried_fix(finding: Finding, fixes: Mapping[Finding, Fix | None]) -> Finding:
    """The finding with the fix that may be offered; one that was not tried is unsafe."""
    if finding.fix is None:
        return finding
    return replace(
        finding, fix=fixes.get(finding, replace(finding.fix, safety="unsafe", verified=False))
    )


def _as_the_user_sees_it(finding: Finding, project: Project) -> Finding:
    """The finding with the positions of the file as the user wrote it."""
    origin = partial(_origin, project=project)
    fix = finding.fix
    return replace(
        finding,
        location=origin(finding.location),
        scope=finding.scope or scope_at(finding.location, project),
        trail=tuple(replace(note, location=origin(note.location)) for note in finding.trail),
        related=tuple(replace(place, location=origin(place.location)) for place in finding.related),
        fix=fix
        and replace(
            fix,
            edits=tuple(replace(edit, location=origin(edit.location)) for edit in fix.edits),
        ),
    )


def _sources(findings: Iterable[Finding], project: Project) -> dict[str, tuple[str, ...]]:
    """The lines of every file, and cell of a notebook, that a finding shows."""
    places = {
        source_key(location): location
        for finding in findings
        for location in (
            finding.location,
            *(place.location for place in finding.related),
            *(note.location for note in finding.trail),
        )
    }
    sources: dict[str, tuple[str, ...]] = {}
    for key, location in sorted(places.items()):
        try:
            document = project.file(location.path).document
        except (DocumentError, OSError):
            continue
        if location.cell is None:
            sources[key] = document.shown_lines
        else:
            sources[key] = tuple(
                document.lines[number - 1]
                for number, origin in sorted(document.origins.items())
                if origin.cell == location.cell
            )
    return sources
