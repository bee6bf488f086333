"""GGUF: counts, key-value pairs, and the table of tensors at the front of the file."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from archcheck.checkpoints.byte_source import ByteSource
from archcheck.evidence.checkpoint import Checkpoint, CheckpointError, StateDict, Tensor

PIECE = 2**16
ALIGNMENT = 32
LONGEST_TEXT = 2**20
MOST_TENSORS = 1_000_000
MOST_PAIRS = 100_000

# By the numbers of ggml's types: the name, the elements of a block, and its bytes. Those with the
# name that torch has are not quantized.
_TYPES: Mapping[int, tuple[str, int, int]] = {
    0: ("float32", 1, 4),
    1: ("float16", 1, 2),
    2: ("q4_0", 32, 18),
    3: ("q4_1", 32, 20),
    6: ("q5_0", 32, 22),
    7: ("q5_1", 32, 24),
    8: ("q8_0", 32, 34),
    9: ("q8_1", 32, 40),
    10: ("q2_k", 256, 84),
    11: ("q3_k", 256, 110),
    12: ("q4_k", 256, 144),
    13: ("q5_k", 256, 176),
    14: ("q6_k", 256, 210),
    15: ("q8_k", 256, 292),
    16: ("iq2_xxs", 256, 66),
    17: ("iq2_xs", 256, 74),
    18: ("iq3_xxs", 256, 98),
    19: ("iq1_s", 256, 50),
    20: ("iq4_nl", 32, 18),
    21: ("iq3_s", 256, 110),
    22: ("iq2_s", 256, 82),
    23: ("iq4_xs", 256, 136),
    24: ("int8", 1, 1),
    25: ("int16", 1, 2),
    26: ("int32", 1, 4),
    27: ("int64", 1, 8),
    28: ("float64", 1, 8),
    29: ("iq1_m", 256, 56),
    30: ("bfloat16", 1, 2),
    34: ("tq1_0", 256, 54),
    35: ("tq2_0", 256, 66),
    39: ("mxfp4", 32, 17),
    40: ("nvfp4", 64, 36),
    41: ("q1_0", 128, 18),
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


class _Place(NamedTuple):
    """A tensor of the table, with the span of its bytes behind the table."""

    tensor: Tensor
    begin: int
    end: int


class _Cursor:
    """Reads forward through the head of the file, piece by piece."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._data = b""
        self._start = 0
        self._next = 0

    @property
    def position(self) -> int:
        return self._next

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
    places = [_tensor(cursor, source.path) for _ in range(tensors)]
    found = tuple(place.tensor for place in places)
    start = _aligned(cursor.position, metadata.get("general.alignment"))
    return Checkpoint(
        path=source.path,
        form="GGUF",
        size=source.size,
        bytes_read=source.bytes_read,
        state_dicts=(StateDict((), found),),
        metadata=metadata,
        producer=metadata.get("general.architecture", ""),
        problems=(*_twice(found), *_misplaced(places, max(0, source.size - start))),
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


def _tensor(cursor: _Cursor, path: str) -> _Place:
    name = cursor.text()
    rank = cursor.number("I")
    if rank > 8:
        raise CheckpointError(f"{path} is damaged: a tensor with {rank:,} dimensions")
    # The first size is that of the innermost dimension.
    sizes = tuple(cursor.number("Q") for _ in range(rank))[::-1]
    kind = cursor.number("I")
    offset = cursor.number("Q")
    dtype, block, bytes_of_block = _TYPES.get(kind, (f"ggml type {kind}", 1, 0))
    tensor = Tensor(name, sizes, dtype, "strided" if dtype in _PLAIN else "quantized")
    return _Place(tensor, offset, offset + tensor.count // block * bytes_of_block)


def _aligned(position: int, alignment: str | None) -> int:
    """Return where the tensors' bytes begin: a multiple of 32, or of what the file says."""
    step = int(alignment) if alignment is not None and alignment.isdecimal() else ALIGNMENT
    return position + -position % (step or ALIGNMENT)


def _misplaced(places: Sequence[_Place], available: int) -> Iterator[str]:
    """Yield what is wrong with the spans of the tensors: overlaps, bytes that are missing."""
    reached = 0
    for place in sorted(places, key=lambda place: (place.begin, place.end)):
        if place.begin < reached:
            yield f"{place.tensor.name!r} overlaps the tensor before it"
        reached = max(reached, place.end)
    if reached > available:
        yield (
            f"the file is cut short: its tensors need {reached:,} bytes behind the table, and "
            f"there are {available:,}"
        )


def _twice(tensors: tuple[Tensor, ...]) -> tuple[str, ...]:
    seen: set[str] = set()
    twice = {t.name for t in tensors if t.name in seen or seen.add(t.name)}  # type: ignore[func-returns-value]
    return tuple(f"it has the tensor {name!r} twice" for name in sorted(twice))
