"""Models that are traced for the editor, with the worker of the command, which is kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from archcheck.core.config import Config, Model, read_config
from archcheck.core.target import Target, UsageError, parse_target
from archcheck.engine.annotate.annotation import annotate
from archcheck.engine.checker import CheckResult, TargetResult
from archcheck.engine.session import Session
from archcheck.engine.targets import Plan
from archcheck.evidence.target_summary import TargetReport
from archcheck.frontends.lsp.documents import OpenDocument
from archcheck.python import Project
from archcheck.worker.process.client import Cancelled, Workers

T = TypeVar("T")

# How deep shapes are shown: all forwards of the user's own, wherever they are.
_DEPTH = 100


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the traced text, and the shapes of what it bound: `x: [8, 64]`."""

    path: str
    line: int
    text: str


@dataclass(frozen=True)
class Traced:
    """What tracing one model showed, in positions of the code that was traced.

    Attributes:
        files: The paths of the files that it was made from.
    """

    model: Model
    result: TargetResult
    report: TargetReport
    project: Project
    rows: tuple[Row, ...]
    files: frozenset[str]

    @property
    def target(self) -> str:
        return self.model.target


class Tracer:
    """Traces one model after the other, in a thread of its own, with one worker."""

    def __init__(self) -> None:
        self._workers = Workers()
        self._thread = ThreadPoolExecutor(1)
        self._is_closed = False

    def warm(self) -> None:
        """Let a worker import torch, before there is anything to trace."""
        self._thread.submit(self._workers.warm)

    def submit(self, work: Callable[[Workers], T]) -> Future[T]:
        """Do some work when that before it is done."""
        return self._thread.submit(self._do, work)

    def cancel(self, work: Future[T]) -> None:
        """Forget about some work; a model that it is tracing ends at once."""
        if not work.cancel() and work.running():
            self._workers.cancel()

    def close(self) -> None:
        """End the worker, and whatever it does."""
        self._is_closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._workers.cancel()

    def _do(self, work: Callable[[Workers], T]) -> T:
        try:
            return work(self._workers)
        except Cancelled:
            if not self._is_closed:
                # The next one finds torch imported.
                self._workers.warm()
            raise


def configured_models(path: str) -> tuple[Model, ...]:
    """The models that the configuration of a file names, as seen from the working directory.

    Raises:
        UsageError: The configuration is wrong.
    """
    config, root = read_config(Path(os.path.abspath(path)).parent)
    if not config.models or not config.trace:
        return ()
    plan = Plan.of(None, replace(config, paths=()), Model(""), root=root)
    return tuple(model for _, model in plan.models)


def place_of(model: Model) -> str:
    """The file of a model's target; empty where it is named by its module."""
    target = parse_target(model.target)
    return target.place if target is not None and target.is_file else ""


def trace(model: Model, documents: Mapping[str, OpenDocument], workers: Workers) -> Traced:
    """Trace a model as it is in the editor, saved or not.

    Raises:
        UsageError: The target or the configuration is wrong.
        WorkerDefect: archcheck failed on it.
        Cancelled: Nobody wants it any more.
    """
    target = parse_target(model.target)
    assert target is not None, "a model's target has a name"
    config, root = read_config(Path(os.path.abspath(place_of(model) or ".")).parent)
    if not config.trace:
        raise UsageError(f"{model.target} is not traced: the configuration turns tracing off")
    unsaved = {one.path: one.data for one in documents.values() if not one.is_saved}
    with _session(config, root, workers, unsaved) as session:
        examined = session.look(_files(target), [(target, model)], buffers=unsaved)
    result = examined.targets[0]
    found = result.require_trace()
    return Traced(
        model,
        result,
        TargetReport(found),
        examined.project,
        tuple(_rows(examined)),
        frozenset((*found.files, found.path)),
    )


def _session(config: Config, root: Path, workers: Workers, unsaved: Mapping[str, bytes]) -> Session:
    """Return a session that remembers a project's traces; texts that aren't saved are passing."""
    if unsaved or not (root / "pyproject.toml").is_file():
        return Session(config, root, workers=workers)
    return Session.remembering(config, root, workers)


def _files(target: Target) -> list[Path]:
    return [Path(target.place)] if target.is_file else []


def _rows(examined: CheckResult) -> Iterator[Row]:
    (found,) = examined.traces
    annotation = annotate(found, examined.project, examined.findings, _DEPTH)
    for method in annotation.methods:
        place = method.location
        document = examined.project.file(place.path).document
        for line in method.lines:
            if line.bound:
                text = ", ".join(bound.text for bound in line.bound)
                yield Row(place.path, document.code_line(line.number, place.cell), text)
