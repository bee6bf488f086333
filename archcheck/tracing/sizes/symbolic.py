"""Every size of every value of a pass as a function of the sizes of its inputs.

The pass is made again, recorded, at other sizes, which are chosen unlike one another and unlike
every other size, so that none is taken for another that happens to be equal. The shape arithmetic
of one of these passes is replayed (see `replay`); what it gives is compared with all the others.
Where the replay knows nothing, or is wrong, a multiple of an expression that it did give is fitted
to two passes and must hold in the rest. What is still not told stays a number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeAlias

from archcheck.evidence.records import ValueIndex
from archcheck.evidence.sizes import Size, Tables, free, number
from archcheck.evidence.symbolic import FreeSize, SymbolicShapes
from archcheck.evidence.trace import Trace
from archcheck.tracing.sizes.dimensions import Axis, Symbol, values_in
from archcheck.tracing.sizes.replay import Replay, Unknown
from archcheck.tracing.sizes.solve import RULES, accepted_sizes

Again: TypeAlias = Callable[[Mapping[Axis, int]], Trace | None]
"""The trace of the same model at other sizes, None where the pass does not end."""

# In what steps a size is tried, until the pass takes the same way as before. If it does not in the
# coarsest, which most models take that take another size at all, the size is not free.
STEPS = (2, 4, 8, 16, 32, 64, 14, 28, 56)
_COARSE = 448
SECONDS = 20.0
# Passes that an expression is compared with, besides the one that was recorded.
_PASSES = 3
_LONGEST = 2048
# How far from the traced size, in steps; no two alike, so that no line fits two sizes by chance.
_DISTANCES = ((1, 3, 5, 7, 9, 11), (3, 7, 2, 5, 13, 4), (6, 2, 9, 3, 5, 8))


@dataclass(frozen=True, slots=True)
class _Pass:
    """A pass at other sizes, aligned with the recorded one."""

    sizes: Mapping[str, int]
    trace: Trace


def symbolic_shapes(trace: Trace, again: Again) -> SymbolicShapes:
    """The symbolic shapes of a trace.

    Args:
        again: Makes the pass again at other sizes.
    """
    if trace.rung is None or not trace.complete:
        return SymbolicShapes(reason="the pass did not reach its end")
    search = _Search(trace, again)
    passes = search.passes()
    if not passes:
        return SymbolicShapes(reason=search.reason)
    symbols = search.symbols
    everywhere = [_Pass({one.key: one.traced for one in symbols}, trace), *passes]
    return SymbolicShapes(
        symbols,
        _Shapes(symbols, everywhere).found(),
        tuple(tuple(each.sizes[one.key] for one in symbols) for each in passes),
    )


def candidates_of(trace: Trace) -> tuple[FreeSize, ...]:
    """The sizes of the inputs that may be free, those of one letter together.

    The first dimensions of several inputs count the same samples where they are equal, and other
    dimensions of several inputs the same places.
    """
    found: dict[str, FreeSize] = {}
    shared: dict[tuple[bool, int], str] = {}
    for place, entry in enumerate(trace.inputs):
        for value in values_in(entry.value):
            own: dict[tuple[bool, int], str] = {}
            for dim, size in enumerate(trace.values[value].shape):
                letter = entry.free.get(dim) if isinstance(entry.value, ValueIndex) else None
                if letter is None and not 1 <= size <= _LONGEST:
                    continue
                like = (dim == 0, size)
                key = letter or (shared.get(like) if place and size > 1 else None)
                key = key or f"{value}.{dim}"
                known = found.get(key)
                axes = (*(known.axes if known else ()), (value, dim))
                found[key] = FreeSize(key, axes, size, letter=letter is not None)
                own.setdefault(like, key)
            shared |= {like: key for like, key in own.items() if like not in shared}
    return tuple(found.values())


class _Search:
    """Finds sizes at which the pass takes the same way as it was recorded."""

    def __init__(self, trace: Trace, again: Again) -> None:
        self._trace = trace
        self._again = again
        self._end = time.monotonic() + SECONDS
        self._ways = _way(trace)
        self._sizes_seen = {size for value in trace.values for size in value.shape}
        self._rejected = False
        self.symbols: tuple[FreeSize, ...] = ()

    @property
    def reason(self) -> str:
        if self._rejected:
            return "at other input sizes the pass takes another way, or fails"
        return "no input has a size that may vary"

    def passes(self) -> list[_Pass]:
        """Passes with all free sizes changed at once; `symbols` says which are free."""
        promising = self._promising()
        found = self._together(promising)
        if not found and promising:
            chosen: tuple[FreeSize, ...] = ()
            for one in (*promising, *_tied(promising)):
                if {axis for each in chosen for axis in each.axes}.isdisjoint(one.axes):
                    chosen = self._with(chosen, one)
            found = self._together(tuple(sorted(chosen, key=lambda one: one.axes)))
        return found

    def _promising(self) -> tuple[FreeSize, ...]:
        """The candidates that the pass, and what is known of valid sizes, leave some freedom."""
        candidates = candidates_of(self._trace)
        symbols = [Symbol(c.key, c.axes, c.traced, c.letter) for c in candidates]
        accepted = accepted_sizes(self._trace, symbols)
        known = {axis: sizes for sizes in self._trace.valid_input_sizes for axis in sizes.axes}
        return tuple(
            replace(one, multiple_of=sizes.multiple_of if sizes is not None else 1)
            for one in candidates
            for sizes in [known.get(one.axes[0])]
            if len(accepted.get(one.key, ())) != 1 and (sizes is None or sizes.low < sizes.high)
        )

    def _together(self, symbols: tuple[FreeSize, ...]) -> list[_Pass]:
        """Passes with all these symbols changed at once; none where one of them fails."""
        found: list[_Pass] = []
        for place in range(_PASSES if symbols else 0):
            one = self._pass(symbols, place)
            if one is None:
                return []
            found.append(one)
        self.symbols = symbols
        return found

    def _with(self, chosen: tuple[FreeSize, ...], one: FreeSize) -> tuple[FreeSize, ...]:
        """The symbols with one more, in the least steps that work, if there are any."""
        if self._pass((*chosen, one), 0) is not None:
            return (*chosen, one)
        if self._pass((*chosen, replace(one, multiple_of=_COARSE)), 0) is None:
            return chosen
        for step in STEPS:
            stepped = replace(one, multiple_of=step)
            if step > one.multiple_of and self._pass((*chosen, stepped), 0) is not None:
                return (*chosen, stepped)
        return (*chosen, replace(one, multiple_of=_COARSE))

    def _pass(self, symbols: Sequence[FreeSize], place: int) -> _Pass | None:
        if time.monotonic() > self._end:
            return None
        sizes: dict[str, int] = {}
        for number_, one in enumerate(symbols):
            distances = _DISTANCES[place]
            distance = distances[number_ % len(distances)] + number_ // len(distances)
            size = one.traced + one.multiple_of * distance
            while size in self._sizes_seen or size in sizes.values():
                size += one.multiple_of
            sizes[one.key] = size
        trace = self._again({axis: sizes[one.key] for one in symbols for axis in one.axes})
        if trace is None or _way(trace) != self._ways:
            self._rejected = True
            return None
        return _Pass(sizes, trace)


def _tied(symbols: Sequence[FreeSize]) -> Iterator[FreeSize]:
    """Sizes of one input that are equal, as one: height and width of a model that takes squares."""
    groups: dict[tuple[int, int], list[FreeSize]] = {}
    for one in symbols:
        if all(dim for _, dim in one.axes) and not one.letter:
            groups.setdefault((one.axes[0][0], one.traced), []).append(one)
    for first, *others in groups.values():
        if others:
            yield replace(first, axes=(*first.axes, *(a for each in others for a in each.axes)))


def _way(trace: Trace) -> list[tuple[str, int, int]]:
    """Which ops ran, and of how many dimensions what they gave has."""
    return [
        (op.name, len(op.outputs), sum(len(trace.values[index].shape) for index in op.outputs))
        for op in trace.ops
    ] + [("", len(trace.values), len(trace.failures))]


class _Shapes:
    """Expressions for all sizes that hold in all passes.

    Args:
        passes: The recorded pass first.
    """

    def __init__(self, symbols: Sequence[FreeSize], passes: Sequence[_Pass]) -> None:
        self._passes = passes
        self._tables = Tables({one.key: [p.sizes[one.key] for p in passes] for one in symbols})
        unlike = passes[1]
        self._replays = [
            Replay(
                each.trace,
                RULES,
                {axis: free(one.key) for one in symbols for axis in one.axes},
                each.sizes,
            )
            for each in (unlike, passes[-1])
        ]
        self._known: dict[tuple[int, ...], Size | None] = {}

    def found(self) -> dict[int, tuple[Size | None, ...]]:
        """The shapes of the values that depend on a free size."""
        shapes = [[each.trace.values[i].shape for each in self._passes] for i in self._indices()]
        for index, seen in enumerate(shapes):
            for dim, size in enumerate(self._replayed(index)):
                column = tuple(shape[dim] for shape in seen)
                if column not in self._known and tuple(self._tables.of(size)) == column:
                    self._known[column] = size
        expressions = [one for one in self._known.values() if one is not None]
        fit = _Fit(expressions, self._tables)
        result: dict[int, tuple[Size | None, ...]] = {}
        for index, seen in enumerate(shapes):
            columns = list(zip(*seen, strict=True))
            if all(len(set(column)) == 1 for column in columns):
                continue
            result[index] = tuple(self._size(column, fit) for column in columns)
        return result

    def _indices(self) -> range:
        return range(len(self._passes[0].trace.values))

    def _replayed(self, index: int) -> Iterator[Size]:
        for replay in self._replays:
            try:
                yield from replay.shape(index)
            except Unknown:
                continue
            return

    def _size(self, column: tuple[int, ...], fit: _Fit) -> Size | None:
        if len(set(column)) == 1:
            return number(column[0])
        if column not in self._known:
            self._known[column] = fit.of(column)
        return self._known[column]


class _Fit:
    """Finds `factor * size + shift` over known sizes and their products, for a column of sizes."""

    def __init__(self, sizes: Sequence[Size], tables: Tables) -> None:
        pool = [size for size in dict.fromkeys(sizes) if size.constant is None]
        pool.sort(key=lambda size: len(size.key))
        products = [
            one * other for place, one in enumerate(pool[:16]) for other in pool[: place + 1]
        ]
        self._columns = [(size, tables.of(size)) for size in (*pool, *products)]

    def of(self, column: tuple[int, ...]) -> Size | None:
        for size, known in self._columns:
            fitted = _fitted(column, known, size)
            if fitted is not None:
                return fitted
        return None


def _fitted(column: Sequence[int], known: Sequence[int], size: Size) -> Size | None:
    """The column as a whole multiple, or a whole part, of a size; None where it is neither."""
    rise = known[1] - known[0]
    if rise == 0:
        return None
    factor = Fraction(column[1] - column[0], rise)
    shift = column[0] - factor * known[0]
    if factor == 0 or any(
        factor * here + shift != there for here, there in zip(known, column, strict=True)
    ):
        return None
    over = shift * factor.denominator
    if over.denominator != 1:
        return None
    return (size * factor.numerator + int(over)) // factor.denominator
