"""The arithmetic of shapes: how they are written, broadcast, factored and guessed at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archcheck.core.target import Shape


def text(shape: Sequence[int | str]) -> str:
    """A shape as messages write it: `[8, 3, 32, 32]`."""
    return f"[{', '.join(map(str, shape))}]"


def grid(sizes: Sequence[int]) -> str:
    """Spatial sizes: `3 x 3`."""
    return " x ".join(map(str, sizes))


def count(number: int, noun: str, plural: str | None = None) -> str:
    """A number and its noun: `1 channel`, `64 channels`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def broadcast(first: Shape, second: Shape) -> Shape | None:
    """The shape that two operands have together, None if they have none."""
    rank = max(len(first), len(second))
    sizes = []
    for one, other in zip(aligned(first, rank), aligned(second, rank), strict=True):
        if one != other and 1 not in (one, other):
            return None
        sizes.append(other if one == 1 else one)
    return tuple(sizes)


def aligned(shape: Shape, rank: int) -> Shape:
    """The shape with ones in front, as broadcasting reads it."""
    return (1,) * (rank - len(shape)) + shape


def clashes(first: Shape, second: Shape) -> tuple[int, ...]:
    """The dimensions, counted from the end (-1 is the last), that do not broadcast."""
    return tuple(
        -place
        for place, (one, other) in enumerate(
            zip(reversed(first), reversed(second), strict=False), start=1
        )
        if one != other and 1 not in (one, other)
    )


def without_ones(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1)


def prefix_products(shape: Shape) -> Iterator[int]:
    """Of (2, 3, 4): 2, 6, 24."""
    total = 1
    for size in shape:
        total *= size
        yield total


def spatial_for(features: int, like: Shape) -> Shape | None:
    """The map with as many channels as `like` whose elements are this many.

    Args:
        features: Channels times spatial sizes.
        like: Channels, then the spatial sizes that arrived: (512, 2, 2).

    Returns:
        (3, 3) for 4608 features; None where no map of a similar form has this many.
    """
    channels, *arrived = like
    if not arrived or channels < 1 or features % channels:
        return None
    cells = features // channels
    if len(arrived) == 1:
        return (cells,)
    if len(set(arrived)) == 1:
        root = round(cells ** (1 / len(arrived)))
        return (root,) * len(arrived) if root ** len(arrived) == cells else None
    if len(arrived) == 2 and min(arrived) > 0:
        # The same proportions, as nearly as whole numbers allow.
        wanted = arrived[0] / arrived[1]
        pairs = [
            pair
            for low in range(1, isqrt(cells) + 1)
            if cells % low == 0
            for pair in ((low, cells // low), (cells // low, low))
        ]
        best = min(pairs, key=lambda pair: abs(pair[0] / pair[1] - wanted))
        return best if abs(best[0] / best[1] - wanted) < 0.25 * wanted else None
    return None


def flattened(number: int, like: Shape) -> str:
    """Where a flattened width comes from: `2048 is 512 channels of 2 x 2`."""
    channels, *spatial = like
    if len(spatial) == 1:
        return f"{number} is {count(channels, 'channel')} of length {spatial[0]}"
    return f"{number} is {count(channels, 'channel')} of {grid(spatial)}"
