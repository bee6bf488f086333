"""What a worker does with a request: loads the target, settles its input, traces it."""

from __future__ import annotations

import importlib
import linecache
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from torch import nn

from archcheck.core.finding import Location
from archcheck.core.target import TraceRequest, UsageError
from archcheck.evidence.records import Failure
from archcheck.evidence.trace import Trace
from archcheck.tracing.ladder import trace_module
from archcheck.tracing.record.spans import Spans
from archcheck.tracing.recover.errors import describe_error
from archcheck.worker.inputs.choose import Candidate, given_inputs, guessed_inputs, inputs_from
from archcheck.worker.inputs.try_candidates import (
    built_for_trying,
    likeliest_first,
    trace_of_the_best,
)
from archcheck.worker.loader import Loaded, call_function, load_file, load_module
from archcheck.worker.process.limits import data_limit, free_memory
from archcheck.worker.process.wire import Stage
from archcheck.worker.sandbox.dependency_recorder import Watch
from archcheck.worker.sandbox.environment import environment, forget_users_modules
from archcheck.worker.sandbox.placeholders import MissingFinder, MissingImport, Reach
from archcheck.worker.sandbox.pretrained_weights import Weights
from archcheck.worker.sandbox.project_files import Stamp, loaded_files, stamp
from archcheck.worker.sandbox.surroundings import Surroundings
from archcheck.worker.sandbox.unsaved_files import imports_read
from archcheck.worker.sandbox.user_paths import relocated, shown
from archcheck.worker.slicing.find_file import Found, find_target
from archcheck.worker.slicing.sliced_module import forget_sliced, is_sliced

# How often a target is loaded again because code reached for a name that the slice lacks.
_ATTEMPTS = 6


@dataclass(frozen=True, slots=True)
class _Job:
    """A request while it is served."""

    request: TraceRequest
    found: Found
    reach: Reach
    also: frozenset[str]


