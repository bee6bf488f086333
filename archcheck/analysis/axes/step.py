"""What is known of the axes of a pass, and one op as its rule sees it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from archcheck.analysis.axes.parts import Atom, Axes, Axis, Part, roots_of, size_of
from archcheck.core.target import Shape
from archcheck.evidence.records import Op, SizeRead, SizeSource, ValueIndex

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

Root = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Meeting:
    """An op whose result at one place depends on many places along some dimensions.

    Attributes:
        value: The input that has these dimensions, and `dims` which of its own they are.
        lanes: The dimensions that the op treats one place at a time, as samples.
    """

    op: int
    kind: str
    value: int
    dims: tuple[int, ...]
    lanes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reshape:
    """A reshape, with what it was given and what became of that.

    `result` has fewer axes than the value that came out where the next one begins or ends within
    a place of what was there.
    """

    op: int
    source: Axes
    result: Axes


@dataclass(frozen=True, slots=True)
class Picked:
    """An op that takes one place, or a summary, of a dimension and so drops it."""

    op: int
    value: int
    dim: int


class Unfollowed(Exception):
    """The record does not tell what the dimensions of a result are."""


class AxisState:
    """What the dimensions of a trace's values hold.

    Attributes:
        meetings, reshapes, picked: What happened on the way, in order.
        counted: The input dimensions whose places the code counts, as positions are: by an
            `arange`, by a slice of a table, by a triangle of their own.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.meetings: list[Meeting] = []
        self.reshapes: list[Reshape] = []
        self.picked: list[Picked] = []
        self.counted: dict[Root, int] = {}
        self._numbers = count(1)
        self._axes: dict[int, Axes | None] = {}
        self._enter_inputs()

    def of(self, value: int) -> Axes | None:
        """The axes of a value, None where they are not known."""
        if value not in self._axes:
            self._axes[value] = self.new(self.trace.values[value].shape)
        return self._axes[value]

    def new(self, shape: Shape) -> Axes:
        """The axes of a tensor that came from nowhere."""
        return tuple(self.new_axis(size) for size in shape)

    def new_axis(self, size: int, roots: frozenset[Root] = frozenset()) -> Axis:
        if size == 1 and not roots:
            return ()
        return (Part(Atom(size, roots), size, 1, next(self._numbers)),)

    def read(self, size: Any) -> Axis:
        """The axis of a new tensor whose size this number is."""
        if not isinstance(size, int):
            raise Unfollowed
        if not isinstance(size, SizeRead):
            return self.new_axis(size)
        axis = self.axis_read(size.source)
        if axis is not None:
            return axis
        return self.new_axis(int(size), frozenset(self.roots_read(size.source)))

    def axis_read(self, source: SizeSource) -> Axis | None:
        """The axis that a size was read from, where it is the size of one."""
        if source[0] != "dim":
            return None
        axes = self.of(source[1])
        return axes[source[2]] if axes is not None else None

    def roots_read(self, source: Any) -> Iterator[Root]:
        """The input dimensions that a number was computed from."""
        if not isinstance(source, tuple):
            return
        axis = self.axis_read(source)
        if axis is not None:
            yield from roots_of(axis)
        elif source[0] == "count":
            for each in self.of(source[1]) or ():
                yield from roots_of(each)
        elif source[0] != "dim":
            for part in source[1:]:
                yield from self.roots_read(part)

    def _enter_inputs(self) -> None:
        batches: dict[int, Axis] = {}
        for value in self.trace.values:
            if value.kind != "input":
                continue
            axes: list[Axis] = [
                (Part(Atom(size, frozenset({(value.index, dim)})), size, 1, next(self._numbers)),)
                for dim, size in enumerate(value.shape)
            ]
            if axes:  # inputs of equally many rows are taken to have the same samples
                axes[0] = batches.setdefault(value.shape[0], axes[0])
            self._axes[value.index] = tuple(axes)


class Step:
    """One op, as its rule sees it."""

    def __init__(self, flow: AxisState, op: Op) -> None:
        self.flow = flow
        self.op = op

    def argument(self, *names: str, default: Any = None) -> Any:
        """An argument by the first of these names that it has."""
        return self.op.argument(*names, default=default)

    def index(self, *names: str) -> int:
        """The value that a tensor argument is."""
        value = self.argument(*names)
        if not isinstance(value, ValueIndex):
            raise Unfollowed
        return value.index

    def axes(self, *names: str) -> Axes:
        return self.axes_of(self.index(*names))

    def axes_of(self, value: int) -> Axes:
        axes = self.flow.of(value)
        if axes is None:
            raise Unfollowed
        return axes

    @property
    def data(self) -> int:
        """The first tensor among the arguments."""
        if not self.op.inputs:
            raise Unfollowed
        return self.op.inputs[0]

    @property
    def first(self) -> Axes:
        return self.axes_of(self.data)

    def shape(self, place: int = 0) -> Shape:
        """The shape of an output."""
        return self.flow.trace.values[self.op.outputs[place]].shape

    def shape_of(self, value: int) -> Shape:
        return self.flow.trace.values[value].shape

    def dims(self, rank: int, *names: str, default: Any = None) -> tuple[int, ...]:
        """The dimensions that an argument names; all of them for None."""
        value = self.argument(*names, default=default)
        if value is None or value == ():
            return tuple(range(rank))
        chosen = (value,) if isinstance(value, int) else tuple(value)
        return tuple(int(dim) % rank for dim in chosen) if rank else ()

    def dim(self, rank: int, *names: str, default: int = 0) -> int:
        value = self.argument(*names, default=default)
        if not isinstance(value, int) or not rank:
            raise Unfollowed
        return int(value) % rank

    def derived(self, axis: Axis, size: int) -> Axis:
        """An axis of another size that still runs along the same dimension."""
        return axis if size_of(axis) == size else self.flow.new_axis(size, roots_of(axis))

    def meet(
        self, kind: str, value: int, dims: Sequence[int], lanes: Sequence[int] | None = None
    ) -> None:
        """Notes that the op mixes along these dimensions of a value."""
        rank = len(self.shape_of(value))
        rest = [dim for dim in range(rank) if dim not in dims] if lanes is None else lanes
        self.flow.meetings.append(Meeting(self.op.index, kind, value, tuple(dims), tuple(rest)))

    def count(self, size: Any) -> None:
        """Notes that the code counts the places along the dimension of this size."""
        if isinstance(size, SizeRead):
            for root in self.flow.roots_read(size.source):
                self.flow.counted.setdefault(root, self.op.index)
