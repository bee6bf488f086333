"""When two shapes can be multiplied as matrices."""

from __future__ import annotations

from archcheck.evidence import Shape
from archcheck.shapes import broadcast


def clash(left: Shape, right: Shape) -> str | None:
    """Why `left @ right` is impossible, in words; None if it is not."""
    if not left or not right:
        return "a single number is no matrix"
    inner = right[-2] if len(right) > 1 else right[0]
    if left[-1] != inner:
        return f"the inner sizes {left[-1]} and {inner} differ"
    if broadcast(left[:-2], right[:-2]) is None:
        return "the dimensions before the matrices do not broadcast"
    return None


def transposed_fits(left: Shape, right: Shape) -> bool:
    """Whether swapping the last two dimensions of the second factor makes it possible."""
    if len(right) < 2:
        return False
    return clash(left, (*right[:-2], right[-1], right[-2])) is None
