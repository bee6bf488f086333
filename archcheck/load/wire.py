"""What passes between the parent and a worker: framed pickles, read with suspicion by the parent.

The worker runs the user's code, so the parent builds nothing from its bytes but plain data and
the dataclasses of `evidence` and `finding`.
"""

from __future__ import annotations

import io
import pickle
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, TypeAlias

Stage: TypeAlias = Literal["import", "construct", "forward"]

_LENGTH = struct.Struct("<Q")
_EVIDENCE = ("archcheck.evidence", "archcheck.finding")
_PLAIN = {("builtins", name) for name in ("complex", "slice", "range", "Ellipsis", "bytearray")}


@dataclass(frozen=True, slots=True)
class Message:
    """What a worker says.

    Attributes:
        kind: `ready` once torch is imported; `stage` when it begins to import, construct or run
            a model; then one of `trace` (a Trace), `usage` (the text of a UsageError) and
            `defect` (a traceback of archcheck's own).
        request: The number of the request that it is about.
        content: What the kind says; of a stage, its name and the file being loaded.
    """

    kind: Literal["ready", "stage", "trace", "usage", "defect"]
    request: int
    content: Any = None


class EvidenceUnpickler(pickle.Unpickler):
    """Builds plain data and evidence, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN:
            return super().find_class(module, name)
        if module in _EVIDENCE and "." not in name:
            found = super().find_class(module, name)
            if isinstance(found, type) and found.__module__ == module:
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no evidence")


def mark(request: int) -> bytes:
    """What a worker writes after all that the model of a request has printed."""
    return b"\0archcheck printed %d\0" % request


def send(stream: BinaryIO, content: object) -> None:
    """Write one message, whole.

    Raises:
        OSError: Nobody reads at the other end.
    """
    data = pickle.dumps(content, protocol=5)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream: BinaryIO) -> Any | None:
    """The next message of the parent, which is trusted; None at the end of the stream."""
    data = _frame(stream)
    return None if data is None else pickle.loads(data)


def receive_evidence(stream: BinaryIO) -> Message | None:
    """The next message of a worker, which is not trusted; None at the end of the stream.

    Raises:
        pickle.UnpicklingError: It is no message, or holds something that is no evidence.
    """
    data = _frame(stream)
    if data is None:
        return None
    try:
        kind, request, content = EvidenceUnpickler(io.BytesIO(data)).load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:
        raise pickle.UnpicklingError(f"no message: {error}") from error
    return Message(kind, request, content)


def _frame(stream: BinaryIO) -> bytes | None:
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    data = stream.read(length)
    return data if len(data) == length else None
