"""Look at files and models, and look again at them with other texts in the place of the disk's."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from archcheck.core.codes import matches
from archcheck.core.config import Config, Model
from archcheck.core.finding import Finding
from archcheck.core.probe_request import ProbeRequest
from archcheck.core.target import Target, TraceRequest, UsageError, parse_input, parse_target
from archcheck.engine.costs import cost_request, step_request
from archcheck.engine.merge import Found, merged
from archcheck.engine.run_rules import FileResult, Reader, open_project, read_files, run_reader
from archcheck.engine.selection import Selection, ignored_in
from archcheck.engine.suppress import apply
from archcheck.python import Project
from archcheck.python.syntax.parse import Parse, parse
from archcheck.python.text.document import DocumentError
from archcheck.worker.process.client import Outcome, Tracers, WorkerDefect

if TYPE_CHECKING:
    from archcheck.core.facts import DependencyRecorder
    from archcheck.engine.lock.lock_file import Lock
    from archcheck.evidence.request import Request
    from archcheck.evidence.trace import Trace
    from archcheck.python.file import SourceFile


@dataclass(frozen=True, slots=True)
class TargetResult:
    """What tracing one target gave.

    Attributes:
        trace: What is shown of it.
        usage_error: Why it could not be traced.
        symbolic: The same model traced with symbols, where rules could tell only from those: they
            read it in the place of `trace`. Symbols are shown where they are asked for.
    """

    trace: Trace | None
    found: tuple[Found, ...] = ()
    usage_error: str | None = None
    defects: tuple[str, ...] = ()
    symbolic: Trace | None = None

    def require_trace(self) -> Trace:
        """Return the trace, which shows something.

        Raises:
            UsageError: The target cannot be served.
            WorkerDefect: archcheck failed on it.
        """
        if self.trace is None:
            raise UsageError(self.usage_error or "there is no trace")
        if self.trace.shows_nothing:
            raise WorkerDefect("\n".join(self.trace.defects))
        return self.trace

    @classmethod
    def of(cls, trace: Trace, project: Project, selection: Selection) -> TargetResult:
        """Run the selected trace rules."""
        found: list[Found] = []
        defects = list(trace.defects)
        for rule in () if trace.shows_nothing else selection.rules:
            readers = (*rule.trace_readers, *(rule.probe_readers if trace.probe else ()))
            for reader in readers:
                found += run_reader(rule, partial(reader, trace, project), trace.target, defects)
        return cls(trace, tuple(found), defects=tuple(defects))

    @property
    def read(self) -> Trace | None:
        """The trace that rules read."""
        return self.symbolic or self.trace

    @property
    def needs_symbols(self) -> bool:
        """Whether a rule can tell only from symbolic sizes."""
        return any(one.finding.tentative for one in self.found) and (
            self.read is not None and self.read.symbolic is None
        )

    def with_symbols(self, told: TargetResult) -> TargetResult:
        """Return this result with what rules find in a trace with symbols.

        One that ends early, because it takes longer, tells nothing new of the model.
        """
        if told.trace is None or told.trace.symbolic is None or not told.trace.complete:
            return replace(self, defects=tuple(dict.fromkeys((*self.defects, *told.defects))))
        return replace(told, trace=self.trace, symbolic=told.trace)


@dataclass(frozen=True)
class CheckResult:
    """What one look at files and models showed; all positions are those of the code.

    Attributes:
        buffers: The texts that stood in the place of the disk's, by path.
    """

    files: tuple[FileResult, ...]
    targets: tuple[TargetResult, ...]
    project: Project
    config: Config
    selection: Selection
    buffers: Mapping[str, bytes] = field(default_factory=dict)

    @cached_property
    def traces(self) -> tuple[Trace, ...]:
        return tuple(result.trace for result in self.targets if result.trace is not None)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is to be reported."""
        return self._kept[0]

    @property
    def suppressed(self) -> int:
        return self._kept[1]

    @property
    def usage_errors(self) -> tuple[str, ...]:
        results: Iterable[TargetResult | FileResult] = (*self.targets, *self.files)
        return tuple(result.usage_error for result in results if result.usage_error)

    @property
    def defects(self) -> tuple[str, ...]:
        results: Iterable[TargetResult | FileResult] = (*self.files, *self.targets)
        return tuple(defect for result in results for defect in result.defects)

    def selected(self, selection: Selection) -> CheckResult:
        """What fewer rules would have shown."""
        codes = {rule.code for rule in selection.rules}

        def chosen(found: Sequence[Found]) -> tuple[Found, ...]:
            return tuple(one for one in found if one.finding.code in codes)

        return replace(
            self,
            files=tuple(replace(result, found=chosen(result.found)) for result in self.files),
            targets=tuple(replace(result, found=chosen(result.found)) for result in self.targets),
            selection=selection,
        )

    @cached_property
    def _kept(self) -> tuple[tuple[Finding, ...], int]:
        results: Iterable[TargetResult | FileResult] = (*self.files, *self.targets)
        ignores, root = self.config.per_file_ignores, self.project.root
        told = {trace.path for trace in self.traces if trace.request.loss}
        found = [
            one
            for result in results
            for one in result.found
            if not (one.finding.guesses_loss and one.finding.location.path in told)
            and not one.finding.tentative
        ]
        wanted = [
            finding
            for finding in merged(found)
            if self.selection.keeps(finding)
            and not matches(finding.code, ignored_in(finding.location.path, ignores, root))
        ]
        kept, silenced = apply(
            wanted,
            [result.suppressions for result in self.files if result.suppressions],
            self.selection,
            traced={trace.path for trace in self.traces},
        )
        return tuple(kept), silenced


