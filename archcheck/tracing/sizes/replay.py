"""Replays the shape arithmetic of a recorded pass with free sizes in the place of the input's.

Every op that a free size reaches is computed again from its recorded arguments: what shape comes
out, as functions of the free sizes, and what the op demands of what goes in. No tensor is made
and torch is not needed; the `replay_…` files beside this one hold the arithmetic.

What the record cannot tell: a number among the arguments that equals a size (`view(8, 49, 512)`)
may have been read from a shape or written in the code, and of two numbers that divide a size
between them (`view(8, 7, 8, 7, 96)`) either may have been computed. A `Reading` supposes one or
the other; `ambiguous` and `divided` say whether it mattered anywhere. An op without
a rule, or a rule that does not reproduce the recorded shape, makes what comes out unknown: it
demands nothing, and neither does what follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from archcheck.evidence.records import Op, SizeRead, Value, ValueIndex
from archcheck.evidence.sizes import Size, Tables, computed, number, product, scaled
from archcheck.evidence.trace import Trace

Dims: TypeAlias = tuple[Size, ...]
Kind: TypeAlias = Literal["equal", "at_least", "divisible", "broadcast"]


Reading: TypeAlias = Literal["followed", "outer", "inner", "written"]
"""How the numbers among the arguments came about: read from shapes (and where two divide a size,
both written, or the outer or the inner one computed from it), or all written in the code."""


class Unknown(Exception):
    """The record does not tell what shape comes out."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What an op demands of the shapes that it is given.

    `left` equals `right`; is at least `right`; is divisible by `right`; or can be broadcast
    with `right`. `width`: `left` is a number of features or channels, not a place in space.
    `by_values`: what is demanded shows in the values of a tensor only, such as an index that a
    table must have, so that tensors without values do not fail.
    """

    op: int
    kind: Kind
    left: Size
    right: Size
    width: bool = False
    by_values: bool = False

    def holds(self, tables: Tables) -> list[bool]:
        pairs = zip(tables.of(self.left), tables.of(self.right), strict=True)
        if self.kind == "equal":
            return [left == right for left, right in pairs]
        if self.kind == "at_least":
            return [left >= right for left, right in pairs]
        if self.kind == "divisible":
            return [right != 0 and left % right == 0 for left, right in pairs]
        return [left == right or left == 1 or right == 1 for left, right in pairs]


class Replay:
    """One replay of a trace.

    Args:
        rules: For each op's name what it does to shapes.
        symbols: The free dimensions: (index of an input's value, dimension) to the name of the
            symbol; dimensions that vary together share one.
        sizes: What each symbol was in the recorded pass.
        reading: What is supposed about numbers that equal a size.

    Attributes:
        demands: What limits the free sizes, in the order of the ops, each once.
        ambiguous: Some number could have been read or written.
        divided: Some pair of numbers divides a size between them.
        counts: Values that hold the numbers from 0 on, and how many there are.
        hopeless: Some op fails whatever the free sizes are.
    """

    def __init__(
        self,
        trace: Trace,
        rules: Mapping[str, Rule],
        symbols: Mapping[tuple[int, int], Size],
        sizes: Mapping[str, int],
        reading: Reading = "followed",
    ) -> None:
        self.trace = trace
        self.reading = reading
        self.demands: list[Demand] = []
        self.ambiguous = False
        self.divided = False
        self.counts: dict[int, Size] = {}
        self.hopeless = False
        self._rules = rules
        self._traced = Tables({name: [size] for name, size in sizes.items()})
        self._symbols = symbols
        self._shapes: dict[int, Dims | None] = {}
        self._seen: dict[int, list[Size]] = {}
        self._asked: set[tuple[str, str, str]] = set()
        self._done: dict[Any, list[Dims]] = {}
        for (value, dimension), symbol in symbols.items():
            shape = self._shapes.get(value) or _constant(trace.values[value])
            self._enter(value, (*shape[:dimension], symbol, *shape[dimension + 1 :]))
        for op in trace.ops:
            self._run(op)

    def now(self, size: Size) -> int:
        """What a size was in the recorded pass."""
        return self._traced.of(size)[0]

    def shape(self, value: int) -> Dims:
        """The shape of a value; raises `Unknown`."""
        if value not in self._shapes:
            return _constant(self.trace.values[value])
        shape = self._shapes[value]
        if shape is None:
            raise Unknown
        return shape

    def read(self, size: SizeRead) -> Size:
        """The size that a number was computed as; raises `Unknown` where that cannot be said."""
        result = self._computed(size.source)
        if self.now(result) != size:
            raise Unknown
        return result

    def _computed(self, source: Any) -> Size:
        if isinstance(source, int):
            return number(source)
        if not isinstance(source, tuple):
            raise Unknown
        kind, *parts = source
        if kind == "dim":
            return self.shape(parts[0])[parts[1]]
        if kind == "count":
            return product(self.shape(parts[0]))
        if kind in ("ceil", "floor"):
            return self._rounded(kind, parts[0])
        left, right = map(self._computed, parts)
        return computed(kind, left, right)

    def _rounded(self, kind: str, ratio: Any) -> Size:
        """A quotient or a multiple by a fraction, rounded to a whole number again."""
        if not isinstance(ratio, tuple):
            raise Unknown
        name, dividend, divisor = ratio
        if name == "mul" and isinstance(divisor, float) and kind == "floor":
            return scaled(self._computed(dividend), divisor)
        if name != "truediv":
            raise Unknown
        if isinstance(divisor, float) and divisor.is_integer():
            divisor = int(divisor)
        below = self._computed(divisor)
        if kind == "floor":
            return computed("floordiv", self._computed(dividend), below)
        return -computed("floordiv", -self._computed(dividend), below)

    def seen(self, size: int) -> Sequence[Size]:
        """The sizes that depend on the input and were this number in the recorded pass."""
        return self._seen.get(size, ())

    def _enter(self, value: int, shape: Dims | None) -> None:
        self._shapes[value] = shape
        for size in shape or ():
            if size.constant is None:
                known = self._seen.setdefault(self.now(size), [])
                if size not in known:
                    known.append(size)

    def _depends(self, value: int) -> bool:
        """Whether a value's shape is unknown, or any of its sizes depends on the input."""
        if value not in self._shapes:
            return False
        shape = self._shapes[value]
        return shape is None or any(size.constant is None for size in shape)

    def _run(self, op: Op) -> None:
        rule = self._rules.get(op.name)
        if not any(map(self._depends, op.inputs)) and (
            rule is None
            or not any(isinstance(n, SizeRead) or n in self._seen for n in _numbers(op.arguments))
        ):
            return  # whatever the input's sizes, this op does the same
        outputs = [self.trace.values[index].shape for index in op.outputs]
        guessed = op.failure is not None or any(self.trace.values[i].guessed for i in op.inputs)
        key = None if guessed else self._key(op, outputs)
        if key is None or key not in self._done:
            step = Step(self, op)
            shapes = self._ruled(step, rule or _same_shape, outputs, believe=guessed)
            if key is not None and not step.looked_around:
                self._done[key] = shapes
        else:
            # The same op on the same shapes, in another block: it demands nothing new.
            shapes = self._done[key]
        for place, index in enumerate(op.outputs):
            self._enter(index, shapes[place] if place < len(shapes) else self._view_of(index))
            if op.inputs and op.inputs[0] in self.counts:
                shift = op.arguments.get("other") if op.name == "add" else 0
                if isinstance(shift, int) and op.name in _KEEP_NUMBERS:
                    self.counts[index] = self.counts[op.inputs[0]] + shift

    def _ruled(
        self, step: Step, rule: Rule, outputs: Sequence[Sequence[int]], believe: bool
    ) -> list[Dims]:
        """What a rule says comes out, after noting what it says the op demands.

        A rule that does not give what was recorded is wrong about this op, and not heard.
        """
        try:
            shapes = list(rule(step))
        except (Unknown, LookupError, TypeError, ValueError):
            return []
        if not believe and not all(map(self._matches, shapes, outputs)):
            return []
        if step.op.failure is not None or all(map(self._held, step.demands)):
            for demand in step.demands:
                self._demand(demand)
        return shapes

    def _key(self, op: Op, outputs: Sequence[Sequence[int]]) -> Any:
        inputs = [self._frozen(ValueIndex(index)) for index in op.inputs]
        return op.name, op.in_place, *outputs, *inputs, self._frozen(op.arguments)

    def _frozen(self, nest: Any) -> Any:
        """An op's arguments as a key: tensors by their shapes, everything else as it is."""
        if isinstance(nest, ValueIndex):
            if nest.index in self._shapes:
                return ValueIndex, self._shapes[nest.index]
            return ValueIndex, *self.trace.values[nest.index].shape
        if isinstance(nest, Mapping):
            return tuple([(name, self._frozen(item)) for name, item in nest.items()])
        if isinstance(nest, list | tuple):
            return tuple([self._frozen(item) for item in nest])
        if isinstance(nest, slice):
            return (slice, nest.start, nest.stop, nest.step)
        if isinstance(nest, SizeRead):
            return SizeRead, self._read_key(nest)
        return (type(nest), nest)  # True is no 1 here

    def _read_key(self, size: SizeRead) -> Any:
        try:
            return self.read(size)
        except (Unknown, ValueError, LookupError):
            return int(size), size.source

    def _view_of(self, index: int) -> Dims | None:
        """The shape of another view of memory that an op wrote: as it was before."""
        value = self.trace.values[index]
        for earlier in range(index - 1, -1, -1):
            other = self.trace.values[earlier]
            if other.storage == value.storage and other.shape == value.shape and value.version:
                return self._shapes.get(earlier, _constant(other))
        return None

    def _matches(self, shape: Dims, recorded: Sequence[int]) -> bool:
        return tuple(map(self.now, shape)) == tuple(recorded)

    def _held(self, demand: Demand) -> bool:
        return demand.holds(self._traced)[0]

    def _demand(self, demand: Demand) -> None:
        if demand.left.constant is not None and demand.right.constant is not None:
            self.hopeless = self.hopeless or not self._held(demand)
            return
        if demand.kind in ("equal", "broadcast") and demand.left == demand.right:
            return
        asked = (demand.kind, demand.left.key, demand.right.key)
        if asked not in self._asked:
            self._asked.add(asked)
            self.demands.append(demand)


class Step:
    """One op of the record, as its rule sees it."""

    def __init__(self, replay: Replay, op: Op) -> None:
        self.replay = replay
        self.op = op
        self.demands: list[Demand] = []
        # The rule asked for more than the op's own arguments tell.
        self.looked_around = False

    # Arguments

    def argument(self, *names: str, default: Any = None) -> Any:
        """An argument by the first of these names that it has."""
        return self.op.argument(*names, default=default)

    def shape(self, *names: str) -> Dims:
        """The shape of a tensor argument; raises `Unknown` where it is none."""
        value = self.argument(*names)
        if not isinstance(value, ValueIndex):
            raise Unknown
        return self.replay.shape(value.index)

    def shape_if(self, *names: str) -> Dims | None:
        return self.shape(*names) if isinstance(self.argument(*names), ValueIndex) else None

    @property
    def first(self) -> Dims:
        """The shape of the first tensor among the arguments."""
        if not self.op.inputs:
            raise Unknown
        return self.replay.shape(self.op.inputs[0])

    @property
    def inputs(self) -> list[Dims]:
        return [self.replay.shape(index) for index in self.op.inputs]

    def recorded(self, place: int = 0) -> tuple[int, ...]:
        """The recorded shape of an output."""
        return self.replay.trace.values[self.op.outputs[place]].shape

    def flag(self, *names: str) -> bool:
        return bool(self.argument(*names, default=False))

    def dimension(self, rank: int, *names: str, default: int = 0) -> int:
        value = self.argument(*names, default=default)
        if not isinstance(value, int):
            raise Unknown
        return int(value) % rank if rank else 0

    def integers(self, value: Any, count: int) -> list[int]:
        """A number for each dimension of space, given one for all or one each."""
        if isinstance(value, int):
            return [value] * count
        if isinstance(value, tuple | list) and all(isinstance(item, int) for item in value):
            if len(value) == 1:
                return [value[0]] * count
            if len(value) == count:
                return list(value)
        raise Unknown

    def follow(self, value: Any, near: Iterable[Size] = ()) -> Size:
        """The size that a number among the arguments was read from, or the number itself.

        `near` are the likeliest: the sizes of the op's own inputs.
        """
        if not isinstance(value, int):
            raise Unknown
        if isinstance(value, SizeRead):
            return self.replay.read(value)
        candidates = [size for size in near if size.constant is None]
        candidates = [size for size in candidates if self.replay.now(size) == value]
        candidates += self.replay.seen(value)
        if value <= 1 or not candidates:
            return number(value)
        self.replay.ambiguous = True
        return number(value) if self.replay.reading == "written" else candidates[0]

    def is_layers(self, kind: str) -> bool:
        """Whether the op runs in a layer whose class says this: its numbers are the layer's."""
        self.looked_around = True
        module = self.replay.trace.module_of(self.op)
        return module is not None and kind in module.type

    # Demands

    def equal(self, left: Size, right: Size | int, width: bool = False) -> None:
        self.demands.append(Demand(self.op.index, "equal", left, number(right), width))

    def at_least(self, left: Size, right: Size | int, by_values: bool = False) -> None:
        demand = Demand(self.op.index, "at_least", left, number(right), by_values=by_values)
        self.demands.append(demand)

    def divisible(self, left: Size, right: Size | int) -> None:
        self.demands.append(Demand(self.op.index, "divisible", left, number(right)))

    def broadcast(self, *shapes: Dims) -> Dims:
        """The shape that these broadcast to, as in the recorded pass."""
        now = self.replay.now
        rank = max(map(len, shapes), default=0)
        result: list[Size] = []
        for place in range(-rank, 0):
            sizes = [shape[place] for shape in shapes if len(shape) >= -place]
            wide = [size for size in sizes if now(size) != 1] or sizes
            # Equal sizes in different words: the simplest says it.
            one = now(wide[0]) == 1 if wide else False
            best = min(wide, key=lambda size: ((size.constant is None) != one, len(size.key)))
            for size in sizes:
                if size != best and size.constant != 1:
                    self.demands.append(Demand(self.op.index, "broadcast", size, best))
            result.append(best)
        return tuple(result)


Rule: TypeAlias = Callable[[Step], "Iterable[Dims]"]

# What an index of every place may go through before it is looked up.
_KEEP_NUMBERS = frozenset(
    "unsqueeze expand expand_as view reshape repeat to long contiguous add".split()
)


def _same_shape(step: Step) -> list[Dims]:
    """An op without a rule: where one tensor keeps its shape, it is taken to do so always."""
    if len(step.op.inputs) != 1 or len(step.op.outputs) != 1:
        raise Unknown
    source = step.replay.trace.values[step.op.inputs[0]].shape
    if source != step.recorded():
        raise Unknown
    return [step.first]


def _constant(value: Value) -> Dims:
    return tuple(map(number, value.shape))


def _numbers(arguments: Any) -> Iterator[int]:
    if isinstance(arguments, bool):
        return
    if isinstance(arguments, int):
        yield arguments
    elif isinstance(arguments, Mapping):
        for item in arguments.values():
            yield from _numbers(item)
    elif isinstance(arguments, list | tuple):
        for item in arguments:
            yield from _numbers(item)
    elif isinstance(arguments, slice):
        yield from _numbers((arguments.start, arguments.stop, arguments.step))
