"""GGUF: counts, key-value pairs, and the table of tensors at the front of the file."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from archcheck.checkpoints.byte_source import ByteSource
from archcheck.evidence.checkpoint import Checkpoint, CheckpointError, StateDict, Tensor

PIECE = 2**16
LONGEST_TEXT = 2**20
MOST_TENSORS = 1_000_000
MOST_PAIRS = 100_000

# The numbers of ggml's types; those with torch's name are not quantized.
_TYPES: Mapping[int, str] = {
    0: "float32",
    1: "float16",
    2: "q4_0",
    3: "q4_1",
    6: "q5_0",
    7: "q5_1",
    8: "q8_0",
    9: "q8_1",
    10: "q2_k",
    11: "q3_k",
    12: "q4_k",
    13: "q5_k",
    14: "q6_k",
    15: "q8_k",
    16: "iq2_xxs",
    17: "iq2_xs",
    18: "iq3_xxs",
    19: "iq1_s",
    20: "iq4_nl",
    21: "iq3_s",
    22: "iq2_s",
    23: "iq4_xs",
    24: "int8",
    25: "int16",
    26: "int32",
    27: "int64",
    28: "float64",
    29: "iq1_m",
    30: "bfloat16",
    34: "tq1_0",
    35: "tq2_0",
    39: "mxfp4",
    40: "nvfp4",
    41: "q1_0",
}
_PLAIN = frozenset(("float32", "float16", "bfloat16", "float64", "int8", "int16", "int32", "int64"))
# The formats of the values of key-value pairs, by their numbers; 8 is a text, 9 an array.
_NUMBERS: Mapping[int, str] = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_TEXT, _ARRAY = 8, 9


class _Cursor:
    """Reads forward through the head of the file, piece by piece."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._data = b""
        self._start = 0
        self._next = 0

    def take(self, count: int) -> bytes:
        if self._next + count > self._start + len(self._data):
            self._start = self._next
            self._data = self._source.at(self._start, max(count, PIECE))
        begin = self._next - self._start
        piece = self._data[begin : begin + count]
        if len(piece) < count:
            raise CheckpointError(
                f"{self._source.path} is cut short: it ends inside its table of tensors"
            )
        self._next += count
        return piece

    def skip(self, count: int) -> None:
        if self._next + count > self._source.size:
            raise CheckpointError(
                f"{self._source.path} is cut short or damaged: a value is longer than the file"
            )
        self._next += count
        if self._next > self._start + len(self._data):
            self._start, self._data = self._next, b""

    def number(self, form: str) -> Any:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def text(self, most: int = LONGEST_TEXT) -> str:
        """Return a text; one that is longer than any is passed over, and empty."""
        length = self.number("Q")
        if length > most:
            self.skip(length)
            return ""
        return self.take(length).decode("utf-8", "replace")


def read_gguf(source: ByteSource) -> Checkpoint:
    """Read the head of the file.

    Raises:
        CheckpointError: It is cut short, damaged, or of another version.
    """
    cursor = _Cursor(source)
    cursor.skip(4)
    version = cursor.number("I")
    if version not in (2, 3):
        raise CheckpointError(f"{source.path} is GGUF of version {version}; 2 and 3 are known")
    tensors, pairs = cursor.number("Q"), cursor.number("Q")
    if tensors > MOST_TENSORS or pairs > MOST_PAIRS:
        raise CheckpointError(
            f"{source.path} says that it has {tensors:,} tensors and {pairs:,} values: damaged"
        )
    metadata: dict[str, str] = {}
    for _ in range(pairs):
        key = cursor.text()
        value = _value(cursor, cursor.number("I"), source.path)
        if value is not None:
            metadata[key] = str(value)
    found = tuple(_tensor(cursor, source.path) for _ in range(tensors))
    return Checkpoint(
        path=source.path,
        form="GGUF",
        size=source.size,
        bytes_read=source.bytes_read,
        state_dicts=(StateDict((), found),),
        metadata=metadata,
        producer=metadata.get("general.architecture", ""),
        problems=_twice(found),
    )


def _value(cursor: _Cursor, kind: int, path: str) -> Any:
    """Return a number or a text; pass over an array."""
    if kind in _NUMBERS:
        return cursor.number(_NUMBERS[kind])
    if kind == _TEXT:
        return cursor.text()
    if kind != _ARRAY:
        raise CheckpointError(f"{path} is damaged: it has a value of an unknown type {kind}")
    inner, count = cursor.number("I"), cursor.number("Q")
    if inner in _NUMBERS:
        cursor.skip(count * struct.calcsize("<" + _NUMBERS[inner]))
    else:
        for _ in range(count):  # each text takes bytes of the file, so that the file bounds it
            if inner == _TEXT:
                cursor.skip(cursor.number("Q"))
            else:
                raise CheckpointError(f"{path} is damaged: it has arrays of arrays")
    return None


def _tensor(cursor: _Cursor, path: str) -> Tensor:
    name = cursor.text()
    rank = cursor.number("I")
    if rank > 8:
        raise CheckpointError(f"{path} is damaged: a tensor with {rank:,} dimensions")
    # The first size is that of the innermost dimension.
    sizes = tuple(cursor.number("Q") for _ in range(rank))[::-1]
    kind = cursor.number("I")
    cursor.skip(8)
    dtype = _TYPES.get(kind, f"ggml type {kind}")
    layout = "strided" if dtype in _PLAIN else "quantized"
    return Tensor(name, sizes, dtype, "strided" if layout == "strided" else "quantized")


def _twice(tensors: tuple[Tensor, ...]) -> tuple[str, ...]:
    seen: set[str] = set()
    twice = {t.name for t in tensors if t.name in seen or seen.add(t.name)}  # type: ignore[func-returns-value]
    return tuple(f"it has the tensor {name!r} twice" for name in sorted(twice))