class Checker:
    """Examines the same files and models as often as it is asked to.

    Args:
        workers: Trace the models; they are kept from one look to the next.
        root: The folder that the configuration is relative to.
        lock: What the models were when they were locked, if they are to be held against that.
        notes: Take down every file and folder of the project that is looked at.
        parse: What parses the files.
        read: What reads them; it may remember what reading them gave.
    """

    def __init__(
        self,
        files: Sequence[Path],
        models: Sequence[tuple[Target, Model]],
        config: Config,
        workers: Tracers,
        root: Path,
        lock: Lock | None = None,
        notes: DependencyRecorder | None = None,
        parse: Parse = parse,
        read: Reader = read_files,
    ) -> None:
        self._files = files
        self._models = models
        self._config = config
        self._workers = workers
        self._root = root
        self._lock = lock
        self._notes = notes
        self._parse = parse
        self._read = read
        self._start: Project | None = None

    def examine(self, selection: Selection, buffers: Mapping[str, bytes]) -> CheckResult:
        """Look at everything; `buffers` are files whose text is not that of the disk, by path."""
        project = self._start = self._project(buffers)
        # The worker imports torch while this process reads the source.
        self._workers.start([self._request(target, m, buffers) for target, m in self._models])
        files = self._read(self._files, project, selection, buffers)
        targets = [
            self._result(outcome, model, project, selection)
            for (_, model), outcome in zip(self._models, self._workers.results(), strict=True)
        ]
        requests = [self._request(target, model, buffers) for target, model in self._models]
        targets = self._with_symbols(targets, requests, project, selection)
        return CheckResult(tuple(files), tuple(targets), project, self._config, selection, buffers)

    def _with_symbols(
        self,
        results: Sequence[TargetResult],
        requests: Sequence[TraceRequest],
        project: Project,
        selection: Selection,
    ) -> list[TargetResult]:
        """The results; of those that need symbols, what the rules find in a trace with them."""
        asked = {place for place, result in enumerate(results) if result.needs_symbols}
        if not asked:
            return list(results)
        self._workers.start([replace(requests[place], symbolic=True) for place in sorted(asked)])
        answers = self._workers.results()
        return [
            result.with_symbols(
                self._result(next(answers), self._models[place][1], project, selection)
            )
            if place in asked
            else result
            for place, result in enumerate(results)
        ]

    def again(self, before: CheckResult, buffers: Mapping[str, bytes]) -> CheckResult:
        """Look at what may have changed, now that these texts stand in the place of the disk's."""
        paths = {*before.buffers, *buffers}
        changed = {path for path in paths if before.buffers.get(path) != buffers.get(path)}
        if not changed:
            return before
        project = self._project(buffers)
        selection = before.selection
        known = dict(zip(map(_key, self._files), before.files, strict=True))
        places = {_key(path) for path in changed}
        stale = [
            path
            for path, result in zip(self._files, before.files, strict=True)
            if _key(path) in places or not places.isdisjoint(result.consulted)
        ]
        requests = [
            self._request(_followed(target, self._start or before.project, project), model, buffers)
            for target, model in self._models
        ]
        kept = [result if _is_untouched(result, places) else None for result in before.targets]
        self._workers.start(
            [request for request, old in zip(requests, kept, strict=True) if old is None]
        )
        read = read_files(stale, project, selection, buffers)
        known.update(zip(map(_key, stale), read, strict=True))
        answers = self._workers.results()
        targets = [
            self._result(next(answers), model, project, selection)
            if old is None
            else self._reread(old, model, project, selection)
            for (_, model), old in zip(self._models, kept, strict=True)
        ]
        targets = self._with_symbols(targets, requests, project, selection)
        files = tuple(known[_key(path)] for path in self._files)
        return CheckResult(files, tuple(targets), project, self._config, selection, buffers)

    def widened(self, examined: CheckResult, selection: Selection) -> CheckResult:
        """The same look with further rules. Nothing is traced again."""
        if {rule.code for rule in selection.rules} <= {r.code for r in examined.selection.rules}:
            return examined
        project = self._project(examined.buffers)
        targets = [
            self._reread(result, model, project, selection)
            for (_, model), result in zip(self._models, examined.targets, strict=True)
        ]
        files = self._read(self._files, project, selection, examined.buffers)
        return replace(
            examined,
            files=tuple(files),
            targets=tuple(targets),
            project=project,
            selection=selection,
        )

    def _project(self, buffers: Mapping[str, bytes]) -> Project:
        roots = [self._root / place for place in self._config.source_roots]
        return open_project(self._root, roots, buffers, self._notes, self._parse)

    def _request(self, target: Target, model: Model, buffers: Mapping[str, bytes]) -> TraceRequest:
        return TraceRequest(
            target=target,
            inputs=tuple(parse_input(text) for text in model.inputs),
            mode=model.mode or "train",
            timeout=model.timeout or self._config.timeout,
            memory_limit=self._config.memory_limit,
            import_whole=model.import_whole,
            input_from=_function(model.input_from),
            buffers={os.path.abspath(path): data for path, data in buffers.items()},
            training=step_request(model),
            symbolic=model.symbolic,
            probe=ProbeRequest(self._config.memory_limit) if model.probe else None,
        )

    def _reread(
        self, result: TargetResult, model: Model, project: Project, selection: Selection
    ) -> TargetResult:
        """What rules find in a target that is not traced again."""
        if result.trace is None:
            return result
        again = self._result(result.trace, model, project, selection)
        if result.symbolic is None:
            return again
        return again.with_symbols(self._result(result.symbolic, model, project, selection))

    def _result(
        self, outcome: Outcome, model: Model, project: Project, selection: Selection
    ) -> TargetResult:
        if isinstance(outcome, UsageError):
            return TargetResult(None, usage_error=str(outcome))
        locked = self._lock.find(outcome) if self._lock is not None else None
        file = _file_of(outcome, project) if step_request(model) is not None else None
        request = replace(_request_of(model, file), architecture=locked)
        if model.weights is not None and not os.path.exists(model.weights):
            return TargetResult(None, usage_error=f"--weights {model.weights}: no such file")
        # Imported only now: a check of the source alone has no use for it.
        from archcheck.engine.checkpoints import with_checkpoint, with_loads

        if model.weights is not None:
            request = with_checkpoint(request, model.weights, self._notes)
        request = with_loads(request, outcome, project, self._notes)
        return TargetResult.of(replace(outcome, request=request), project, selection)


