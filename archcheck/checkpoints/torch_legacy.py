"""Torch's files from before 1.6: four pickles in a row, then the storages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from archcheck.checkpoints.byte_source import ByteSource
from archcheck.checkpoints.pickle_opcodes import (
    Persistent,
    PickleError,
    PickleTruncated,
    protocol_of,
    read_pickle,
)
from archcheck.checkpoints.torch_objects import plain_values, root_keys, state_dicts_in
from archcheck.checkpoints.torch_tensors import item_bytes
from archcheck.evidence.checkpoint import Checkpoint, CheckpointError, StateDict

FIRST_PIECE = 2**16
LARGEST_PICKLES = 128 * 2**20
LENGTH = 8
LEAST_OF_A_KEY = 3
MAGIC = 0x1950A86A20F9469CFC6C
# The start of the file: the pickle of that number, binary or (protocols 0 and 1) as text.
_MAGIC_BYTES = (b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", b"L%dL\n." % MAGIC)


class _Saved(NamedTuple):
    """What the fourth pickle describes, the names in it, its protocol, and where it ends."""

    value: Any
    names: tuple[str, ...]
    protocol: int
    end: int


def looks_like_torch_legacy(head: bytes) -> bool:
    """Tell whether torch's magic number begins the file."""
    return any(magic in head[:32] for magic in _MAGIC_BYTES)


def read_torch_legacy(source: ByteSource) -> Checkpoint:
    """Read the magic number, the version, the system's sizes and the object.

    Raises:
        CheckpointError: It is cut short or damaged.
    """
    saved = _object(source)
    try:
        found = state_dicts_in(saved.value)
    except CheckpointError as error:
        raise CheckpointError(f"{source.path}: {error}") from None
    return Checkpoint(
        path=source.path,
        form="legacy torch file",
        size=source.size,
        bytes_read=source.bytes_read,
        state_dicts=found,
        root_keys=root_keys(saved.value),
        metadata=plain_values(saved.value),
        globals=saved.names,
        pickle_protocol=saved.protocol,
        problems=tuple(_cut_short(found, saved.end, source.size)),
    )


def _cut_short(found: Sequence[StateDict], start: int, size: int) -> Iterator[str]:
    """Yield that the file is smaller than the storages of its tensors together."""
    storages = {
        tensor.storage: (tensor.stored_elements or 0) * item_bytes(tensor.dtype)
        for state in found
        for tensor in state.tensors
        if tensor.storage and tensor.layout != "meta"
    }
    # A fifth pickle lists the storages; before each stands its number of elements.
    keys = sum(len(key) + LEAST_OF_A_KEY for key in storages)
    needed = start + keys + sum(LENGTH + count for count in storages.values())
    if needed > size:
        yield f"the file is cut short: it needs {needed:,} bytes, and has {size:,}"


def _object(source: ByteSource) -> _Saved:
    """Return the object; as much of the file is read as that needs."""
    data = source.at(0, FIRST_PIECE)
    while True:
        try:
            return _fourth_pickle(data)
        except PickleTruncated:
            if len(data) >= min(source.size, LARGEST_PICKLES):
                raise CheckpointError(
                    f"{source.path} is cut short: it ends inside its pickle; "
                    "copy or download it again"
                ) from None
            data += source.at(len(data), 3 * len(data))
        except PickleError as error:
            raise CheckpointError(f"{source.path}: its pickle is damaged: {error}") from None


def _fourth_pickle(data: bytes) -> _Saved:
    start = 0
    for _ in range(3):
        _, start, _ = read_pickle(data, start)
    value, end, names = read_pickle(data, start)
    return _Saved(_without_sources(value), names, protocol_of(data, start), end)


def _without_sources(value: Any) -> Any:
    """Return the object; a whole module stands for its class where that is asked for."""
    return value.id if isinstance(value, Persistent) else value
