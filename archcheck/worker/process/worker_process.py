"""One worker process, seen from the parent: its pipes, its clock, its memory, its end."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from archcheck.core.target import TraceRequest
from archcheck.worker.process.limits import end_tree, holders, resident_memory
from archcheck.worker.process.wire import Message, mark, receive_evidence, send

# How much of what a model prints is kept: its last words matter most.
_KEPT = 64 * 1024
_MARK_WAIT = 1.0


@dataclass(frozen=True, slots=True)
class WorkerExit:
    """What a worker left behind: how it ended, what it was at, and what it printed."""

    exit_code: int | None
    stage: str
    path: str | None
    printed: str


class WorkerProcess:
    """A running `archcheck.worker.process.main`, in a session of its own.

    Its standard input carries the requests, its standard output the results; both are moved out
    of the model's reach before any of its code runs. What the model prints goes to its standard
    error, and is kept apart.
    """

    def __init__(self) -> None:
        self.born = time.monotonic()
        self.served = 0
        self._last_heard = self.born
        self._stages: dict[int, tuple[float, str, str | None]] = {}
        self._first_begun: dict[int, float] = {}
        self._baseline: int | None = None
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._printed = bytearray()
        self._more_printed = threading.Condition()
        folder = str(Path(__file__).parents[3])
        # The folder that this archcheck lies in may be on the path by accident only: the worker
        # needs it once, and the user's code never. -P keeps the working directory, whose files
        # could hide the standard library's, off the path.
        start = (
            f"import sys; sys.path.insert(0, {folder!r}); import archcheck; del sys.path[0]; "
            "from archcheck.worker.process.main import main; main()"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", start],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._finalizer = weakref.finalize(self, _end, self._process)
        self._listeners = [
            threading.Thread(target=self._listen, daemon=True),
            threading.Thread(target=self._overhear, daemon=True),
        ]
        for listener in self._listeners:
            listener.start()

    @property
    def pid(self) -> int:
        """The number by which the operating system knows it."""
        return self._process.pid

    def send(self, number: int, request: TraceRequest) -> bool:
        """Hand over a request; whether the worker could take it."""
        self._last_heard = time.monotonic()
        try:
            send(cast(BinaryIO, self._process.stdin), (number, request))
        except (OSError, ValueError):
            return False
        return True

    def next_message(self, wait: float) -> Message | None:
        try:
            return self._messages.get(timeout=wait)
        except queue.Empty:
            return None

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    @property
    def silent_for(self) -> float:
        """Seconds since it was last given, or said, anything."""
        return time.monotonic() - self._last_heard

    @property
    def growth(self) -> int:
        """Bytes of memory beyond what it held when its first target began."""
        held = resident_memory(self._process.pid)
        if held is None or self._baseline is None:
            return 0
        return held - self._baseline

    def begun(self, number: int) -> float | None:
        """When the worker began with a request."""
        return self._first_begun.get(number)

    def printed(self, number: int) -> str:
        """All that was printed up to the end of a request, once; waits for what is on its way."""
        end = mark(number)
        with self._more_printed:
            self._more_printed.wait_for(lambda: end in self._printed, _MARK_WAIT)
            before, found, after = bytes(self._printed).partition(end)
            self._printed[:] = after if found else b""
        return before.decode(errors="replace")

    def last_words(self) -> str:
        """The last line that it wrote."""
        with self._more_printed:
            lines = bytes(self._printed).decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def remains(self, number: int) -> WorkerExit:
        """What is known of an ended worker that was at this request."""
        _, stage, path = self._stages.get(number, (0.0, "import", None))
        with self._more_printed:
            printed = bytes(self._printed).decode(errors="replace")
        return WorkerExit(self._process.returncode, stage, path, printed)

    def end(self) -> None:
        """Kill it and all that it started, and wait until its pipes are empty."""
        self._finalizer()
        for listener in self._listeners:
            listener.join(_MARK_WAIT)

    def _listen(self) -> None:
        results = cast(BinaryIO, self._process.stdout)
        while True:
            try:
                message = receive_evidence(results)
            except (pickle.UnpicklingError, OSError, ValueError) as error:
                self._messages.put(Message("defect", -1, str(error)))
                return
            if message is None:
                return
            self._last_heard = time.monotonic()
            if message.kind == "stage":
                self._note(message)
            self._messages.put(message)

    def _note(self, message: Message) -> None:
        now = time.monotonic()
        stage, path = message.content
        self._stages[message.request] = (now, stage, path)
        self._first_begun.setdefault(message.request, now)
        if self._baseline is None:
            self._baseline = resident_memory(self._process.pid)

    def _overhear(self) -> None:
        errors = cast(BinaryIO, self._process.stderr)
        while True:
            try:
                chunk = os.read(errors.fileno(), _KEPT)
            except (OSError, ValueError):
                chunk = b""
            if not chunk:
                return
            with self._more_printed:
                self._printed += chunk
                del self._printed[:-_KEPT]
                self._more_printed.notify_all()


def _end(process: subprocess.Popen[bytes]) -> None:
    end_tree(process.pid, alive=process.poll() is None)
    if process.stderr is not None:
        for escaped in holders(process.stderr.fileno()):
            with contextlib.suppress(OSError):
                os.kill(escaped, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
    if process.stdin is not None:
        # It may have died before it took all that it was sent.
        with contextlib.suppress(OSError):
            process.stdin.close()
    process.wait()
