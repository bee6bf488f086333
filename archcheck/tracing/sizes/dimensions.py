"""The dimensions of a model's inputs that may vary, and what they are called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from archcheck.evidence.records import Value, ValueIndex
from archcheck.evidence.trace import Trace
from archcheck.tracing.sizes.replay import Demand

Axis: TypeAlias = tuple[int, int]

# A waveform of ten seconds has more sizes than anyone wants to know.
LARGEST = 2048


@dataclass(frozen=True, slots=True)
class Symbol:
    """A free dimension, or several that share a letter."""

    name: str
    axes: tuple[Axis, ...]
    traced: int
    letter: bool = False


def symbols_of(trace: Trace) -> tuple[Symbol, ...]:
    """Every dimension of an input that could be free: all but the batch, and all with a letter."""
    found: dict[str, Symbol] = {}
    for entry in trace.inputs:
        for value in values_in(entry.value):
            for dim, size in enumerate(trace.values[value].shape):
                letter = entry.free.get(dim) if isinstance(entry.value, ValueIndex) else None
                if letter is None and (dim == 0 or not 1 < size <= LARGEST):
                    continue
                name = letter or f"{value}.{dim}"
                known = found.get(name)
                axes = (*(known.axes if known else ()), (value, dim))
                found[name] = Symbol(name, axes, size, letter is not None)
    return tuple(found.values())


def values_in(nest: Any) -> Iterator[int]:
    """The indices of the values in a nest of inputs or outputs, in order."""
    if isinstance(nest, ValueIndex):
        yield nest.index
    elif isinstance(nest, Mapping):
        for item in nest.values():
            yield from values_in(item)
    elif isinstance(nest, list | tuple):
        for item in nest:
            yield from values_in(item)


def names_of(trace: Trace, demands: Sequence[Demand], symbols: Sequence[Symbol]) -> dict[str, str]:
    """What the dimensions of space and time are called; channels and features have no name."""
    widths = {_width(demand) for demand in demands}
    names = {symbol.name: symbol.name for symbol in symbols if symbol.letter}
    taken = set(names.values())
    places = {axis: symbol for symbol in symbols for axis in symbol.axes}
    for index in dict.fromkeys(value for value, _ in places):
        value = trace.values[index]
        features = {dim for (at, dim), symbol in places.items() if at == index}
        features = {dim for dim in features if places[index, dim].name in widths}
        for dim, name in _letters(trace, value, features).items():
            symbol = places.get((index, dim))
            if symbol is None or symbol.name in names:
                continue
            name = f"{value.name}.{name}" if name in taken else name
            taken.add(name)
            names[symbol.name] = name
    return names


def _width(demand: Demand) -> str | None:
    """The free dimension that a demand on channels or features is about, if it is itself one."""
    if not demand.width:
        return None
    shift = sum(factor for atoms, factor in demand.left.terms if not atoms)
    return (demand.left - shift).symbol


def _letters(trace: Trace, value: Value, features: set[int]) -> dict[int, str]:
    """Names for the dimensions of space and time, from where the channels or features are."""
    rank = len(value.shape)
    floating = value.dtype.startswith(("float", "bfloat", "complex"))
    if rank == 2 and not floating:
        return {1: "T"}
    if rank == 3 and _without_batch(trace, value):
        return {1: "H", 2: "W"}
    if rank == 3 and features & {1, 2}:
        return {2: "L"} if 1 in features else {1: "T"}
    if rank == 4:
        if 3 in features and 1 not in features:
            return {1: "H", 2: "W"}
        images = any(op.name.endswith(("2d", "shuffle", "interpolate")) for op in trace.ops)
        return {2: "H", 3: "W"} if 1 in features or images or value.shape[1] == 1 else {}
    if rank == 5 and features & {1, 2}:
        return {2: "D", 3: "H", 4: "W"} if 1 in features else {1: "T", 3: "H", 4: "W"}
    return {}


def _without_batch(trace: Trace, value: Value) -> bool:
    """Whether a 3-D input goes into a layer for images."""
    return any(trace.ops[user].name.endswith("2d") for user in value.users)
