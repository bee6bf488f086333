"""Traces that are remembered: the others are made, by workers that start only if there are any."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from archcheck.core.target import TraceRequest
from archcheck.engine.cache.answers import Memory
from archcheck.evidence.trace import Trace
from archcheck.worker.process.client import Outcome, Workers


class RememberedTraces:
    """Serves requests as `Workers` does.

    Texts that stand in the place of files, such as those that a fix would leave, are part of the
    question: what is traced with them is never taken for what is on the disk.
    """

    def __init__(self, workers: Workers, memory: Memory) -> None:
        self._workers = workers
        self._memory = memory
        self._asked: list[tuple[str, Trace | None]] = []

    def start(self, requests: Iterable[TraceRequest]) -> None:
        """Begin with what is not remembered."""
        unknown: list[TraceRequest] = []
        self._asked = []
        for request in requests:
            key = self._memory.key("trace", request)
            found = self._memory.recall(key)
            trace = None
            if found is None:
                unknown.append(request)
            else:
                value, dependencies = found
                trace = replace(value, dependencies=dependencies)
            self._asked.append((key, trace))
        self._workers.start(unknown)

    def results(self) -> Iterator[Outcome]:
        """What became of each request, in order."""
        made = self._workers.results()
        for key, trace in self._asked:
            outcome: Outcome = trace if trace is not None else next(made)
            is_whole = isinstance(outcome, Trace) and not outcome.defects
            if isinstance(outcome, Trace) and is_whole and outcome.dependencies is not None:
                self._memory.notes.include(outcome.dependencies)
                if trace is None:
                    self._memory.keep(
                        key, replace(outcome, dependencies=None), outcome.dependencies
                    )
            else:
                self._memory.notes.include_unseen("the reason of a failure")
            yield outcome
