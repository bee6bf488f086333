"""The worker process: imports torch, then traces one target after the other.

Its standard input and output are taken over before anything else happens: requests and results
pass through private copies, the model's code finds an empty input, and what it prints goes to
standard error, which the parent keeps apart.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import queue
import sys
import threading
import traceback
from typing import BinaryIO, Literal

from archcheck.core.target import TraceRequest, UsageError
from archcheck.worker.process.limits import end_own_tree
from archcheck.worker.process.wire import mark, receive, send_evidence

# How often a target's code may fork: enough to start a few helpers, too little for a fork bomb.
_FORKS = 32


class Channel:
    """The worker's end of the pipes, which no forked child may use."""

    def __init__(self) -> None:
        self.requests: BinaryIO = os.fdopen(os.dup(0), "rb")
        self._results: BinaryIO = os.fdopen(os.dup(1), "wb")
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        self._owner = os.getpid()
        self.request = -1

    def say(
        self, kind: Literal["ready", "stage", "trace", "usage", "defect"], content: object = None
    ) -> None:
        """Send a message about the current request; a forked child ends here."""
        if os.getpid() != self._owner:
            os._exit(0)
        send_evidence(self._results, (kind, self.request, content))

    def stage(self, name: str, path: str | None) -> None:
        self.say("stage", (name, path))

    def finish(self, kind: Literal["trace", "usage", "defect"], content: object) -> None:
        """Send an answer, after all that was printed before it."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                # The model's code closed or replaced it.
                continue
        if os.getpid() == self._owner:
            with contextlib.suppress(OSError):
                os.write(2, mark(self.request))
        self.say(kind, content)


class ForkGuard:
    """Lets a target's code fork a few times; its children not at all."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._forks = 0
        sys.addaudithook(self._watch)

    def reset(self) -> None:
        self._forks = 0

    def _watch(self, event: str, _arguments: tuple[object, ...]) -> None:
        if event not in ("os.fork", "os.forkpty"):
            return
        self._forks += 1
        if self._forks > _FORKS or os.getpid() != self._owner:
            raise RuntimeError("the code forks without end")


def main() -> None:
    """Serve requests until the parent closes its end."""
    channel = Channel()
    faulthandler.enable(file=2, all_threads=False)
    requests: queue.SimpleQueue[tuple[int, TraceRequest] | None] = queue.SimpleQueue()
    threading.Thread(target=_fetch, args=(channel, requests), daemon=True).start()
    # A fifth of the time that the import takes goes into looking for circles in what stays anyway.
    gc.disable()
    try:
        import torch  # noqa: F401
    except Exception as error:
        _answer_all(channel, requests, "usage", _without_torch(error))
        return
    try:
        from archcheck.worker.process.serve import RequestHandler

        session = RequestHandler(channel.stage)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "archcheck":
            _answer_all(channel, requests, "defect", traceback.format_exc())
        else:
            _answer_all(channel, requests, "usage", _lacking(error.name))
        return
    except Exception:
        _answer_all(channel, requests, "defect", traceback.format_exc())
        return
    gc.freeze()
    gc.enable()
    # Nothing is to be written beside the user's files.
    sys.dont_write_bytecode = True
    guard = ForkGuard()
    channel.say("ready")
    while (item := requests.get()) is not None:
        channel.request, request = item
        guard.reset()
        faulthandler.dump_traceback_later(request.timeout, file=2)
        try:
            channel.finish("trace", session.serve(request))
        except UsageError as error:
            channel.finish("usage", str(error))
        except Exception:
            channel.finish("defect", traceback.format_exc())
        finally:
            faulthandler.cancel_dump_traceback_later()
    os._exit(0)


def _fetch(channel: Channel, requests: queue.SimpleQueue[tuple[int, TraceRequest] | None]) -> None:
    """Read requests as they come. Without a parent there is nothing left to do."""
    while True:
        try:
            item = receive(channel.requests)
        except Exception:
            # The parent is gone, or says what cannot be understood.
            item = None
        if item is None:
            end_own_tree()
        requests.put(item)


def _lacking(package: str) -> str:
    return f"{package} is not installed for {sys.executable}: pip install 'archcheck-torch[trace]'"


def _without_torch(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name == "torch":
        return _lacking("torch")
    reason = " ".join(str(error).split())
    return f"torch cannot be imported by {sys.executable}: {type(error).__name__}: {reason}"


def _answer_all(
    channel: Channel,
    requests: queue.SimpleQueue[tuple[int, TraceRequest] | None],
    kind: Literal["usage", "defect"],
    text: str,
) -> None:
    while (item := requests.get()) is not None:
        channel.request = item[0]
        channel.finish(kind, text)
