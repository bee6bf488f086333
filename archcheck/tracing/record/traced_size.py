"""Numbers that remember which sizes of which tensors they were computed from.

While a pass runs, `x.shape`, `x.size(0)` and `x.numel()` give such numbers to the model's code.
They are integers in every respect; arithmetic on them keeps the account. What the record keeps of
one that becomes an argument is a `SizeRead`, in plain data.

`int(h)`, `len(x)`, `range(h)` and numpy give plain integers, whose account ends there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from archcheck.evidence.records import SizeRead, SizeSource

# Code that counts in a loop would build a tower of sums.
_DEEPEST = 24


class TracedSize(int):
    """A size that the model's code read, or what it computed from such sizes."""

    source: SizeSource
    depth: int

    def __add__(self, other: Any) -> Any:
        return _combined("add", int.__add__, self, other)

    def __radd__(self, other: Any) -> Any:
        return _combined("add", int.__radd__, self, other, swapped=True)

    def __sub__(self, other: Any) -> Any:
        return _combined("sub", int.__sub__, self, other)

    def __rsub__(self, other: Any) -> Any:
        return _combined("sub", int.__rsub__, self, other, swapped=True)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, float):
            return _ratio("mul", float(int(self)) * other, self, other)
        return _combined("mul", int.__mul__, self, other)

    def __rmul__(self, other: Any) -> Any:
        if isinstance(other, float):
            return _ratio("mul", other * float(int(self)), self, other)
        return _combined("mul", int.__rmul__, self, other, swapped=True)

    def __floordiv__(self, other: Any) -> Any:
        return _combined("floordiv", int.__floordiv__, self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return _combined("floordiv", int.__rfloordiv__, self, other, swapped=True)

    def __mod__(self, other: Any) -> Any:
        return _combined("mod", int.__mod__, self, other)

    def __rmod__(self, other: Any) -> Any:
        return _combined("mod", int.__rmod__, self, other, swapped=True)

    def __divmod__(self, other: Any) -> Any:
        result = int.__divmod__(self, other)
        return result if result is NotImplemented else (self // other, self % other)

    def __truediv__(self, other: Any) -> Any:
        if isinstance(other, int | float) and not isinstance(other, bool):
            return _ratio("truediv", int(self) / other, self, other)
        return int.__truediv__(self, other)

    def __neg__(self) -> Any:
        return _combined("mul", int.__mul__, self, -1)

    def __pos__(self) -> Any:
        return self

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        if type(other) is int and 0 < other < 4 and modulo is None:
            return math.prod([self] * other)
        return int.__pow__(self, other, modulo)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return int, (int(self),)


class _TracedRatio(float):
    """A quotient of a size, on its way to be rounded to a size again."""

    source: SizeSource
    depth: int

    def __ceil__(self) -> Any:
        return _rounded("ceil", math.ceil(float(self)), self)

    def __floor__(self) -> Any:
        return _rounded("floor", math.floor(float(self)), self)

    def __trunc__(self) -> Any:
        return _rounded("floor", math.trunc(float(self)), self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return float, (float(self),)


def sizes_read(index: int, shape: torch.Size) -> torch.Size:
    """A tensor's shape, as numbers that remember it."""
    return torch.Size([_made(size, ("dim", index, dim), 0) for dim, size in enumerate(shape)])


def size_read(index: int, dimension: int, size: int) -> int:
    """One size of a tensor."""
    return _made(size, ("dim", index, dimension), 0)


def count_read(index: int, shape: torch.Size) -> int:
    """How many elements a tensor has."""
    source: SizeSource = ("count", index)
    return _made(shape.numel(), source, 0)


def as_evidence(size: TracedSize) -> SizeRead:
    """What the record keeps of a size."""
    return SizeRead(int(size), size.source)


def _made(value: int, source: SizeSource, depth: int) -> int:
    size = TracedSize(value)
    size.source = source
    size.depth = depth
    return size


def _combined(
    name: str,
    apply: Callable[[int, Any], Any],
    left: TracedSize,
    right: Any,
    swapped: bool = False,
) -> Any:
    result = apply(left, right)
    if type(result) is not int or type(right) not in (int, TracedSize):
        return result
    depth = max(left.depth, getattr(right, "depth", 0)) + 1
    if depth > _DEEPEST:
        return result
    other = getattr(right, "source", right)
    source = (name, other, left.source) if swapped else (name, left.source, other)
    return _made(result, source, depth)


def _ratio(name: str, value: float, size: TracedSize, other: Any) -> float:
    ratio = _TracedRatio(value)
    ratio.source = (name, size.source, getattr(other, "source", other))
    ratio.depth = size.depth + 1
    return ratio


def _rounded(name: str, value: int, ratio: _TracedRatio) -> Any:
    return _made(value, (name, ratio.source), ratio.depth + 1)
