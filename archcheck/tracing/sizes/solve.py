"""Which sizes of its input's dimensions a model accepts.

Found by replaying the shape arithmetic of the recorded pass (see `replay`), not by trying sizes
out; only the ends of what was found, and the sizes next to them, are confirmed by real passes,
through a callback. Where the record leaves a choice, a pass decides; where a pass contradicts the
replay, or nothing can confirm it, the answer is silence: no `Sizes` for that dimension.

    valid_sizes(trace, confirm) -> tuple[Sizes, ...]

`confirm(sizes)` runs the model once more with other input sizes, keyed by (index of the input's
value, dimension), all others as they were, and tells whether the pass reached its end with the
outputs' ranks and, unless it was changed, their batch as before; None where it cannot tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from archcheck.evidence.records import SizeAnswer, Sizes
from archcheck.evidence.sizes import Size, Tables, free
from archcheck.evidence.trace import Trace
from archcheck.tracing.sizes.dimensions import Axis, Symbol, names_of, symbols_of
from archcheck.tracing.sizes.replay import Demand, Reading, Replay, Rule
from archcheck.tracing.sizes.replay_arrays import ARRAYS
from archcheck.tracing.sizes.replay_layers import LAYERS
from archcheck.tracing.sizes.replay_views import VIEWS
from archcheck.tracing.sizes.replay_windows import WINDOWS

Confirm: TypeAlias = Callable[[Mapping[Axis, int]], bool | None]

RULES: Mapping[str, Rule] = {**WINDOWS, **LAYERS, **VIEWS, **ARRAYS}
SEARCHED = 1024
# What models ask their input's size to be a multiple of.
_USUAL_STEPS = (2, 4, 7, 8, 14, 16, 28, 32, 64)


@dataclass(frozen=True, slots=True)
class _Range:
    """Sizes `low`, `low + step`, ... `high` of symbols that vary together.

    `accepted` are all that the replay accepts; `rejected` are those next to the range, where a
    pass can show that they are.
    """

    symbols: tuple[Symbol, ...]
    low: int
    high: int
    step: int
    searched: int
    limited_by: int | None
    accepted: frozenset[int]
    rejected: tuple[int, ...]

    @property
    def has_others(self) -> bool:
        """Whether sizes that are not in this range are accepted too."""
        return not self.accepted.issubset(range(self.low, self.high + 1, self.step))

    @property
    def limits(self) -> bool:
        return (self.low, self.high, self.step) != (1, self.searched, 1)


def valid_sizes(trace: Trace, confirm: Confirm | None = None) -> tuple[Sizes, ...]:
    """The sizes of `answered_sizes` alone."""
    return answered_sizes(trace, confirm)[0]


def answered_sizes(
    trace: Trace, confirm: Confirm | None = None
) -> tuple[tuple[Sizes, ...], Mapping[str, SizeAnswer]]:
    """The sizes of the spatial and the free (lettered) dimensions that the model accepts.

    A dimension that nothing limits is left out, unless the user left it free by a letter.
    Dimensions that cannot vary alone (two inputs of one length; height and width of a model that
    failed on the traced ones) are reported each, `tied` to the others.

    Args:
        confirm: Runs a pass with other sizes; without it the replay is believed where it leaves
            no choice.

    Returns:
        The sizes, and for each dimension what kind of answer there is: nothing limits it, it has
        a range, bands or one size only, or that could not be told.
    """
    symbols = symbols_of(trace)
    if not symbols or trace.rung is None:
        return (), {}
    found = _Search(trace, symbols, "followed")
    names = names_of(trace, found.replay.demands, symbols)
    if found.replay.hopeless:
        return (), dict.fromkeys(names.values(), "unknown")
    ranges = [
        item
        for item in _chosen(trace, symbols, found, confirm)
        if any(symbol.name in names for symbol in item.symbols)
    ]
    limited = [item for item in ranges if item.limits]
    if confirm is not None and not _confirmed(limited, confirm):
        limited = [
            sure
            for item in limited
            if (sure := item if _confirmed([item], confirm) else _exact(item, confirm)) is not None
        ]
    kept = limited + [item for item in ranges if not item.limits and item.symbols[0].letter]
    result = [sizes for item in kept for sizes in _reported(item, names)]
    order = {name: place for place, name in enumerate(names.values())}
    free = {
        names[symbol.name]
        for item in ranges
        if not item.limits
        for symbol in item.symbols
        if symbol.name in names
    }
    answers: dict[str, SizeAnswer] = {name: "any" if name in free else "unknown" for name in order}
    answers.update((sizes.dimension, _kind(sizes)) for sizes in result)
    return tuple(sorted(result, key=lambda sizes: order[sizes.dimension])), answers


def _kind(sizes: Sizes) -> SizeAnswer:
    if sizes.others:
        return "bands"
    if sizes.low == sizes.high:
        return "only"
    return (
        "any" if (sizes.low, sizes.high, sizes.multiple_of) == (1, sizes.searched, 1) else "range"
    )


def _reported(item: _Range, names: Mapping[str, str]) -> Iterator[Sizes]:
    own = [names[symbol.name] for symbol in item.symbols if symbol.name in names]
    for symbol in item.symbols:
        if symbol.name in names:
            name = names[symbol.name]
            yield Sizes(
                name,
                symbol.traced,
                item.low,
                item.high,
                item.step,
                item.searched,
                item.limited_by,
                tuple(other for other in own if other != name),
                symbol.axes,
                item.has_others,
            )


def _chosen(
    trace: Trace, symbols: Sequence[Symbol], found: _Search, confirm: Confirm | None
) -> Iterator[_Range]:
    """The ranges under the reading of the record that real passes agree with."""
    readings: list[Reading] = []
    if found.replay.divided:
        readings += ["outer", "inner"]
    if found.replay.ambiguous:
        readings.append("written")
    others = [_Search(trace, symbols, reading) for reading in readings]
    alternatives = [other.by_symbols for other in others if not other.replay.hopeless]
    alike: dict[tuple[frozenset[int], ...], list[list[_Range]]] = {}
    for group, item in found.by_symbols.items():
        candidates = [item]
        for alternative in alternatives:
            other = alternative.get(group)
            if other is not None and all(other.accepted != one.accepted for one in candidates):
                candidates.append(other)
        alike.setdefault(tuple(one.accepted for one in candidates), []).append(candidates)
    for groups in alike.values():
        # Height and width mostly have the same choice, which one pass settles for both.
        symbols = [symbol for candidates in groups for symbol in candidates[0].symbols]
        left = list(range(len(groups[0])))
        while len(left) > 1 and confirm is not None:
            size = _told_apart(groups[0][left[0]], groups[0][left[1]])
            accepted = confirm(_at(symbols, size))
            if accepted is None:
                break
            left = [place for place in left if (size in groups[0][place].accepted) == accepted]
        if len(left) == 1:
            yield from (candidates[left[0]] for candidates in groups)


def _told_apart(one: _Range, other: _Range) -> int:
    """The size nearest to the traced one that only one of the two accepts."""
    traced = one.symbols[0].traced
    return min(one.accepted ^ other.accepted, key=lambda size: (abs(size - traced), size))


def _at(symbols: Sequence[Symbol], size: int) -> dict[Axis, int]:
    return {axis: size for symbol in symbols for axis in symbol.axes}


def _confirmed(ranges: Sequence[_Range], confirm: Confirm) -> bool:
    """Whether real passes agree with every end of these ranges, and with the sizes outside.

    Ranges of the same sizes are tried together, height and width in one pass.
    """
    groups: dict[tuple[Any, ...], list[_Range]] = {}
    for item in ranges:
        groups.setdefault((item.low, item.high, item.step, item.rejected), []).append(item)
    for (low, high, _, rejected), group in groups.items():
        symbols = [symbol for item in group for symbol in item.symbols]
        if not all(confirm(_at(symbols, size)) for size in dict.fromkeys((low, high))):
            return False
        if any(confirm(_at(symbols, size)) is not False for size in rejected):
            return False
    return True


def _exact(item: _Range, confirm: Confirm) -> _Range | None:
    """The traced size alone, where passes reject its neighbours and all the usual multiples.

    A model that checks its input's size by itself accepts less than its operators do.
    """
    traced = item.symbols[0].traced
    if traced not in item.accepted or not confirm(_at(item.symbols, traced)):
        return None  # the model fails on it too, for another reason
    distances = (-1, 1, *_USUAL_STEPS, traced)
    others = [traced + distance for distance in distances if traced + distance > 0]
    tried = [size for size in others if size in item.accepted or size in item.rejected]
    if any(confirm(_at(item.symbols, size)) is not False for size in tried):
        return None
    return replace(item, low=traced, high=traced, step=1, limited_by=None)


def accepted_sizes(trace: Trace, symbols: Sequence[Symbol]) -> Mapping[str, frozenset[int]]:
    """The sizes that the shape arithmetic of a pass accepts, by symbol, as far as it tells."""
    if not symbols:
        return {}
    ranges = _Search(trace, symbols, "followed").by_symbols.values()
    return {symbol.name: item.accepted for item in ranges for symbol in item.symbols}


class _Search:
    """The sizes that one replay lets each free dimension have."""

    def __init__(self, trace: Trace, symbols: Sequence[Symbol], reading: Reading) -> None:
        self._symbols = symbols
        self._traced = {symbol.name: symbol.traced for symbol in symbols}
        self.replay = Replay(
            trace,
            RULES,
            {axis: free(symbol.name) for symbol in symbols for axis in symbol.axes},
            self._traced,
            reading,
        )
        self._failed = bool(trace.failures)
        self._reads_values = trace.rung == "real"
        self.by_symbols = {item.symbols: item for item in self._ranges()}

    def _ranges(self) -> Iterator[_Range]:
        """One for each dimension, or for each group of dimensions that only vary together."""
        done: set[str] = set()
        for symbol in self._symbols:
            if symbol.name in done:
                continue
            group: tuple[Symbol, ...] = (symbol,)
            found = self._vary(group)
            # After a failure no size is known to be right, so height and width go together.
            if self._failed or found is None or len(found.accepted) <= 2:
                partners = self._partners(symbol)
                together = self._vary(partners) if len(partners) > 1 else None
                if together is not None and (
                    self._failed or found is None or len(together.accepted) > len(found.accepted)
                ):
                    group, found = partners, together
            done.update(member.name for member in group)
            if found is not None:
                yield found

    def _partners(self, symbol: Symbol) -> tuple[Symbol, ...]:
        """Dimensions of the same size that demands name together with this one."""
        named: set[str] = set()
        for demand in self.replay.demands:
            symbols = set(_symbols_in(demand.left)) | set(_symbols_in(demand.right))
            if symbol.name in symbols:
                named |= symbols
        return tuple(
            other
            for other in self._symbols
            if other.name in named and other.traced == symbol.traced
        )

    def _vary(self, group: tuple[Symbol, ...]) -> _Range | None:
        """The accepted sizes around the traced one, or nearest to it; None where there are none."""
        traced = group[0].traced
        searched = SEARCHED if traced <= SEARCHED // 2 else 2 * traced
        sizes = list(range(1, searched + 1))
        columns = {name: [size] * searched for name, size in self._traced.items()}
        columns.update((symbol.name, sizes) for symbol in group)
        tables = Tables(columns)
        names = {symbol.name for symbol in group}
        rejected_by: list[Demand | None] = [None] * searched
        for demand in self.replay.demands:
            if names.isdisjoint(_symbols_in(demand.left)) and names.isdisjoint(
                _symbols_in(demand.right)
            ):
                continue
            for place, holds in enumerate(demand.holds(tables)):
                if not holds and rejected_by[place] is None:
                    rejected_by[place] = demand
        accepted = frozenset(size for size in sizes if rejected_by[size - 1] is None)
        if not accepted or (traced not in accepted and not self._failed):
            return None
        middle = min(accepted, key=lambda size: (abs(size - traced), size))
        low, high, step = _progression(accepted, middle, searched)
        near = [high + 1, low - 1] if step == 1 else [middle + 1, high + step, low - step]
        outside = {size: rejected_by[size - 1] for size in near if 1 <= size <= searched}
        if None in outside.values():  # more than one range: the nearest size between two
            size = min(set(sizes) - accepted, key=lambda size: abs(size - middle))
            outside = {size: rejected_by[size - 1]}
        shown = {
            size: demand
            for size, demand in outside.items()
            if demand is not None and (self._reads_values or not demand.by_values)
        }
        limit = next((demand.op for demand in outside.values() if demand is not None), None)
        return _Range(group, low, high, step, searched, limit, accepted, tuple(shown))


def _progression(accepted: frozenset[int], middle: int, searched: int) -> tuple[int, int, int]:
    """The accepted sizes around one, as their first, their last and the step between them.

    The sizes next to one another, where there are no others; else, where what is accepted comes
    back at regular distances, every size of one such distance.
    """
    low = high = middle
    while high + 1 in accepted:
        high += 1
    while low - 1 in accepted:
        low -= 1
    if high - low + 1 == len(accepted):
        return low, high, 1
    period = _period(accepted, middle, searched)
    if period is None:
        return low, high, 1
    low = high = middle
    while high + period in accepted:
        high += period
    while low - period in accepted:
        low -= period
    return low, high, period


def _period(accepted: frozenset[int], middle: int, searched: int) -> int | None:
    """The distance at which what is accepted, and nothing else, comes back around a size."""
    for period in range(2, searched // 2):
        pattern = {size % period for size in range(middle, middle + period) if size in accepted}
        if len(pattern) == period or not pattern:
            continue
        # The first period may lack sizes that are too small for other reasons.
        if all(
            (size % period in pattern) == (size in accepted) for size in range(period, searched)
        ):
            return period
    return None


def _symbols_in(size: Size) -> Iterator[str]:
    for atoms, _ in size.terms:
        for atom in atoms:
            if atom.kind == "symbol":
                yield atom.parts[0]
            else:
                for part in atom.parts:
                    if isinstance(part, Size):
                        yield from _symbols_in(part)
