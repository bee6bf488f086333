"""What became of a worker that died or was ended: told as a `Trace` with one `Failure`."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, cast

from archcheck.core.finding import Location
from archcheck.core.target import Target, TraceRequest, UsageError
from archcheck.evidence.records import Failure, Frame
from archcheck.evidence.trace import Trace
from archcheck.python.documents.read import read_document
from archcheck.python.text.document import DocumentError
from archcheck.worker.process.wire import Stage
from archcheck.worker.process.worker_process import WorkerExit
from archcheck.worker.sandbox.user_paths import is_users, shown
from archcheck.worker.slicing.module_source import read_source

_DOING = {"import": "loading", "construct": "building", "forward": "tracing"}
# The heads that Python's faulthandler writes.
_DUMP = re.compile(
    r"^(?:Timeout \([\d:.]+\)!|Fatal Python error: .*|Windows fatal exception: .*)$", re.MULTILINE
)
_THREAD = re.compile(
    r"^(?:Current thread|Thread|Stack) .*\(most recent call first\):$", re.MULTILINE
)
_FRAME = re.compile(
    r'^  File "(?P<path>.+)", line (?P<line>\d+) in (?P<function>.+)$', re.MULTILINE
)


def crash_report(request: TraceRequest, remains: WorkerExit, reason: str | None) -> Trace:
    """The trace of a target whose worker is gone.

    Args:
        reason: The limit that it had passed, `time` or `memory`; None if it died by itself.
    """
    printed, dump = _without_dump(remains.printed)
    frames = tuple(_frames(dump))
    stage = cast(Stage, remains.stage)
    doing = f"{_DOING[stage]} {request.target.name}"
    kind: Literal["import", "construct", "input", "forward", "limit"] = stage
    if reason == "time":
        kind, error = "limit", "TimeoutError"
        message = f"{doing} took longer than {request.timeout:g} s"
    elif reason == "memory":
        kind, error = "limit", "MemoryError"
        message = f"{doing} took more memory than it was allowed"
    else:
        error = "SystemExit" if (remains.exit_code or 0) >= 0 else "Crash"
        message = f"{doing} {_end(remains.exit_code)}"
    path = remains.path or (request.target.place if request.target.is_file else "")
    failure = Failure(
        stage=kind,
        error=error,
        message=message,
        location=frames[-1].location if frames else _definition(request.target, request.buffers),
        frames=frames,
    )
    return Trace(
        target=request.target.text,
        path=shown(path, Path.cwd()) if path else request.target.place,
        mode=request.mode,
        failures=(failure,),
        printed=printed,
    )


def _definition(target: Target, buffers: Mapping[str, bytes]) -> Location | None:
    """Where the target is defined: the place to look at when it is not known where it was."""
    if not target.is_file:
        return None
    try:
        source = read_source(Path(target.place), buffers)
    except UsageError:
        return None
    units = source.units.binders.get(target.name.partition(".")[0], [])
    return _place(str(source.path), units[-1].node.lineno) if units else None


def _end(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"ended the whole process, with exit code {exit_code or 0}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    known = {
        "SIGSEGV": "crashed the interpreter: segmentation fault",
        "SIGABRT": "crashed the interpreter: aborted",
        "SIGBUS": "crashed the interpreter: bus error",
        "SIGILL": "crashed the interpreter: illegal instruction",
        "SIGFPE": "crashed the interpreter: arithmetic fault",
        "SIGKILL": "was killed, most likely because the system ran out of memory",
    }
    return known.get(name, f"was ended by {name}")


def _without_dump(printed: str) -> tuple[str, str]:
    """What the model printed, and what Python wrote about where it was at its end."""
    heads = list(_DUMP.finditer(printed))
    if not heads:
        return printed, ""
    start = heads[-1].start()
    return printed[:start], printed[start:]


def _frames(dump: str) -> Iterator[Frame]:
    """The frames of the user's code in the thread that ran it, outermost first."""
    for thread in reversed(_THREAD.split(dump)):
        found = [match for match in _FRAME.finditer(thread) if is_users(match["path"])]
        if found:
            for match in reversed(found):
                place = _place(match["path"], int(match["line"]))
                yield Frame(place, match["function"])
            return


def _place(path: str, line: int) -> Location:
    """The text of a line, as a span."""
    name = shown(path, Path.cwd())
    try:
        text = read_document(Path(path)).lines[line - 1]
    except (DocumentError, IndexError):
        return Location(name, line)
    stripped = text.strip()
    start = text.find(stripped) + 1
    return Location(name, line, start, line, start + len(stripped))
