"""Dimensions as what they hold: digits of the dimensions that a pass began with.

A reshape moves no element. Seen as a number with one digit for each dimension, an element's place
stays the same number, written in other digits. So each dimension is a row of `Part`s, outermost
first, and a part is a whole dimension of some tensor, or some digits of one: of 12 rows that became
3 groups of 4, the groups are `Part(rows, 3, stride=4)`, the places in them `Part(rows, 4)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Atom:
    """A dimension that came into being in a pass, of an input or by an op.

    Attributes:
        roots: The input dimensions (value, dimension) that it counts, one after the other, in
            windows or in part; empty where it counts features, or is new.
    """

    size: int
    roots: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class Part:
    """Some digits of an atom: `index // stride % extent`."""

    atom: Atom
    extent: int
    stride: int = 1
    number: int = 0  # tells atoms of equal contents apart

    @property
    def is_whole(self) -> bool:
        return self.stride == 1 and self.extent == self.atom.size


Axis: TypeAlias = tuple[Part, ...]
Axes: TypeAlias = tuple[Axis, ...]


def roots_of(axis: Axis) -> frozenset[tuple[int, int]]:
    """The input dimensions that an axis counts in whole or in part."""
    return frozenset().union(*(part.atom.roots for part in axis))


def size_of(axis: Axis) -> int:
    return prod(part.extent for part in axis)


def sole_root(axis: Axis) -> tuple[int, int] | None:
    """The one input dimension that an axis counts, and nothing beside it."""
    parts = wide(axis) or axis
    if len(parts) != 1 or not parts[0].is_whole or len(parts[0].atom.roots) != 1:
        return None
    return next(iter(parts[0].atom.roots))


def joined(parts: Iterable[Part]) -> Axis:
    """A row of parts, neighbouring digits of one atom written as one."""
    result: list[Part] = []
    for part in parts:
        last = result[-1] if result else None
        if (
            last is not None
            and last.number == part.number
            and last.atom == part.atom
            and last.stride == part.stride * part.extent
        ):
            result[-1] = Part(part.atom, last.extent * part.extent, part.stride, part.number)
        else:
            result.append(part)
    return tuple(result)


def regroup(source: Axes, sizes: Sequence[int]) -> list[Axis] | None:
    """The axes of the result of a row-major reshape.

    Fewer than there are sizes where one cannot be filled by digits of what was there; None where
    elements would be left over.
    """
    queue = [part for axis in source for part in axis]
    result: list[Axis] = []
    for size in sizes:
        taken: list[Part] = []
        if size == 1 and queue and queue[0].extent == 1:
            taken.append(queue.pop(0))
        need = size
        while need > 1:
            if not queue:
                return result
            part = queue.pop(0)
            if need % part.extent == 0:
                taken.append(part)
                need //= part.extent
            elif part.extent % need == 0:
                inner = part.extent // need
                taken.append(Part(part.atom, need, part.stride * inner, part.number))
                queue.insert(0, Part(part.atom, inner, part.stride, part.number))
                need = 1
            else:
                return result
        result.append(joined(taken))
    if any(part.extent > 1 for part in queue):
        return None
    if queue and result:
        result[-1] = joined([*result[-1], *queue])
    return result


def wide(axis: Iterable[Part]) -> Axis:
    """The parts of an axis that have more than one place."""
    return tuple(part for part in axis if part.extent > 1)
