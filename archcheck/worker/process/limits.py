"""Memory and processes: how much is free, how much one takes, and how to end a tree of them."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import psutil

_PROC = Path("/proc")


def free_memory() -> int:
    """Return the bytes that a process can still take: what is free here, or in its container."""
    left = _left_in_group()
    free = int(psutil.virtual_memory().available)
    return free if left is None else min(free, left)


def _left_in_group() -> int | None:
    """What a container's limit leaves."""
    group = Path("/sys/fs/cgroup")
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):
            return max(0, int((group / limit).read_text()) - int((group / used).read_text()))
    return None


def resident_memory(process: int) -> int | None:
    """Return the bytes of memory that a process holds; None where it ended, or is not ours."""
    try:
        return int(psutil.Process(process).memory_info().rss)
    except psutil.Error:
        return None


@contextlib.contextmanager
def data_limit(amount: int) -> Iterator[None]:
    """Let this process take this many more bytes, so that an allocation beyond them fails.

    Private writable memory is what is limited: torch maps far more address space than it uses.
    Does nothing on systems without such a limit; there the parent alone watches.
    """
    if sys.platform != "linux":
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    taken = _private_writable()
    if taken is None:
        yield
        return
    wanted = taken + amount
    if before[1] != resource.RLIM_INFINITY:
        wanted = min(wanted, before[1])
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _private_writable() -> int | None:
    try:
        for line in (_PROC / "self/status").read_text().splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def descendants(process: int) -> list[int]:
    """Return the process's children, theirs, and so on."""
    try:
        return [child.pid for child in psutil.Process(process).children(recursive=True)]
    except psutil.Error:
        return []


def holders(pipe: int) -> list[int]:
    """The other processes of this user that hold an end of a pipe open.

    What detached itself from its parents and from its process group still writes where it did.

    Args:
        pipe: A file descriptor of this process.
    """
    if not _PROC.is_dir():
        return []
    name = f"pipe:[{os.fstat(pipe).st_ino}]"
    found: list[int] = []
    for entry in os.listdir(_PROC):
        if not entry.isdecimal() or int(entry) == os.getpid():
            continue
        try:
            folder = _PROC / entry / "fd"
            if any(os.readlink(folder / number) == name for number in os.listdir(folder)):
                found.append(int(entry))
        except OSError:
            # It ended meanwhile, or belongs to somebody else.
            continue
    return found


def end_tree(process: int, *, alive: bool) -> None:
    """Kill a process group, its leader first (if it is alive), and whatever descends from that."""
    if sys.platform == "win32":
        import subprocess

        subprocess.run(
            ["taskkill", "/F", "/T", "/PID", str(process)], capture_output=True, check=False
        )
        return
    escaped: list[int] = []
    if alive:
        # A stopped process starts no further children while they are being counted.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGSTOP)
        escaped = descendants(process)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)
    for child in escaped:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(child, signal.SIGKILL)


def end_own_tree() -> NoReturn:
    """End this process and all that it started."""
    if sys.platform != "win32":
        for child in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        if os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(0)
