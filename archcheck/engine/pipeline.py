"""The one door: targets and settings go in, a `Report` comes out."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from archcheck.core.config import Config, Model
from archcheck.core.finding import Finding, Fix, Location
from archcheck.core.report import Repairs, Report, source_key
from archcheck.core.rule import Rule, load_rules
from archcheck.core.target import UsageError
from archcheck.engine.checker import Checker, CheckResult
from archcheck.engine.lock import LOCK_NAME, held_against
from archcheck.engine.run_rules import FileResult, Reader, read_files
from archcheck.engine.scopes import scope_at
from archcheck.engine.selection import Selection
from archcheck.engine.targets import Plan
from archcheck.python import Project
from archcheck.python.text.document import DocumentError
from archcheck.worker.process.client import Tracers, Workers

if TYPE_CHECKING:
    from archcheck.core.known_findings import Comparison
    from archcheck.engine.baseline import Baseline
    from archcheck.engine.cache.answers import Memory
    from archcheck.engine.fix.fix_files import FixOptions
    from archcheck.engine.lock.lock_file import Lock
    from archcheck.evidence.target_summary import TargetReport
    from archcheck.evidence.trace import Trace

# Results of fewer files are not remembered: they are read as soon.
WORTH_REMEMBERING = 10


def run(
    targets: Sequence[str] | None,
    config: Config,
    asked: Model,
    *,
    root: Path,
    buffers: Mapping[str, bytes] = MappingProxyType({}),
    mending: FixOptions | None = None,
    workers: Workers | None = None,
    new_baseline: bool = False,
    memory: Memory | None = None,
    rules: Sequence[Rule] | None = None,
) -> Report:
    """Check targets of all forms; without any, what the configuration names.

    Args:
        asked: What the command line asks of each model that it names.
        root: The folder that the configuration's paths are relative to.
        buffers: Files whose text is not (yet) on the disk, by path: they are checked too.
        mending: What to do with fixes, if they are to be applied.
        workers: Those that trace the models, if they are to outlive this check.
        new_baseline: A baseline that is not there is an empty one.
        memory: What is known from earlier runs, and is to be known to later ones.
        rules: Those to choose from; by default those of every installed pack.

    Raises:
        UsageError: The settings are wrong.
    """
    rules = load_rules() if rules is None else rules
    selection = Selection.of(rules, config)
    plan = Plan.of(targets, config, asked, root=root, buffers=tuple(map(Path, buffers)))
    usage_errors = list(plan.usage_errors)
    config = replace(config, source_roots=(*config.source_roots, *plan.folders))
    if memory is not None:
        memory.begin()
        for name in (LOCK_NAME, config.baseline):
            if name is not None:
                memory.notes.add("content", str(root / name))
    lock = _lock(plan, selection, root, usage_errors)
    baseline = _baseline(config, root, usage_errors, may_be_absent=new_baseline)
    with nullcontext(workers) if workers is not None else Workers() as tracers:
        remembered = _remembered(tracers, memory) if memory and plan.models else tracers
        notes = None if memory is None else memory.notes
        read: Reader = read_files
        if memory is not None and len(plan.files) >= WORTH_REMEMBERING:
            read = _remembering(memory, targets or config.paths)
        checker = Checker(plan.files, plan.models, config, remembered, root, lock, notes, read=read)
        examined = checker.examine(selection, buffers)
        repairs: Repairs | None = None
        verdicts: Mapping[Finding, Fix | None] = {}
        if any(finding.fix for finding in examined.findings):
            # What only the tools of fixing import, a check without fixes need not wait for.
            from archcheck.engine.fix.offer import tried

            # A fix must not offend a rule that merely was not selected this time.
            examined = checker.widened(examined, selection.with_defaults(rules))
            chosen = partial(_is_to_be_fixed, selection=selection, baseline=baseline)
            if mending is not None:
                from archcheck.engine.fix.fix_files import mend

                examined, repairs = mend(examined, chosen, checker.again, mending)
            verdicts = tried(examined, chosen, checker.again)
            examined = examined.selected(selection)
    unchecked = [f"{text}: not traced, because tracing is off" for text in plan.untraced]
    unchecked += lock.passed_over(examined.traces) if lock is not None else ()
    known = _compared(baseline, examined) if baseline is not None else None
    met = {str(path) for path in plan.files} - plan.named
    checked = report(examined, verdicts, usage_errors, unchecked, known, met)
    if mending is None:
        return checked
    return replace(checked, repairs=repairs or Repairs(written=mending.write))


def _baseline(
    config: Config, root: Path, usage_errors: list[str], *, may_be_absent: bool
) -> Baseline | None:
    """The known findings; where something is wrong with their file, the check goes on without."""
    if config.baseline is None:
        return None
    # Imported only now: most checks have none.
    from archcheck.engine.baseline import Baseline

    try:
        return Baseline.read(root / config.baseline, may_be_absent=may_be_absent)
    except UsageError as error:
        usage_errors.append(str(error))
        return None


def _remembered(workers: Workers, memory: Memory) -> Tracers:
    from archcheck.engine.cache.traces import RememberedTraces

    return RememberedTraces(workers, memory)


def _remembering(memory: Memory, targets: Sequence[str]) -> Reader:
    from archcheck.engine.cache.source_results import RememberedFiles

    return RememberedFiles(memory, targets).read


def _is_to_be_fixed(
    finding: Finding, project: Project, *, selection: Selection, baseline: Baseline | None
) -> bool:
    """Whether the user wants it fixed: a rule that they run found it, and it is not let stand."""
    if all(rule.code != finding.code for rule in selection.rules):
        return False
    return baseline is None or not baseline.knows(finding, project)


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
    verdicts: Mapping[Finding, Fix | None] = MappingProxyType({}),
    usage_errors: Sequence[str] = (),
    unchecked: Sequence[str] = (),
    comparison: Comparison | None = None,
    met: Container[str] = (),
) -> Report:
    """What was found, as the user sees it: with the positions of the files as they wrote them.

    Args:
        met: Files that only stand in a folder that is named. One that cannot be read is said not
            to be checked; one that is named itself is an error of the call.
        verdicts: The fixes that were tried: as they hold, or None where they do not.
        comparison: Which findings the baseline hides.
    """
    project = examined.project
    findings = sorted(
        (
            _as_the_user_sees_it(_with_verdict(finding, verdicts), project)
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


def _lock(plan: Plan, selection: Selection, root: Path, usage_errors: list[str]) -> Lock | None:
    """The locked models; where something is wrong with their file, the check goes on without."""
    try:
        return held_against(root, selection) if plan.models else None
    except UsageError as error:
        usage_errors.append(str(error))
        return None


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


def _with_verdict(finding: Finding, verdicts: Mapping[Finding, Fix | None]) -> Finding:
    """The finding with the fix that may be offered; one that was not tried is unsafe."""
    if finding.fix is None:
        return finding
    return replace(
        finding, fix=verdicts.get(finding, replace(finding.fix, safety="unsafe", verified=False))
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
