"""What passes between the parent and a worker: framed pickles, read with suspicion by the parent.

The worker runs the user's code, so the parent builds nothing from its bytes but plain data and
the dataclasses of `evidence`, `finding` and `dependencies`.
"""

from __future__ import annotations

import io
import pickle
import struct
from typing import Any, BinaryIO, Literal, NamedTuple, TypeAlias

Stage: TypeAlias = Literal["import", "construct", "forward"]

_LENGTH = struct.Struct("<Q")
_EVIDENCE = (
    "archcheck.core.dependencies",
    "archcheck.core.finding",
    "archcheck.evidence.probe",
    "archcheck.evidence.records",
    "archcheck.evidence.request",
    "archcheck.evidence.sizes",
    "archcheck.evidence.symbolic",
    "archcheck.evidence.trace",
    "archcheck.evidence.training_step",
)
_PLAIN_TYPES = (str, int, float, complex, tuple, list, dict, set, frozenset, bytes, bytearray)
_PLAIN = {("builtins", kind.__name__) for kind in (*_PLAIN_TYPES, slice, range)} | {
    ("builtins", "Ellipsis")
}


class Message(NamedTuple):
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


class EvidencePickler(pickle.Pickler):
    """Writes plain data and evidence; what a model slipped in among them, as plain data.

    A subclass of a plain type (a string that is an enumeration's member) becomes the plain value,
    anything else its type's name.
    """

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind.__module__ in _EVIDENCE or kind in (*_PLAIN_TYPES, slice, range, type(...)):
            return NotImplemented
        if isinstance(obj, type) and (
            obj.__module__ in _EVIDENCE or ("builtins", obj.__name__) in _PLAIN
        ):
            return NotImplemented
        if getattr(obj, "__module__", None) == "copyreg":
            return NotImplemented
        for plain in _PLAIN_TYPES:
            if isinstance(obj, plain):
                # The plain type's own view of it: its class may have one of its own.
                return plain, (_plain_value(plain, obj),)
        return str, (kind.__name__,)


def _plain_value(plain: Any, value: Any) -> Any:
    if plain in (str, bytes, bytearray):
        return plain.__getitem__(value, slice(None)) if plain is not str else str.__str__(value)
    if plain in (int, float, complex):
        return plain.__add__(value, plain())
    if plain is dict:
        return dict.copy(value)
    return [*plain.__iter__(value)]


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
    _write(stream, pickle.dumps(content, protocol=5))


def send_evidence(stream: BinaryIO, content: object) -> None:
    """Write one message of a worker, with nothing in it but plain data and evidence.

    Raises:
        OSError: Nobody reads at the other end.
    """
    held = io.BytesIO()
    EvidencePickler(held, protocol=5).dump(content)
    _write(stream, held.getvalue())


def _write(stream: BinaryIO, data: bytes) -> None:
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