class RequestHandler:
    """Serves requests one after the other, in one process.

    Args:
        announce: Told when a stage begins, and which file is being loaded.
    """

    def __init__(self, announce: Callable[[Stage, str | None], None]) -> None:
        self._announce = announce
        self._root: str | None = None
        self._buffers: Mapping[str, bytes] = {}
        self._home = Path.cwd()
        self._weights = Weights()
        self._weights.install()
        self._watch = Watch(is_sliced)
        # What the modules that are still loaded were made from.
        self._stamps: dict[str, Stamp] = {}

    def serve(self, request: TraceRequest) -> Trace:
        """Trace a target.

        Raises:
            UsageError: It asks for something that isn't there.
        """
        self._weights.withheld = False
        also: frozenset[str] = frozenset()
        limit = request.memory_limit or int(free_memory() * 0.8)
        with data_limit(limit), self._watch.recorded():
            for _attempt in range(_ATTEMPTS):
                trace, known = self._serve_once(request, also)
                lacking = _names_lacking(trace) & known - also
                if not lacking:
                    break
                also |= lacking
        return trace

    def _serve_once(
        self, request: TraceRequest, also: frozenset[str]
    ) -> tuple[Trace, frozenset[str]]:
        """The trace, and the names that the target's file binds."""
        target = request.target
        self._announce("import", str(self._home / target.place) if target.is_file else None)
        found = find_target(target, self._home, request.buffers)
        moved = self._root not in (None, found.place.root) or self._buffers != request.buffers
        if moved or any(stamp(file) != before for file, before in self._stamps.items()):
            forget_users_modules()
            linecache.checkcache()
        self._root, self._buffers = found.place.root, request.buffers
        argument = str(found.source.path) if found.source is not None else target.place
        with (
            environment(found.place, argument),
            imports_read(request.buffers),
        ):
            try:
                found = found.resolved()
            except UsageError:
                raise
            except BaseException as error:
                # A package around the module cannot be imported.
                failure = describe_error("import", error, Spans(found.user_files))
                trace = Trace(target.text, "", request.mode, failures=(failure,))
                return self._finished(trace, found, request, None), frozenset()
            surroundings = Surroundings(found.user_files)
            reach = Reach(surroundings)
            finder = MissingFinder(reach, surroundings)
            sys.meta_path.append(finder)
            try:
                trace = self._trace(_Job(request, found, reach, also))
            finally:
                finder.forget()
                forget_sliced()
                self._stamps = {file: stamp(file) for file in self._made_from(found)}
        known = frozenset(found.source.units.binders) if found.source is not None else frozenset()
        return trace, known

    def _trace(self, job: _Job) -> Trace:
        request, found = job.request, job.found
        path = str(found.source.path) if found.source is not None else ""
        stage: Literal["import", "forward"] = "import"
        try:
            loaded = self._load(job)
            path = loaded.path
            given = self._input_from(job, loaded)
            stage = "forward"
            trace = self._traced(job, loaded, given)
        except UsageError:
            raise
        except BaseException as error:
            if stage == "forward" and isinstance(error, Exception):
                # The engine answers for what the model raises: this is its own.
                raise
            # SystemExit and the like too: the code that is loaded may do anything.
            failure = describe_error(stage, error, Spans(found.user_files))
            trace = Trace(request.target.text, path, request.mode, failures=(failure,))
        return self._finished(trace, found, request, job.reach)

    def _finished(
        self, trace: Trace, found: Found, request: TraceRequest, reach: Reach | None
    ) -> Trace:
        """The trace with its paths as they are shown, and what it was made from."""
        files = self._made_from(found)
        if trace.path:
            files.add(trace.path)
        trace = replace(
            trace,
            failures=tuple(
                _located(_classified(failure, reach), found) for failure in trace.failures
            ),
            files=tuple(sorted({shown(file, self._home) for file in files})),
        )
        if not trace.defects and not any(f.stage == "limit" for f in trace.failures):
            dependencies = self._watch.dependencies(files, request.buffers)
            trace = replace(trace, dependencies=dependencies)
        return relocated(trace, lambda file: shown(file, self._home))

    def _made_from(self, found: Found) -> set[str]:
        """The files of the project that were read for a target."""
        return loaded_files() | self._watch.opened_below(found.place.root, self._home)

    def _load(self, job: _Job) -> Loaded:
        request, found = job.request, job.found
        if found.source is None:
            module = importlib.import_module(request.target.place)
            return load_module(request.target, str(module.__file__ or ""), vars(module))
        return load_file(
            request.target,
            found.source,
            found.place,
            job.reach,
            whole=request.import_whole,
            also=job.also,
        )

    def _traced(self, job: _Job, loaded: Loaded, given: Candidate | None) -> Trace:
        request = job.request

        def build() -> nn.Module:
            self._announce("construct", loaded.path)
            model = loaded.build()
            self._announce("forward", loaded.path)
            return model

        def traced(candidate: Candidate) -> Trace:
            trace = trace_module(
                build,
                candidate.inputs,
                target=request.target.text,
                path=loaded.path,
                mode=request.mode,
                user_files=job.found.user_files,
                find_sizes=request.find_sizes,
                free=candidate.free,
                training=request.training,
                symbolic=request.symbolic,
                probe=request.probe,
            )
            return replace(trace, inferred_input=candidate.sentence)

        candidates = [given] if given is not None else self._candidates(job, loaded, build)
        trace = trace_of_the_best(candidates, traced)
        return trace if trace is not None else traced(Candidate(()))

    def _candidates(
        self, job: _Job, loaded: Loaded, build: Callable[[], nn.Module]
    ) -> Iterator[Candidate]:
        """The inputs to trace with, the likeliest first."""
        request = job.request
        asked = list(given_inputs(request.inputs)) if request.inputs else []
        if len(asked) == 1:
            yield from asked
            return
        model = built_for_trying(build)
        if model is None:
            return
        model.train(request.mode == "train")
        if asked:
            yield from likeliest_first(model, asked)
            return
        source = loaded.source
        line = source.line_in_code(request.target) if source is not None else None
        place = shown(loaded.path, self._home)
        guesses = guessed_inputs(source, request.target.name, line or 0, model, place)
        yield from likeliest_first(model, guesses)

    def _input_from(self, job: _Job, loaded: Loaded) -> Candidate | None:
        """What the user's own function makes for forward, if they named one."""
        target = job.request.input_from
        if target is None:
            return None
        found = find_target(target, self._home, job.request.buffers).resolved()
        if found.source is None:
            module = importlib.import_module(target.place)
            function = getattr(module, target.name, None)
            if not callable(function):
                raise UsageError(f"--input-from {target.text}: there is no such function")
            result = function()
        else:
            result = call_function(target, found.source, found.place, job.reach)
        return inputs_from(result, loaded.forward, f"the input is that of {target.text}")


def _located(failure: Failure, found: Found) -> Failure:
    """The failure with a place: that of the target's definition, if nothing nearer is known."""
    source = found.source
    if failure.location is not None or source is None:
        return failure
    units = source.units.binders.get(found.target.name.partition(".")[0])
    if not units:
        return failure
    node = units[-1].node
    return replace(failure, location=Location(str(source.path), node.lineno, node.col_offset + 1))


def _names_lacking(trace: Trace) -> frozenset[str]:
    """Names that code reached for in vain."""
    return frozenset(
        failure.missing
        for failure in trace.failures
        if failure.error == "NameError" and failure.missing is not None
    )


def _classified(failure: Failure, reach: Reach | None) -> Failure:
    """The failure under the stage that tells its user most."""
    if failure.error == MissingImport.__name__:
        return replace(failure, stage="import")
    if failure.error in ("ImportError", "ModuleNotFoundError") and failure.missing:
        return replace(failure, stage="import")
    if failure.error == "NameError" and failure.missing and reach and reach.stars:
        missing = reach.stars[-1]
        text = missing.text(failure.missing)
        return replace(failure, stage="import", message=text, missing=missing.package)
    if "Placeholder" in failure.message and reach and failure.location:
        # It was handed to code that cannot say what it is.
        line = linecache.getline(failure.location.path, failure.location.line)
        for name, missing in reach.bound.items():
            if name in line:
                return replace(
                    failure,
                    stage="import",
                    error=MissingImport.__name__,
                    message=missing.text(name),
                    missing=missing.package,
                )
    if failure.error == "MemoryError" or "can't allocate memory" in failure.message:
        return replace(failure, stage="limit")
    return failure
