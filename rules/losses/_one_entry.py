"""Operations that leave a single entry along a dimension, whatever went in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archcheck.evidence.records import Op
    from archcheck.evidence.trace import Trace

_REDUCES = frozenset(
    "max min mean sum amax amin logsumexp median nanmedian mode norm prod std var".split()
)
_KEEPS_SIZES = frozenset(
    "div mul add sub neg abs exp log tanh relu gelu sigmoid leaky_relu dropout masked_fill clamp "
    "float double half to type clone contiguous detach identity pow sqrt".split()
)


def leaves_one_entry(trace: Trace, value: int, dim: int) -> Op | None:
    """Return the op by which a value has size 1 along a dimension; None where it has by chance.

    Args:
        dim: Counted from 0.
    """
    for _ in range(12):
        op = trace.dataflow.producer(value)
        if op is None or not op.inputs:
            return None
        if dim in _dims_left_single(op, len(trace.shape(op.inputs[0]))):
            return op
        same = trace.shape(op.inputs[0]) == trace.shape(value)
        if op.name not in _KEEPS_SIZES or not same:
            return None
        value = op.inputs[0]
    return None


def _dims_left_single(op: Op, rank: int) -> Iterator[int]:
    """Yield the dimensions of the result that have size 1 for any input."""
    given = op.arguments
    dim = given.get("dim")
    if op.name == "topk" and _is_one(given.get("k")):
        yield from _counted(-1 if dim is None else dim, rank)
    elif (op.name == "narrow" and _is_one(given.get("length"))) or (
        op.name in _REDUCES and given.get("keepdim") is True
    ):
        yield from _counted(dim, rank)
    elif op.name == "unsqueeze":
        yield from _counted(dim, rank + 1)
    elif op.name == "getitem":
        yield from _sliced(given.get("index"), rank)


def _is_one(value: Any) -> bool:
    """Whether a number is the author's own 1, not a size that happens to be 1."""
    return type(value) is int and value == 1


def _counted(dims: Any, rank: int) -> Iterator[int]:
    for dim in dims if isinstance(dims, tuple) else (dims,):
        if type(dim) is int and -rank <= dim < rank:
            yield dim % rank


def _sliced(index: Any, rank: int) -> Iterator[int]:
    """Yield the dimensions that a subscript of slices alone cuts to one entry."""
    parts = index if isinstance(index, tuple) else (index,)
    if not all(part is Ellipsis or isinstance(part, slice) for part in parts):
        return
    if Ellipsis in parts:
        at = parts.index(Ellipsis)
        whole = (slice(None),) * (rank - len(parts) + 1)
        parts = (*parts[:at], *whole, *parts[at + 1 :])
    for dim, part in enumerate(parts):
        start, stop = part.start or 0, part.stop
        known = type(start) is int and type(stop) is int and part.step in (None, 1)
        if known and stop - start == 1 and (start >= 0 or stop < 0):
            yield dim
