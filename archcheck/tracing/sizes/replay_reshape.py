"""Views and reshapes: which of their numbers were read from a shape, and what that demands.

A number among a reshape's arguments says nothing of where it came from. Most often the elements
tell: of the readings that can be, the one under which none is lost is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations as choices
from itertools import islice
from itertools import product as readings_of
from math import gcd
from typing import Any

from archcheck.evidence.records import SizeRead
from archcheck.evidence.sizes import (
    Size,
    function,
    number,
    product,
)
from archcheck.tracing.sizes.replay import Dims, Step, Unknown


def view(step: Step) -> list[Dims]:
    wanted = step.argument("size", "shape")
    if not isinstance(wanted, tuple | list):
        raise Unknown  # a view as another dtype
    return [_reshaped(step, step.first, wanted)]


def flatten(step: Step) -> list[Dims]:
    shape = step.shape("input")
    rank = len(shape)
    if not rank:
        return [(number(1),)]
    start = step.dimension(rank, "start_dim", default=0)
    end = step.dimension(rank, "end_dim", default=-1)
    return [(*shape[:start], product(shape[start : end + 1]), *shape[end + 1 :])]


def unflatten(step: Step) -> list[Dims]:
    shape = step.shape("input")
    dim = step.dimension(len(shape), "dim")
    parts = _reshaped(step, shape[dim : dim + 1], step.argument("sizes", "unflattened_size"))
    return [(*shape[:dim], *parts, *shape[dim + 1 :])]


def _reshaped(step: Step, source: Dims, wanted: Sequence[Any]) -> Dims:
    """The shape that `wanted` stands for, by the reading of its numbers that loses no element.

    A number may be a size of the input's, a product of neighbouring ones, or just a number. Of
    the readings whose product is that of the source, the one that reads most sizes is taken; if
    there is none, the numbers are numbers, and the op demands that they fit.
    """
    open_place = next((place for place, size in enumerate(wanted) if size == -1), None)
    total = product(source)
    readings = [_readings(step, source, wanted, place) for place in range(len(wanted))]
    best: Dims | None = None
    for shape in islice(readings_of(*readings), 256):
        others = [size for place, size in enumerate(shape) if place != open_place]
        if open_place is None:
            if product(shape) == total:
                best = shape
                break
            continue
        quotient = _quotient(source, others)
        if quotient is not None:
            best = (*shape[:open_place], quotient, *shape[open_place + 1 :])
            break
    plain = tuple(reading[-1] for reading in readings)
    if any(len(reading) > 1 for reading in readings):
        step.replay.ambiguous = True
        if step.replay.reading == "written":
            best = None
    if best is not None:
        if open_place == 0 and source[0].constant == step.recorded()[0]:
            # The batch that a flatten by a fixed width leaves open: elements must stay in it.
            step.equal(best[0], source[0])
        return best
    if best is None:
        plain = _divided(step, source, plain)
    if open_place is None:
        step.equal(total, product(plain))
        return plain
    batch = source[0].constant if source else None
    known = product(size for place, size in enumerate(plain) if place != open_place)
    step.divisible(total, known)
    divisor = known.constant
    rest = total // divisor if divisor else function("quotient", total, known)
    if open_place == 0 and (step.op.failure is not None or step.recorded()[0] == batch):
        step.equal(rest, source[0])
    return (*plain[:open_place], rest, *plain[open_place + 1 :])


def _divided(step: Step, source: Dims, wanted: Dims) -> Dims:
    """The numbers that divide a size between them, the outer or inner one computed from it."""
    now = step.replay.now
    result = list(wanted)
    sizes = [size for size in source if size.constant is None]
    place = 0
    while place < len(wanted) - 1:
        outer, inner = wanted[place].constant, wanted[place + 1].constant
        place += 1
        if outer is None or inner is None or outer < 2 or inner < 2:
            continue
        # Height comes before width, so of two equal sizes the first pair divides the first.
        size = next((size for size in sizes if now(size) == outer * inner), None)
        if size is None:
            continue
        sizes.remove(size)
        step.replay.divided = True
        if step.replay.reading == "outer":
            result[place - 1] = size // inner
        elif step.replay.reading == "inner":
            result[place] = size // outer
        place += 1
    return tuple(result)


def _readings(step: Step, source: Dims, wanted: Sequence[Any], place: int) -> list[Size]:
    """What a number in a reshape can be, the likeliest first, the plain number last."""
    size = wanted[place]
    if not isinstance(size, int):
        raise Unknown
    if isinstance(size, SizeRead):
        return [step.replay.read(size)]
    if size <= 1:
        return [number(size)]
    now = step.replay.now
    aligned = _kept(list(map(now, source)), wanted, place)
    if any(source[at].constant is not None for at in aligned):
        return [number(size)]
    runs = [
        product(source[start:end])
        for start in range(len(source))
        for end in range(start + 1, len(source) + 1)
    ]
    found: list[Size] = []
    likely = [source[at] for at in aligned]
    for candidate in (*likely, *runs, *step.replay.seen(size)):
        if candidate.constant is None and now(candidate) == size and candidate not in found:
            found.append(candidate)
    return [*found[:4], number(size)]


def _kept(source: Sequence[int], wanted: Sequence[int], place: int) -> list[int]:
    """The dimension that a reshape keeps at this place, where all before it or after it stay."""
    behind = len(wanted) - place
    found = []
    if source[: place + 1] == list(wanted[: place + 1]):
        found.append(place)
    if len(source) >= behind and source[len(source) - behind :] == list(wanted[place:]):
        found.append(len(source) - behind)
    return found


def _quotient(source: Dims, divisors: Sequence[Size]) -> Size | None:
    """The product of the source over that of the divisors, where it can be said exactly.

    What is left is the product of some of the source's dimensions, up to a whole number.
    """
    above, symbolic = _split_content(source)
    below, needed = _split_content(divisors)
    wanted = product(needed)
    for count in range(len(symbolic) + 1):
        for used in choices(range(len(symbolic)), count):
            if product(symbolic[place] for place in used) != wanted:
                continue
            rest = [size for place, size in enumerate(symbolic) if place not in used]
            whole = product(rest) * above
            if below > 0 and all(times % below == 0 for _, times in whole.terms):
                return whole // below
    return None


def _split_content(sizes: Sequence[Size]) -> tuple[int, list[Size]]:
    """The whole number in a product, and its factors that depend on the input, without it."""
    factor = 1
    symbolic = []
    for size in sizes:
        content = gcd(*(times for _, times in size.terms))
        factor *= content if size.constant is None else size.constant
        if size.constant is None:
            symbolic.append(size // content)
    return factor, symbolic
