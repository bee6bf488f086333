"""When two shapes can be multiplied as matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from archcheck.analysis.shapes.arithmetic import broadcast, text

if TYPE_CHECKING:
    from archcheck.core.target import Shape

# How many dimensions the factors of an operator have that takes no others.
_RANKS = {
    "mm": (2, 2), "bmm": (3, 3), "mv": (2, 1), "dot": (1, 1), "addmm": (2, 2), "addmv": (2, 1),
    "baddbmm": (3, 3), "addbmm": (3, 3),
}  # fmt: skip


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


def rank_clash(kind: str, left: Shape, right: Shape) -> str | None:
    """Why two shapes are not what an operator multiplies, in words; None if they are."""
    wanted = _RANKS.get(kind)
    if wanted is None or (len(left), len(right)) == wanted:
        return None
    what = {1: "a vector", 2: "a matrix", 3: "a batch of matrices"}
    if wanted[0] == wanted[1]:
        plural = {1: "vectors", 2: "matrices", 3: "batches of matrices"}
        return f"`{kind}` takes {plural[wanted[0]]} only"
    return f"`{kind}` takes {what[wanted[0]]} and {what[wanted[1]]}"


def transposed_fits(left: Shape, right: Shape) -> bool:
    """Whether swapping the last two dimensions of the second factor makes it possible."""
    if len(right) < 2:
        return False
    return clash(left, (*right[:-2], right[-1], right[-2])) is None


def attention_clash(
    query: Shape, key: Shape, value: Shape, mask: Shape = (), grouped: bool = False
) -> str | None:
    """Return why scaled dot product attention is impossible; None where the shapes fit."""
    if query[-1:] != key[-1:]:
        return f"the widths of query and key, {query[-1]} and {key[-1]}, differ"
    if key[-2:-1] != value[-2:-1]:
        return f"key and value have different lengths, {key[-2]} and {value[-2]}"
    batches = [query[:-2], key[:-2], value[:-2]]
    if not grouped and not _fit(*batches):
        return "the batches of query, key and value do not fit together"
    scores = (*query[:-1], *key[-2:-1])
    if len(mask) > len(scores) or not _fit(scores, mask):
        return f"the mask is {text(mask)}, the scores are {text(scores)}"
    return None


def _fit(shape: Shape, *others: Shape) -> bool:
    """Return whether shapes broadcast."""
    for other in others:
        common = broadcast(shape, other)
        if common is None:
            return False
        shape = common
    return True


def einsum_clash(equation: str, shapes: Sequence[Shape]) -> str | None:
    """Why an equation does not fit its operands, in words; None where it may."""
    left = equation.replace(" ", "").partition("->")[0]
    operands = left.split(",")
    if len(operands) != len(shapes):
        return f"{len(operands)} operands are named, {len(shapes)} are given"
    sizes: dict[str, int] = {}
    for labels, shape in zip(operands, shapes, strict=True):
        if "." in labels:
            continue
        if len(labels) != len(shape):
            return f"`{labels}` names {len(labels)} dimensions of {len(shape)}"
        for label, size in zip(labels, shape, strict=True):
            known = sizes.setdefault(label, size)
            if known != size and 1 not in (known, size):
                return f"`{label}` is {known} in one operand and {size} in another"
    return None
