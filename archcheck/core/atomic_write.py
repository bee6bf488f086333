"""Files are written whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from archcheck.core.target import UsageError


def replace_file(
    place: Path, data: bytes, *, prefix: str | None = None, durable: bool = True
) -> None:
    """Put bytes in the place of a file's in one step; its owner and permissions stay.

    Args:
        durable: Wait until the bytes are on the disk; what can be made again need not wait.
        prefix: What the half-written file is called by, for those who clear such files away.

    Raises:
        OSError: It cannot be written. It is as it was.
    """
    handle, temporary = tempfile.mkstemp(prefix=prefix or f".{place.name}.", dir=place.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        _copy_status(place, temporary)
        os.replace(temporary, place)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def write_whole(path: Path, data: bytes) -> None:
    """Put bytes into a file in one step; a link to it stays.

    Raises:
        UsageError: It cannot be written. It is as it was.
    """
    try:
        replace_file(Path(os.path.realpath(path)), data)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"{path} cannot be written ({reason})") from None


def _copy_status(place: Path, temporary: str) -> None:
    """Give a new file the owner and the permissions of the one whose place it takes."""
    try:
        status = place.stat()
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        return
    if hasattr(os, "chown"):
        made = os.stat(temporary)
        if (made.st_uid, made.st_gid) != (status.st_uid, status.st_gid):
            # Whoever may write a file may not always give it away.
            with contextlib.suppress(OSError):
                os.chown(temporary, status.st_uid, status.st_gid)
    os.chmod(temporary, stat.S_IMODE(status.st_mode))
