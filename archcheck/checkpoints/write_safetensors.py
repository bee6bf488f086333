"""Write a safetensors file with other names: the tensors are copied as bytes, never read."""

from __future__ import annotations

import json
import os
import struct
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple

from archcheck.checkpoints.byte_source import ByteSource
from archcheck.checkpoints.safetensors_file import DTYPES, Header, read_header
from archcheck.evidence.checkpoint import Checkpoint, CheckpointError

PIECE = 2**24
_NAMES = {torch_name: name for name, (torch_name, _) in DTYPES.items()}


class _Span(NamedTuple):
    """The bytes of a tensor in one of the files, with what the header says of it."""

    path: str
    begin: int
    end: int
    dtype: str
    shape: tuple[int, ...]


def write_renamed(output: Path, checkpoint: Checkpoint, names: Mapping[str, str]) -> None:
    """Write the tensors of a safetensors checkpoint under new names.

    Args:
        names: The new names, each with the name in the checkpoint.

    Raises:
        CheckpointError: The checkpoint has another form, or changed since it was read.
        OSError: The file cannot be written.
    """
    if checkpoint.form != "safetensors":
        raise CheckpointError(
            f"{checkpoint.path} is a {checkpoint.form}: only safetensors can be written anew "
            "without running a pickle; use the mapping in Python"
        )
    metadata: dict[str, str] = {}
    spans: dict[str, _Span] = {}
    for path in _files(checkpoint):
        with ByteSource(path) as source:
            header = read_header(source)
        metadata.update(_kept(header))
        spans.update(_spans(path, header))
    absent = next((old for old in names.values() if old not in spans), None)
    if absent is not None:
        raise CheckpointError(f"{checkpoint.path} changed while it was read: {absent!r} is gone")
    with tempfile.NamedTemporaryFile(dir=output.parent, delete=False) as file:
        try:
            _write(file, {new: spans[old] for new, old in names.items()}, metadata)
        except BaseException:
            os.unlink(file.name)
            raise
    os.replace(file.name, output)


def _files(checkpoint: Checkpoint) -> list[str]:
    path = Path(checkpoint.path)
    if not checkpoint.files:
        return [checkpoint.path]
    folder = path if path.is_dir() else path.parent
    return [str(folder / name) for name in checkpoint.files]


def _kept(header: Header) -> Mapping[str, str]:
    """Return the metadata without the notes on ties, whose names are no more."""
    names = {entry.tensor.name for entry in header.entries}
    return {key: value for key, value in header.metadata.items() if value not in names}


def _spans(path: str, header: Header) -> Iterator[tuple[str, _Span]]:
    for entry in header.entries:
        tensor = entry.tensor
        shape = tensor.shape or ()
        if tensor.dtype.startswith("float4") and shape:
            shape = (*shape[:-1], shape[-1] * 2)
        begin, end = header.start + entry.begin, header.start + entry.end
        yield tensor.name, _Span(path, begin, end, _NAMES[tensor.dtype], shape)


def _write(file: IO[bytes], spans: Mapping[str, _Span], metadata: Mapping[str, str]) -> None:
    # The format wants the widest elements first, so that every tensor is aligned.
    ordered = sorted(spans.items(), key=lambda item: (-DTYPES[item[1].dtype][1], item[0]))
    table: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name, span in ordered:
        size = span.end - span.begin
        table[name] = {
            "dtype": span.dtype,
            "shape": list(span.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    header = json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    file.write(struct.pack("<Q", len(header)) + header)
    for name, span in ordered:
        _copy(file, span, name)


def _copy(file: IO[bytes], span: _Span, name: str) -> None:
    with open(span.path, "rb") as source:
        source.seek(span.begin)
        left = span.end - span.begin
        while left:
            piece = source.read(min(left, PIECE))
            if not piece:
                raise CheckpointError(f"{span.path} is cut short: it ends inside {name!r}")
            file.write(piece)
            left -= len(piece)
