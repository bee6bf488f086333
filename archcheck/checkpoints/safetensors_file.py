"""safetensors: a length, a JSON header, and the tensors one behind the other."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

from archcheck.checkpoints.bounded_json import parse_object, sizes_of
from archcheck.checkpoints.byte_source import ByteSource
from archcheck.evidence.checkpoint import Checkpoint, CheckpointError, StateDict, Tensor

# What the format allows.
LARGEST_HEADER = 100_000_000

# By the format's names: torch's name, and the bits of an element.
DTYPES: Mapping[str, tuple[str, int]] = {
    "BOOL": ("bool", 8),
    "U8": ("uint8", 8),
    "I8": ("int8", 8),
    "F4": ("float4_e2m1fn_x2", 4),
    "F6_E2M3": ("float6_e2m3fn", 6),
    "F6_E3M2": ("float6_e3m2fn", 6),
    "F8_E5M2": ("float8_e5m2", 8),
    "F8_E4M3": ("float8_e4m3fn", 8),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", 8),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 8),
    "F8_E8M0": ("float8_e8m0fnu", 8),
    "I16": ("int16", 16),
    "U16": ("uint16", 16),
    "F16": ("float16", 16),
    "BF16": ("bfloat16", 16),
    "I32": ("int32", 32),
    "U32": ("uint32", 32),
    "F32": ("float32", 32),
    "C64": ("complex64", 64),
    "F64": ("float64", 64),
    "I64": ("int64", 64),
    "U64": ("uint64", 64),
}


class Entry(NamedTuple):
    """A tensor of the header, with the span of its bytes behind the header."""

    tensor: Tensor
    begin: int
    end: int


class Header(NamedTuple):
    """The header: `start` is where the tensors' bytes begin in the file."""

    entries: tuple[Entry, ...]
    metadata: Mapping[str, str]
    start: int
    problems: tuple[str, ...]


def read_safetensors(source: ByteSource) -> Checkpoint:
    """Read the header.

    Raises:
        CheckpointError: The header is damaged, or longer than the file.
    """
    header = read_header(source)
    names = {entry.tensor.name for entry in header.entries}
    return Checkpoint(
        path=source.path,
        form="safetensors",
        size=source.size,
        bytes_read=source.bytes_read,
        state_dicts=(StateDict((), tuple(entry.tensor for entry in header.entries)),),
        aliases={
            dropped: kept
            for dropped, kept in header.metadata.items()
            if kept in names and dropped not in names
        },
        metadata=header.metadata,
        problems=header.problems,
    )


def looks_like_safetensors(head: bytes) -> bool:
    """Tell whether a length and a JSON object begin the file."""
    # The length of a header can be the code of a brace; but no JSON has a null byte.
    is_length = b"\0" in head[:8] or not head.startswith(b"{")
    return is_length and head[8:].lstrip().startswith(b"{")


def read_header(source: ByteSource) -> Header:
    """Read and check the header of a safetensors file.

    Raises:
        CheckpointError: It is damaged, or longer than the file.
    """
    path = source.path
    (length,) = struct.unpack("<Q", source.at(0, 8))
    if length > LARGEST_HEADER:
        raise CheckpointError(
            f"{path} says that its header has {length:,} bytes; safetensors allows "
            f"{LARGEST_HEADER:,}: it is damaged, or no safetensors file"
        )
    data = source.at(8, length)
    if len(data) < length:
        raise CheckpointError(
            f"{path} is cut short: its header has {length:,} bytes, and the file {source.size:,}; "
            "copy or download it again"
        )
    parsed = parse_object(data, f"the header of {path}")
    metadata = parsed.value.pop("__metadata__", {})
    problems = [f"the header has the name {name!r} twice" for name in parsed.twice]
    entries: list[Entry] = []
    for name, value in parsed.value.items():
        entry = _entry(name, value)
        if isinstance(entry, str):
            problems.append(entry)
        else:
            entries.append(entry)
    start = 8 + length
    problems += _misplaced(entries, source.size - start)
    texts = metadata.items() if isinstance(metadata, dict) else ()
    return Header(
        tuple(entries), {k: v for k, v in texts if isinstance(v, str)}, start, tuple(problems)
    )


def _entry(name: str, value: Any) -> Entry | str:
    """Return a tensor of the header, or what is wrong with it."""
    if not isinstance(value, dict):
        return f"{name!r} is no tensor in the header"
    shape = sizes_of(value.get("shape"))
    offsets = sizes_of(value.get("data_offsets"))
    if shape is None or offsets is None or len(offsets) != 2:
        return f"{name!r} has no shape or no place in the header"
    known = DTYPES.get(str(value.get("dtype")))
    if known is None:
        return f"{name!r} has an unknown dtype {value.get('dtype')!r}"
    dtype, bits = known
    begin, end = offsets
    if prod(shape) * bits != (end - begin) * 8:
        return (
            f"{name!r} is {list(shape)} of {dtype}, {prod(shape) * bits // 8:,} bytes, "
            f"and has {end - begin:,}"
        )
    if bits == 4 and shape:  # two elements make one of torch's
        shape = (*shape[:-1], shape[-1] // 2)
    return Entry(Tensor(name, shape, dtype, stored_elements=prod(shape)), begin, end)


def _misplaced(entries: Sequence[Entry], available: int) -> Iterator[str]:
    """Yield what is wrong with the spans: overlaps, gaps, bytes that are missing or too many."""
    reached = 0
    for entry in sorted(entries, key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != reached:
            kind = "overlaps the tensor before it" if entry.begin < reached else "follows a gap"
            yield f"{entry.tensor.name!r} {kind}"
        reached = max(reached, entry.end)
    if reached > available:
        yield (
            f"the file is cut short: its tensors need {reached:,} bytes behind the header, and "
            f"there are {max(0, available):,}"
        )
    elif reached < available:
        yield f"{available - reached:,} bytes behind the last tensor belong to none"
