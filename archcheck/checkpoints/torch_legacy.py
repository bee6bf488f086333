"""Torch's files from before 1.6: four pickles in a row, then the storages."""

from __future__ import annotations

from typing import Any

from archcheck.checkpoints.byte_source import ByteSource
from archcheck.checkpoints.pickle_opcodes import (
    Persistent,
    PickleError,
    PickleTruncated,
    protocol_of,
    read_pickle,
)
from archcheck.checkpoints.torch_objects import plain_values, root_keys, state_dicts_in
from archcheck.evidence.checkpoint import Checkpoint, CheckpointError

FIRST_PIECE = 2**16
LARGEST_PICKLES = 128 * 2**20
MAGIC = 0x1950A86A20F9469CFC6C
# The start of the file: the pickle of that number, binary or (protocols 0 and 1) as text.
_MAGIC_BYTES = (b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", b"L%dL\n." % MAGIC)


def looks_like_torch_legacy(head: bytes) -> bool:
    """Tell whether torch's magic number begins the file."""
    return any(magic in head[:32] for magic in _MAGIC_BYTES)


def read_torch_legacy(source: ByteSource) -> Checkpoint:
    """Read the magic number, the version, the system's sizes and the object.

    Raises:
        CheckpointError: It is cut short or damaged.
    """
    value, names, protocol = _object(source)
    try:
        found = state_dicts_in(value)
    except CheckpointError as error:
        raise CheckpointError(f"{source.path}: {error}") from None
    return Checkpoint(
        path=source.path,
        form="legacy torch file",
        size=source.size,
        bytes_read=source.bytes_read,
        state_dicts=found,
        root_keys=root_keys(value),
        metadata=plain_values(value),
        globals=names,
        pickle_protocol=protocol,
    )


def _object(source: ByteSource) -> tuple[Any, tuple[str, ...], int]:
    """Return what the fourth pickle describes, the names in it, and its protocol."""
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


def _fourth_pickle(data: bytes) -> tuple[Any, tuple[str, ...], int]:
    start = 0
    for _ in range(3):
        _, start, _ = read_pickle(data, start)
    value, _, names = read_pickle(data, start)
    return _without_sources(value), names, protocol_of(data, start)


def _without_sources(value: Any) -> Any:
    """Return the object; a whole module stands for its class where that is asked for."""
    return value.id if isinstance(value, Persistent) else value
