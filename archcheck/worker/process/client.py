"""The parent's side of tracing: starts workers, feeds them, and survives what they run.

Nothing here imports torch. A worker that hangs, dies or takes too much memory is killed with
everything that it started, and its model gets a `Failure` that says what happened.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeAlias

from archcheck.core.target import TraceRequest, UsageError

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace
    from archcheck.worker.process.wire import Message
    from archcheck.worker.process.worker_process import WorkerProcess

Outcome: TypeAlias = "Trace | UsageError"

# Importing torch takes a second; on a cold network disk, a minute.
_START_LIMIT = 180.0
# How often a running worker's memory is looked at.
_GLANCE = 0.05
# Between a worker's own account of where it hangs, and its end.
_GRACE = 0.5
# A worker that has grown by this much is replaced after its target.
_GROWN = 2 << 30
# What raises these is in the target's own code, not in what an earlier target left behind.
_BY_ITSELF = frozenset(
    (
        *("EOFError", "FileNotFoundError", "MissingImport", "ModuleNotFoundError", "NameError"),
        *("PermissionError", "RecursionError", "SyntaxError", "SystemExit", "UnicodeDecodeError"),
        *("ZeroDivisionError",),
    )
)


class WorkerDefect(Exception):
    """archcheck itself failed in a worker; the text is the traceback."""


class Cancelled(Exception):
    """Nobody wants the answers any more."""


class Tracers(Protocol):
    """Whoever answers requests; see `Workers`."""

    def start(self, requests: Iterable[TraceRequest]) -> None:
        """Begin with these requests, and return at once."""

    def results(self) -> Iterator[Outcome]:
        """What became of each of them, in order."""


class Workers:
    """Traces models in worker processes; leaving the `with` block ends them all.

    Targets share one worker, one after the other; it is replaced when it dies.
    """

    def __init__(self) -> None:
        self._requests: Sequence[TraceRequest] = ()
        self._answered = 0
        self._process: WorkerProcess | None = None
        self._sent = -1
        self._refused: dict[int, UsageError] = {}
        self._cancelled = False

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def process(self) -> WorkerProcess | None:
        """The worker that serves now, if one was started and has not ended."""
        return self._process

    def warm(self) -> None:
        """Let a worker import torch, before there is anything to trace."""
        if self._process is None:
            self._process = new_process()

    def cancel(self) -> None:
        """End what runs, from another thread: who starts it or waits for it gets `Cancelled`."""
        self._cancelled = True
        process = self._process
        if process is not None:
            process.end()

    def start(self, requests: Iterable[TraceRequest]) -> None:
        """Let a worker begin with the first of these requests, and return at once.

        Further requests may follow when those before have been answered.

        Raises:
            Cancelled: `cancel` was called.
        """
        if self._cancelled:
            self._give_up()
        # Numbers go on, so that no answer is taken for that of an earlier request.
        first = len(self._requests)
        self._requests = (*self._requests, *requests)
        if len(self._requests) > first:
            if self._process is None:
                self._process = new_process()
            self._send(first)

    def results(self) -> Iterator[Outcome]:
        """What became of each request, in order: its trace, or why it cannot be served.

        Of those that were started since the last answer.

        Raises:
            WorkerDefect: archcheck itself failed.
            Cancelled: `cancel` was called.
        """
        for number in range(self._answered, len(self._requests)):
            request, self._answered = self._requests[number], number + 1
            if self._sent < number:
                self._send(number)
            outcome = self._refused.pop(number, None) or self._await(number, request)
            if not isinstance(outcome, UsageError) and self._is_suspicious(outcome):
                # What an earlier target left behind in the worker could be the reason.
                self._replace()
                self._sent = -1
                self._send(number)
                outcome = self._await(number, request)
            if number + 1 < len(self._requests):
                self._send(number + 1)
            yield outcome

    def close(self) -> None:
        """End the worker and everything that it started."""
        process, self._process = self._process, None
        if process is not None:
            process.end()

    def _give_up(self) -> NoReturn:
        """Forget about all that was asked; what is asked next is served again."""
        self.close()
        self._cancelled, self._answered = False, len(self._requests)
        raise Cancelled

    def _send(self, number: int) -> None:
        """Hand a request over, unless it is plain from the text that it asks for nothing."""
        # Reads source, whose imports are not to come before the worker's start.
        from archcheck.worker.check_target import check_request

        request = self._requests[number]
        self._sent = number
        try:
            check_request(request)
        except UsageError as error:
            self._refused[number] = error
            return
        if self._process is None or not self._process.send(number, request):
            self._replace()
            assert self._process is not None
            self._process.send(number, request)

    def _replace(self) -> None:
        self.close()
        self._process = new_process()

    def _is_suspicious(self, trace: Trace) -> bool:
        served = self._process.served if self._process is not None else 1
        return served > 1 and any(
            failure.stage in ("import", "construct")
            and failure.missing is None
            and failure.error not in _BY_ITSELF
            for failure in trace.failures
        )

    def _await(self, number: int, request: TraceRequest) -> Outcome:
        process = self._process
        assert process is not None
        from archcheck.worker.process.limits import free_memory

        limit = request.memory_limit or int(free_memory() * 0.8)
        while True:
            message = process.next_message(_GLANCE)
            if self._cancelled:
                self._give_up()
            if message is None:
                reason = self._overstepped(process, number, request, limit)
                if reason is not None or not process.is_alive:
                    # What it had to say may still be on its way.
                    message = process.next_message(_GLANCE) if reason is None else None
                    if message is None:
                        return self._bury(process, request, number, reason)
                else:
                    continue
            if message.kind == "defect" and message.request < 0:
                raise WorkerDefect(str(message.content))
            if message.request == number and message.kind in ("trace", "usage", "defect"):
                return self._read(process, request, message)

    def _read(self, process: WorkerProcess, request: TraceRequest, message: Message) -> Outcome:
        from archcheck.evidence.trace import Trace

        printed = process.printed(message.request)
        process.served += 1
        if process.growth > _GROWN:
            self._replace()
        if message.kind == "usage":
            return UsageError(str(message.content))
        if message.kind == "defect" or not isinstance(message.content, Trace):
            # The model goes unseen; those after it are traced all the same.
            defect = f"{request.target.text}: {message.content}"
            return Trace(request.target.text, "", request.mode, defects=(defect,))
        return replace(message.content, printed=printed)

    def _overstepped(
        self, process: WorkerProcess, number: int, request: TraceRequest, limit: int
    ) -> str | None:
        """Which limit the worker has passed: `time`, `memory`, `start`, or none."""
        now = time.monotonic()
        begun = process.begun(number)
        if begun is None:
            # It imports torch, or has only to begin.
            return "start" if process.silent_for > _START_LIMIT else None
        if now - begun > request.timeout + _GRACE:
            return "time"
        return "memory" if process.growth > limit else None

    def _bury(
        self, process: WorkerProcess, request: TraceRequest, number: int, reason: str | None
    ) -> Outcome:
        """End a worker, and say what became of the target that it was at."""
        from archcheck.worker.process.crash_report import crash_report

        self._process = None
        process.end()
        if process.begun(number) is None:
            return UsageError(
                "the worker process that imports torch did not start: "
                + (process.last_words() or f"nothing happened for {_START_LIMIT:.0f} s")
            )
        return crash_report(request, process.remains(number), reason)


def trace(requests: Iterable[TraceRequest]) -> Iterator[Trace]:
    """Trace models one after the other.

    Raises:
        UsageError: A request asks for something that isn't there.
        WorkerDefect: archcheck itself failed.
    """
    with Workers() as workers:
        workers.start(requests)
        for outcome in workers.results():
            if isinstance(outcome, UsageError):
                raise outcome
            if outcome.shows_nothing:
                raise WorkerDefect("\n".join(outcome.defects))
            yield outcome


def new_process() -> WorkerProcess:
    """Start a worker."""
    # Imported only now: a check that traces nothing starts no process.
    from archcheck.worker.process.worker_process import WorkerProcess

    return WorkerProcess()