def _is_untouched(result: TargetResult, places: Container[str]) -> bool:
    """Whether a target was traced, and from none of these files."""
    trace = result.trace
    return trace is not None and not any(_key(p) in places for p in (*trace.files, trace.path))


def _followed(target: Target, start: Project, now: Project) -> Target:
    """The target with the line that it names where that is now."""
    if target.line is None:
        return target
    try:
        old, new = (project.file(target.place).lines for project in (start, now))
    except (DocumentError, OSError):
        return target
    # Imported only now: few targets name a line.
    from difflib import SequenceMatcher

    at = target.line - 1
    for tag, first, end, now_first, _ in SequenceMatcher(None, old, new, False).get_opcodes():
        if first <= at < end:
            moved = now_first + (at - first if tag == "equal" else 0)
            return replace(target, line=moved + 1)
    return target


def _function(text: str | None) -> Target | None:
    """The function that `--input-from` names."""
    if text is None:
        return None
    target = parse_target(text)
    if target is None:
        raise UsageError(f"--input-from {text}: write `file.py:function`")
    return target


def _file_of(trace: Trace, project: Project) -> SourceFile | None:
    """The file that a model was loaded from, if it can be read."""
    try:
        return project.file(trace.path)
    except (DocumentError, OSError):
        return None


def _request_of(model: Model, file: SourceFile | None) -> Request:
    from archcheck.evidence.request import Request

    return Request(
        output=model.expect_output,
        loss=model.loss,
        max_params=model.max_params,
        max_macs=model.max_macs,
        max_memory=model.max_memory,
        allow_missing=model.allow_missing,
        costs=cost_request(model, file),
    )


def _key(path: Path | str) -> str:
    return os.path.abspath(path)
