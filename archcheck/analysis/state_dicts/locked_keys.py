"""Keys of a checkpoint as lines of the lock file: `conv.weight float32 64,3,7,7`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from archcheck.evidence.checkpoint import StateDict, Tensor

_SCALAR = "scalar"


def key_text(name: str, tensor: Tensor) -> str:
    """Return the line of a key."""
    shape = ",".join(map(str, tensor.shape or ())) or _SCALAR
    return f"{name} {tensor.dtype} {shape}"


def state_of(lines: Iterable[str]) -> StateDict:
    """Return the state dict that such lines describe; what is no such line is left out."""
    return StateDict((), tuple(_tensors(lines)))


def _tensors(lines: Iterable[str]) -> Iterator[Tensor]:
    for line in lines:
        name, _, rest = line.rpartition(" ")
        name, _, dtype = name.rpartition(" ")
        sizes = [] if rest == _SCALAR else rest.split(",")
        if dtype and all(size.isdecimal() for size in sizes):
            yield Tensor(name, tuple(map(int, sizes)), dtype)
