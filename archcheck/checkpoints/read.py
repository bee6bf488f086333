"""Read a checkpoint, whatever its form: the bytes decide, never the suffix."""

from __future__ import annotations

import os
from pathlib import Path

from archcheck.checkpoints.adapter import CONFIG, read_adapter
from archcheck.checkpoints.byte_source import ByteSource
from archcheck.checkpoints.distributed import METADATA, read_distributed
from archcheck.checkpoints.gguf_file import read_gguf
from archcheck.checkpoints.other_files import what_it_is
from archcheck.checkpoints.safetensors_file import looks_like_safetensors, read_safetensors
from archcheck.checkpoints.sharded import read_index
from archcheck.checkpoints.torch_legacy import looks_like_torch_legacy, read_torch_legacy
from archcheck.checkpoints.torch_zip import read_torch_zip
from archcheck.evidence.checkpoint import Checkpoint, CheckpointError

HEAD = 512

# In a folder, what is read of it: the first that is there.
_IN_FOLDER = (
    "model.safetensors.index.json",
    "model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
    "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.bin",
)
_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".gguf", ".pt2")


def read_checkpoint(path: str) -> Checkpoint:
    """Read the names, shapes and dtypes of a checkpoint file or folder.

    Raises:
        CheckpointError: It is none, or too damaged to be read.
    """
    return _read_folder(Path(path)) if os.path.isdir(path) else _read_file(path)


def _read_file(path: str) -> Checkpoint:
    with ByteSource(path) as source:
        head = source.at(0, HEAD)
        if head.startswith(b"PK\x03\x04"):
            return read_torch_zip(source)
        if head.startswith(b"GGUF"):
            return read_gguf(source)
        if looks_like_torch_legacy(head):
            return read_torch_legacy(source)
        if looks_like_safetensors(head):
            return read_safetensors(source)
        if head.lstrip().startswith(b"{"):
            return read_index(Path(path), _read_shard)
        raise CheckpointError(f"{path} {what_it_is(head, source)}")


def _read_shard(path: str) -> Checkpoint:
    """Read a file that an index or a configuration names: it is no index itself.

    Raises:
        CheckpointError: It is one, or cannot be read.
    """
    with ByteSource(path) as source:
        if source.at(0, HEAD).lstrip().startswith(b"{"):
            raise CheckpointError(f"{path} is JSON where a file with tensors should be")
    return _read_file(path)


def _read_folder(folder: Path) -> Checkpoint:
    if (folder / METADATA).is_file():
        return read_distributed(folder)
    if (folder / CONFIG).is_file():
        return read_adapter(folder, _read_shard)
    for name in _IN_FOLDER:
        if (folder / name).is_file():
            return _read_file(str(folder / name))
    inside = sorted(p.name for p in folder.iterdir() if p.suffix in _SUFFIXES and p.is_file())
    if len(inside) == 1:
        return _read_file(str(folder / inside[0]))
    what = f"name one of {', '.join(inside[:5])}" if inside else "it has no checkpoint in it"
    raise CheckpointError(f"{folder} is a folder: {what}")
