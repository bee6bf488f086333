"""Bytes of a file, read in pieces that are bounded and counted."""

from __future__ import annotations

import io
import os
import stat
from types import TracebackType

from archcheck.evidence.checkpoint import CheckpointError

LARGEST_PIECE = 256 * 2**20


class ByteSource(io.RawIOBase):
    """A file, or a span of it, that counts what is read of it.

    Raises:
        CheckpointError: It cannot be opened, or is no ordinary file.
    """

    def __init__(self, path: str) -> None:
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise CheckpointError(f"{path} is no ordinary file")
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed in close()
        except OSError as error:
            raise CheckpointError(_cannot_open(path, error)) from None
        self.path = path
        self.size = os.fstat(self._file.fileno()).st_size
        self.bytes_read = 0
        self._position = 0

    def at(self, offset: int, count: int) -> bytes:
        """Return the bytes of a span, fewer where the file ends before."""
        if count > LARGEST_PIECE:
            raise CheckpointError(
                f"{self.path} wants {count:,} bytes of description read at once: no checkpoint "
                "needs that, it is damaged"
            )
        if offset < 0 or count <= 0 or offset >= self.size:
            return b""
        self._file.seek(offset)
        data = _read_all(self._file, count)
        self.bytes_read += len(data)
        return data

    # What zipfile asks of a file.
    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise OSError("a position before the file's beginning")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        left = max(0, self.size - self._position)
        data = self.at(self._position, left if size is None or size < 0 else min(size, left))
        self._position += len(data)
        return data

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    def __enter__(self) -> ByteSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _read_all(file: io.FileIO, count: int) -> bytes:
    """Read until there is enough or nothing more: one call may give less than was asked."""
    pieces: list[bytes] = []
    while count > 0:
        piece = file.read(count)
        if not piece:
            break
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def _cannot_open(path: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{path} does not exist"
    return f"{path} cannot be read ({(error.strerror or str(error)).lower()})"
