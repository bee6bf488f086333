"""Distributed checkpoints (DCP): a folder with `.metadata` beside the `.distcp` files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from archcheck.checkpoints.byte_source import LARGEST_PIECE, ByteSource
from archcheck.checkpoints.pickle_opcodes import Call, Global, PickleError, read_pickle
from archcheck.checkpoints.torch_objects import likeliest_first
from archcheck.evidence.checkpoint import Checkpoint, CheckpointError, StateDict, Tensor

METADATA = ".metadata"


def read_distributed(folder: Path) -> Checkpoint:
    """Read the pickle of the metadata, and nothing of the shards.

    Raises:
        CheckpointError: It is damaged, or of something else.
    """
    with ByteSource(str(folder / METADATA)) as source:
        data = source.at(0, min(source.size, LARGEST_PIECE))
        read = source.bytes_read
    try:
        value, _, names = read_pickle(data)
    except PickleError as error:
        raise CheckpointError(f"{folder / METADATA}: its pickle is damaged: {error}") from None
    state = value.state if isinstance(value, Call) else None
    entries = state.get("state_dict_metadata") if isinstance(state, dict) else None
    if not isinstance(entries, dict) or not isinstance(state, dict):
        raise CheckpointError(f"{folder / METADATA} is no metadata of a distributed checkpoint")
    files = sorted({name for name, _ in _spans(state.get("storage_data"))})
    tensors = {name: _tensor(str(name), entry) for name, entry in entries.items()}
    return Checkpoint(
        path=str(folder),
        form="distributed checkpoint",
        size=sum(_size(folder / name) for name in files),
        bytes_read=read,
        state_dicts=_unflattened(tensors, state.get("planner_data")),
        globals=names,
        files=tuple(files),
        problems=(*_missing(folder, files), *_cut_short(folder, state.get("storage_data"))),
    )


def _unflattened(tensors: Mapping[Any, Tensor | None], planner: Any) -> tuple[StateDict, ...]:
    """Return the state dicts as they were saved: DCP joins the keys of nested ones by dots."""
    found: dict[tuple[str, ...], tuple[list[Tensor], list[str]]] = {}
    for flat, tensor in tensors.items():
        *keys, name = _path(flat, planner)
        inside = found.setdefault(tuple(keys), ([], []))
        if tensor is None:
            inside[1].append(name)
        else:
            inside[0].append(replace(tensor, name=name))
    return likeliest_first(
        StateDict(keys, tuple(inside), tuple(values)) for keys, (inside, values) in found.items()
    )


def _path(flat: Any, planner: Any) -> list[str]:
    """Return the keys that a flattened name was made of, as the saving planner noted them."""
    path = planner.get(flat) if isinstance(planner, Mapping) else None
    if isinstance(path, tuple) and path and all(isinstance(one, str) for one in path):
        return list(path)
    return [str(flat)]


def _tensor(name: str, entry: Any) -> Tensor | None:
    state = entry.state if isinstance(entry, Call) else None
    if not isinstance(state, dict) or "size" not in state:
        return None
    size = state["size"]
    sizes = size.arguments[0] if isinstance(size, Call) and size.arguments else ()
    if not isinstance(sizes, tuple) or not all(isinstance(one, int) for one in sizes):
        return None
    return Tensor(name, sizes, _dtype(state.get("properties")))


def _dtype(properties: Any) -> str:
    state = properties.state if isinstance(properties, Call) else None
    first = state[0] if isinstance(state, tuple) and state else None
    if isinstance(state, dict):
        first = state.get("dtype")
    return first.name.removeprefix("torch.") if isinstance(first, Global) else "unknown"


def _spans(storage: Any) -> Iterator[tuple[str, int]]:
    """Yield the names of the shards that the metadata points to, with where a piece ends."""
    for info in storage.values() if isinstance(storage, Mapping) else ():
        state = info.state if isinstance(info, Call) else None
        if isinstance(state, dict) and isinstance(name := state.get("relative_path"), str):
            offset, length = state.get("offset"), state.get("length")
            if isinstance(offset, int) and isinstance(length, int):
                yield name, offset + length
            else:
                yield name, 0


def _cut_short(folder: Path, storage: Any) -> Iterator[str]:
    """Yield the shards that end before their last piece does."""
    needed: dict[str, int] = {}
    for name, end in _spans(storage):
        needed[name] = max(end, needed.get(name, 0))
    for name, end in sorted(needed.items()):
        size = _size(folder / name)
        if 0 < size < end:
            yield f"{name} is cut short: it needs {end:,} bytes and has {size:,}"


def _missing(folder: Path, files: Sequence[str]) -> Iterator[str]:
    for name in files:
        if ".." in Path(name).parts or Path(name).is_absolute():
            yield f"its metadata points outside its folder: {name!r}"
        elif not (folder / name).is_file():
            yield f"{name} is missing from the folder"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0
