"""The one door: whoever wants a check, a look or a trace asks a session.

The command line, Python, pytest and the editor's server are shells over it: they say what is
wanted, and draw what comes back. A session owns what outlives one check: the workers that trace,
and what is known from earlier runs. It imports late, since an answer that is remembered needs
nothing of what finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from archcheck.core.config import Config, Model, read_config
from archcheck.core.report import Repairs, Report
from archcheck.core.rule import Rule, load_rules
from archcheck.core.target import Target, UsageError, parse_target

if TYPE_CHECKING:
    from types import TracebackType

    from archcheck.core.finding import Finding, Fix
    from archcheck.engine.baseline import Baseline
    from archcheck.engine.cache.answers import Memory
    from archcheck.engine.checker import Checker, CheckResult
    from archcheck.engine.fix.fix_files import FixOptions
    from archcheck.engine.lock.lock_file import Lock
    from archcheck.engine.run_rules import FileResult
    from archcheck.engine.selection import Selection
    from archcheck.engine.targets import Plan
    from archcheck.evidence.trace import Trace
    from archcheck.python.syntax.parse import Parse
    from archcheck.worker.process.client import Tracers, Workers

T = TypeVar("T")

# Results of fewer files are not remembered: they are read as soon.
WORTH_REMEMBERING = 10
NO_BUFFERS: Mapping[str, bytes] = MappingProxyType({})
_ANY_MODEL = Model("")


class Session:
    """A project that is checked as often as asked; leaving the `with` block ends its workers.

    Args:
        config: The settings of every check.
        root: The folder that the configuration's paths are relative to.
        workers: Those that trace, if they outlive this session; by default, ones of its own.
        memory: What is known from earlier runs, and is to be known to later ones.
        rules: Those to choose from; by default those of every installed pack.
    """

    def __init__(
        self,
        config: Config,
        root: Path,
        *,
        workers: Workers | None = None,
        memory: Memory | None = None,
        rules: Sequence[Rule] | None = None,
    ) -> None:
        self.config = config
        self.root = root
        self.memory = memory
        self._lent_workers = workers
        self._given_rules = rules

    @classmethod
    def of(cls, folder: Path) -> Session:
        """Open the project that a folder belongs to, as its configuration sets it up.

        Raises:
            UsageError: The configuration is wrong.
        """
        return cls(*read_config(folder))

    @classmethod
    def remembering(cls, config: Config, root: Path, workers: Workers | None = None) -> Session:
        """Open a session with the project's memory, unless the configuration turns that off."""
        if not config.cache:
            return cls(config, root, workers=workers)
        from archcheck.engine.cache.answers import Memory

        return cls(config, root, workers=workers, memory=Memory(root))

    def reconfigured(self, config: Config, root: Path) -> Session:
        """Return a session with other settings, which shares the workers and the memory."""
        workers, memory = self.workers, self.memory
        return Session(config, root, workers=workers, memory=memory, rules=self._given_rules)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers that are its own, and leave the memory in order."""
        self.end_workers()
        if self.memory is not None:
            self.memory.close()

    def end_workers(self) -> None:
        """End the workers that are its own; they start again when they are needed."""
        if self._lent_workers is None and "workers" in self.__dict__:
            self.workers.close()

    # What every check needs -------------------------------------------------------------------

    @cached_property
    def workers(self) -> Workers:
        """Those that trace; a process starts when there is something to trace."""
        if self._lent_workers is not None:
            return self._lent_workers
        from archcheck.worker.process.client import Workers

        return Workers()

    @cached_property
    def rules(self) -> Sequence[Rule]:
        return load_rules() if self._given_rules is None else self._given_rules

    @cached_property
    def selection(self) -> Selection:
        """The rules that the configuration selects.

        Raises:
            UsageError: A code is not known.
        """
        from archcheck.engine.selection import Selection

        return Selection.of(self.rules, self.config)

    def baseline(self, *, may_be_absent: bool = False) -> Baseline | None:
        """Read the findings that are let stand, if the configuration names any.

        Raises:
            UsageError: The file is not there, or no baseline.
        """
        if self.config.baseline is None:
            return None
        from archcheck.engine.baseline import Baseline

        return Baseline.read(self.root / self.config.baseline, may_be_absent=may_be_absent)

    def lock(self) -> Lock | None:
        """Read what the models were when they were locked, if a rule compares them with that.

        Raises:
            UsageError: The lock file cannot be used.
        """
        from archcheck.engine.lock import held_against

        return held_against(self.root, self.selection)

    def plan(
        self, targets: Sequence[str] | None, asked: Model, buffers: Iterable[str] = ()
    ) -> Plan:
        """Find out which files and models a call means; see `Plan.of`.

        Raises:
            UsageError: There is nothing to check.
        """
        from archcheck.engine.targets import Plan

        places = tuple(map(Path, buffers))
        return Plan.of(targets, self.config, asked, root=self.root, buffers=places)

    # What is asked ----------------------------------------------------------------------------

    def check(
        self,
        targets: Sequence[str] | None,
        asked: Model = _ANY_MODEL,
        *,
        buffers: Mapping[str, bytes] = NO_BUFFERS,
        fixing: FixOptions | None = None,
        new_baseline: bool = False,
    ) -> Report:
        """Check targets of all forms; without any, what the configuration names.

        Args:
            asked: What is asked of each model that is named.
            buffers: Files whose text is not (yet) on the disk, by path: they are checked too.
            fixing: What to do with fixes, if they are to be applied.
            new_baseline: A baseline that is not there is an empty one.

        Raises:
            UsageError: The settings are wrong.
        """
        from archcheck.engine.reporting import plan_report

        selection = self.selection
        plan = self.plan(targets, asked, buffers)
        errors = list(plan.usage_errors)
        self._begin()
        lock = _unless_wrong(self.lock, errors) if plan.models else None
        baseline = _unless_wrong(partial(self.baseline, may_be_absent=new_baseline), errors)
        checker = self.checker(
            plan.files, plan.models, lock=lock, folders=plan.folders, targets=targets
        )
        result = checker.examine(selection, buffers)
        fixes: Mapping[Finding, Fix | None] = {}
        repairs: Repairs | None = None
        if any(finding.fix for finding in result.findings):
            # What only the tools of fixing import, a check without fixes need not wait for.
            from archcheck.engine.fix.trial import FixTrial

            trial = FixTrial.of(checker, result, self.rules, baseline)
            if fixing is not None:
                trial, repairs = trial.applied(fixing)
            fixes, result = trial.fixes(), trial.result.selected(selection)
        checked = plan_report(plan, result, fixes, errors, lock, baseline)
        if fixing is None:
            return checked
        return replace(checked, repairs=repairs or Repairs(written=fixing.write))

    def check_trace(self, trace: Trace, with_symbols: Callable[[], Trace] | None = None) -> Report:
        """Check a model that was traced elsewhere, and the source of the classes that it uses.

        Args:
            with_symbols: Traces it again with its sizes as functions of the input's, for rules
                that need them to be sure.
        """
        from archcheck.engine.checker import TargetResult
        from archcheck.engine.reporting import report

        places = (module.defined.path for module in trace.modules if module.defined is not None)
        files = [Path(place) for place in dict.fromkeys(places) if Path(place).is_file()]
        seen = self.look(files)
        of_model = tuple(_about(trace, one) for one in seen.files if not one.usage_error)
        traced = TargetResult.of(trace, seen.project, self.selection)
        if traced.needs_symbols and with_symbols is not None:
            told = TargetResult.of(with_symbols(), seen.project, self.selection)
            traced = traced.with_symbols(told)
        return report(replace(seen, files=of_model, targets=(traced,)))

    def look(
        self,
        files: Sequence[Path],
        models: Sequence[tuple[Target, Model]] = (),
        *,
        buffers: Mapping[str, bytes] = NO_BUFFERS,
        parse: Parse | None = None,
    ) -> CheckResult:
        """Look at files and models, and return what was seen before it becomes a report.

        What is wrong with the lock file is for `check` to say.

        Args:
            parse: What parses the files, if it remembers what it parsed.
        """
        lock = None
        with suppress(UsageError):
            lock = self.lock() if models else None
        checker = self.checker(files, models, lock=lock, parse=parse)
        return checker.examine(self.selection, buffers)

    def trace(self, model: Model) -> CheckResult:
        """Trace one model and look at it; its trace shows something.

        Raises:
            UsageError: The target names no model, or cannot be served.
            WorkerDefect: archcheck failed on it.
        """
        target = parse_target(model.target)
        if target is None:
            name = model.target
            raise UsageError(f"`{name}` names no model: write `{name}:Name`, with the model's name")
        result = self.look((), [(target, model)])
        result.targets[0].require_trace()
        return result

    def answer(
        self, question: Sequence[object], find: Callable[[], tuple[tuple[object, ...], bool]]
    ) -> tuple[Any, ...]:
        """Return what was answered to the same question, if all that it came of is as it was.

        Args:
            question: Data whose `repr` tells all of it.
            find: Finds the answer, which is plain data, and whether it may be kept.
        """
        if self.memory is None:
            return find()[0]
        key = self.memory.key("answer", *question)
        known = self.memory.recall(key)
        if known is not None:
            answer: tuple[Any, ...] = known[0]
            return answer
        answer, may_be_kept = find()
        if may_be_kept:
            self.memory.keep(key, answer, self.memory.notes.dependencies())
        return answer

    # How it is done ---------------------------------------------------------------------------

    def checker(
        self,
        files: Sequence[Path],
        models: Sequence[tuple[Target, Model]],
        *,
        lock: Lock | None = None,
        folders: Sequence[str] = (),
        targets: Sequence[str] | None = None,
        parse: Parse | None = None,
    ) -> Checker:
        """Return what looks at these files and models, as often as it is asked to.

        Args:
            folders: Where absolute imports may start too.
            targets: The call that named them; what is remembered of files is kept by it.
        """
        from archcheck.engine.checker import Checker
        from archcheck.engine.run_rules import Reader, read_files
        from archcheck.python.syntax.parse import parse as parse_anew

        config = replace(self.config, source_roots=(*self.config.source_roots, *folders))
        tracers: Tracers = self.workers
        read: Reader = read_files
        if self.memory is not None and models:
            from archcheck.engine.cache.traces import RememberedTraces

            tracers = RememberedTraces(self.workers, self.memory)
        if self.memory is not None and len(files) >= WORTH_REMEMBERING:
            from archcheck.engine.cache.source_results import RememberedFiles

            read = RememberedFiles(self.memory, targets or config.paths).read
        notes = None if self.memory is None else self.memory.notes
        return Checker(
            files, models, config, tracers, self.root, lock, notes, parse or parse_anew, read
        )

    def _begin(self) -> None:
        """Have the memory look at the world anew."""
        if self.memory is None:
            return
        from archcheck.engine.lock import LOCK_NAME

        self.memory.begin()
        for name in (LOCK_NAME, self.config.baseline):
            if name is not None:
                self.memory.notes.add("content", str(self.root / name))


def _about(trace: Trace, result: FileResult) -> FileResult:
    """The findings of a file that are about classes of a model, not about their neighbours."""
    defined = [module.defined for module in trace.modules if module.defined is not None]
    found = (one for one in result.found if any(d.covers(one.finding.location) for d in defined))
    return replace(result, found=tuple(found))


def _unless_wrong(read: Callable[[], T], errors: list[str]) -> T | None:
    """Read a file of the project's; where something is wrong with it, the check goes on without."""
    try:
        return read()
    except UsageError as error:
        errors.append(str(error))
        return None
