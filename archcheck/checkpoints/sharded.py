"""Checkpoints of several files: an index whose `weight_map` says which file has which tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from archcheck.checkpoints.bounded_json import parse_object
from archcheck.checkpoints.byte_source import ByteSource
from archcheck.evidence.checkpoint import Checkpoint, CheckpointError, StateDict

LARGEST_INDEX = 64 * 2**20
MOST_SHARDS = 10_000


def read_index(path: Path, read_file: Callable[[str], Checkpoint]) -> Checkpoint:
    """Read an index and the heads of all its files.

    Raises:
        CheckpointError: The index or a file is damaged, or no file is there.
    """
    with ByteSource(str(path)) as source:
        data = source.at(0, min(source.size, LARGEST_INDEX))
    index = parse_object(data, str(path)).value
    mapping = index.get("weight_map")
    if not isinstance(mapping, dict) or not all(isinstance(v, str) for v in mapping.values()):
        raise CheckpointError(f"{path} is JSON and no index of a checkpoint: it has no weight_map")
    names = list(dict.fromkeys(mapping.values()))
    problems = list(_wrong_names(names))
    if problems:
        raise CheckpointError(f"{path}: {problems[0]}")
    present = [name for name in names if (path.parent / name).is_file()]
    if not present:
        raise CheckpointError(f"{path}: none of its {len(names):,} files is beside it")
    shards = {name: read_file(str(path.parent / name)) for name in present}
    return _joined(path, len(data), mapping, names, shards)


def _wrong_names(names: Sequence[str]) -> Iterator[str]:
    if len(names) > MOST_SHARDS:
        yield f"it names {len(names):,} files"
    for name in names:
        parts = name.replace("\\", "/").split("/")
        if ".." in parts or name.startswith(("/", "\\")) or ":" in parts[0] or "\0" in name:
            yield f"it points outside its folder: {name!r}"


def _joined(
    path: Path,
    index_bytes: int,
    mapping: Mapping[str, str],
    names: Sequence[str],
    shards: Mapping[str, Checkpoint],
) -> Checkpoint:
    tensors = [
        replace(tensor, storage=tensor.storage and f"{name}:{tensor.storage}")
        for name, shard in shards.items()
        for tensor in shard.state_dict.tensors
    ]
    first = next(iter(shards.values()))
    return Checkpoint(
        path=str(path),
        form=first.form,
        size=index_bytes + sum(shard.size for shard in shards.values()),
        bytes_read=index_bytes + sum(shard.bytes_read for shard in shards.values()),
        state_dicts=(StateDict((), tuple(tensors)),),
        aliases={key: value for shard in shards.values() for key, value in shard.aliases.items()},
        metadata=first.metadata,
        globals=tuple(sorted({name for shard in shards.values() for name in shard.globals})),
        files=tuple(names),
        problems=tuple(_disagreements(mapping, names, shards)),
    )


def _disagreements(
    mapping: Mapping[str, str], names: Sequence[str], shards: Mapping[str, Checkpoint]
) -> Iterator[str]:
    """Yield what is wrong in a shard, and where the index and the shards disagree."""
    for name in names:
        if name not in shards:
            count = sum(place == name for place in mapping.values())
            yield f"{name} is missing, with {count:,} of {len(mapping):,} tensors"
    for name, shard in shards.items():
        yield from (f"{name}: {problem}" for problem in shard.problems)
        own = {tensor.name for tensor in shard.state_dict.tensors}
        for key in (key for key, place in mapping.items() if place == name and key not in own):
            yield f"the index says that {key!r} is in {name}, which has no such tensor"
        for key in sorted(own):
            if mapping.get(key) != name:
                yield f"{name} has {key!r}, which the index {_places(mapping.get(key))}"


def _places(place: str | None) -> str:
    return "doesn't name" if place is None else f"places in {place}"
