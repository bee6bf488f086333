"""What ops that move, copy, select and join do to the dimensions of what they are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import EllipsisType, MappingProxyType
from typing import Any, TypeAlias

from archcheck.analysis.axes.parts import Axes, Axis, joined, regroup, roots_of, size_of
from archcheck.analysis.axes.step import Picked, Reshape, Step, Unfollowed
from archcheck.evidence.records import ValueIndex

Rule: TypeAlias = "Callable[[Step], Sequence[Axes | None]]"


def unknown_op(step: Step) -> list[Axes | None]:
    """An op without a rule: what keeps its shape keeps its dimensions, and operands broadcast."""
    known = [index for index in step.op.inputs if step.flow.of(index) is not None]
    if not known or len(known) < len(step.op.inputs):
        raise Unfollowed
    return [_broadcast(step, known, step.shape(place)) for place in range(len(step.op.outputs))]


def _broadcast(step: Step, values: Sequence[int], shape: Sequence[int]) -> Axes | None:
    """The dimensions of operands, aligned at the last; those that run along an input's win."""
    result: list[Axis] = []
    for place, size in enumerate(shape):
        best: Axis | None = None
        for value in values:
            axes = step.axes_of(value)
            at = place - len(shape) + len(axes)
            if at < 0 or size_of(axes[at]) != size:
                continue
            if best is None or (roots_of(axes[at]) and not roots_of(best)):
                best = axes[at]
        if best is None:
            if len(values) > 1 or len(step.axes_of(values[0])) != len(shape):
                return None
            best = step.derived(step.axes_of(values[0])[place], size)
        result.append(best)
    return tuple(result)


def elementwise(step: Step) -> list[Axes | None]:
    values = [index for index in step.op.inputs if step.flow.of(index) is not None]
    if step.flow.of(step.data) is None and len(values) < len(step.op.inputs):
        raise Unfollowed
    return [_broadcast(step, values, step.shape())]


def like_the_first(step: Step) -> list[Axes | None]:
    return [step.first] * len(step.op.outputs)


def triangle(step: Step) -> list[Axes | None]:
    axes = step.first
    if len(axes) > 1 and roots_of(axes[-1]):
        for root in roots_of(axes[-1]) & roots_of(axes[-2]):
            step.flow.counted.setdefault(root, step.op.index)
    return [axes]


# --- reshapes -------------------------------------------------------------------------------------


def view(step: Step) -> list[Axes | None]:
    source = step.first
    sizes = step.shape()
    if 0 in sizes:
        raise Unfollowed
    result = regroup(source, sizes)
    if result is None:
        raise Unfollowed
    step.flow.reshapes.append(Reshape(step.op.index, source, tuple(result)))
    return [tuple(result)]


def permute(step: Step) -> list[Axes | None]:
    axes = step.first
    order = step.argument("dims")
    return [tuple(axes[int(dim) % len(axes)] for dim in order)]


def transpose(step: Step) -> list[Axes | None]:
    axes = list(step.first)
    rank = len(axes)
    if rank < 2:
        return [tuple(axes)]
    if step.op.name == "transpose":
        one = step.dim(rank, "dim0", "axis0")
        other = step.dim(rank, "dim1", "axis1", default=1)
    elif step.op.name in ("t", "T"):
        return [tuple(reversed(axes))]
    else:
        one, other = rank - 2, rank - 1
    axes[one], axes[other] = axes[other], axes[one]
    return [tuple(axes)]


def movedim(step: Step) -> list[Axes | None]:
    axes = step.first
    rank = len(axes)
    sources = step.dims(rank, "source")
    targets = step.dims(rank, "destination")
    placed = dict(zip(targets, sources, strict=True))
    rest = iter(dim for dim in range(rank) if dim not in placed.values())
    return [tuple(axes[placed[dim] if dim in placed else next(rest)] for dim in range(rank))]


def squeeze(step: Step) -> list[Axes | None]:
    axes = step.first
    shape = step.shape_of(step.data)
    gone = {dim for dim in step.dims(len(axes), "dim") if shape[dim] == 1}
    return [tuple(axis for dim, axis in enumerate(axes) if dim not in gone)]


def unsqueeze(step: Step) -> list[Axes | None]:
    axes = step.first
    dim = step.dim(len(axes) + 1, "dim")
    return [(*axes[:dim], (), *axes[dim:])]


def expand(step: Step) -> list[Axes | None]:
    axes = step.first
    wanted = step.argument("size")
    if not isinstance(wanted, tuple | list):
        return elementwise(step)
    padded: Axes = (*[()] * (len(wanted) - len(axes)), *axes)
    shape = step.shape()
    return [
        tuple(
            axis if size_of(axis) == size else step.flow.read(number)
            for axis, number, size in zip(padded, wanted, shape, strict=True)
        )
    ]


def repeat(step: Step) -> list[Axes | None]:
    times = step.argument("repeats", "dims")
    times = (times,) if isinstance(times, int) else tuple(times)
    axes: Axes = (*[()] * (len(times) - len(step.first)), *step.first)
    factors = (*[1] * (len(axes) - len(times)), *times)
    return [
        tuple(
            axis if factor == 1 else joined((*step.flow.read(factor), *axis))
            for axis, factor in zip(axes, factors, strict=True)
        )
    ]


def repeat_interleave(step: Step) -> list[Axes | None]:
    axes, times, dim = step.first, step.argument("repeats"), step.argument("dim")
    if not isinstance(times, int) or not isinstance(dim, int):
        raise Unfollowed
    dim %= len(axes)
    return [(*axes[:dim], joined((*axes[dim], *step.flow.read(times))), *axes[dim + 1 :])]


# --- parts ----------------------------------------------------------------------------------------


def pieces(step: Step) -> list[Axes | None]:
    """Splits, chunks and `narrow`: one dimension in part, all others as they were."""
    axes = step.first
    shapes = [step.shape(place) for place in range(len(step.op.outputs))]
    return [
        tuple(step.derived(axis, size) for axis, size in zip(axes, shape, strict=True))
        for shape in shapes
    ]


def unbind(step: Step) -> list[Axes | None]:
    axes = step.first
    dim = step.dim(len(axes), "dim")
    return [(*axes[:dim], *axes[dim + 1 :])] * len(step.op.outputs)


def select(step: Step) -> list[Axes | None]:
    axes = step.first
    dim = step.dim(len(axes), "dim")
    step.flow.picked.append(Picked(step.op.index, step.data, dim))
    return [(*axes[:dim], *axes[dim + 1 :])]


def index_select(step: Step) -> list[Axes | None]:
    axes = step.first
    dim = step.dim(len(axes), "dim")
    size = step.shape()[dim]
    return [(*axes[:dim], step.flow.new_axis(size, roots_of(axes[dim])), *axes[dim + 1 :])]


def gather(step: Step) -> list[Axes | None]:
    """The shape is the index's, whose dimensions are mostly expanded from nothing."""
    shape, index = step.shape(), step.axes("index")
    source = step.axes("input")
    dim = step.dim(len(source), "dim")
    return [
        tuple(
            axis if place != dim and size_of(axis) == size else index[place]
            for place, (axis, size) in enumerate(zip(source, shape, strict=True))
        )
    ]


def getitem(step: Step) -> list[Axes | None]:
    index = step.argument("index")
    items = list(index) if isinstance(index, tuple) else [index]
    axes = step.axes("input")
    values = step.flow.trace.values
    used = sum(_taken(values, item) for item in items)
    result: list[Axis] = []
    shape = iter(step.shape())
    place = 0
    at: int | None = None
    for item in items:
        if item is None:
            result.append(())
            next(shape)
        elif isinstance(item, EllipsisType):
            skipped = len(axes) - used
            result.extend(axes[place : place + skipped])
            for _ in range(skipped):
                next(shape)
            place += skipped
        elif isinstance(item, bool):
            raise Unfollowed
        elif isinstance(item, int):
            step.flow.picked.append(Picked(step.op.index, step.data, place))
            place += 1
        elif isinstance(item, slice):
            result.append(_sliced(step, axes[place], item, next(shape)))
            place += 1
        elif isinstance(item, ValueIndex) and at is None:
            at = place
            inserted = _looked_up(step, axes, place, item.index)
            for _ in inserted:
                next(shape)
            result.extend(inserted)
            place += _taken(values, item)
        else:
            raise Unfollowed
    return [(*result, *axes[place:])]


def _taken(values: Any, item: Any) -> int:
    """How many dimensions an index stands for."""
    if item is None or isinstance(item, EllipsisType):
        return 0
    if isinstance(item, ValueIndex) and values[item.index].dtype == "bool":
        return len(values[item.index].shape)
    return 1


def _looked_up(step: Step, axes: Axes, place: int, index: int) -> Axes:
    value = step.flow.trace.values[index]
    if value.dtype != "bool":
        return step.axes_of(index)
    taken = axes[place : place + len(value.shape)]
    roots = frozenset().union(*(roots_of(axis) for axis in taken))
    return (step.flow.new_axis(step.shape()[place], roots),)


def _sliced(step: Step, axis: Axis, item: slice, size: int) -> Axis:
    if not roots_of(axis):
        # `table[:length]`: a place for each place of what the length was read from.
        for bound in (item.stop, item.start):
            step.count(bound)
        if size_of(axis) != size and item.start in (None, 0):
            return step.flow.read(item.stop) if item.stop is not None else step.derived(axis, size)
    return step.derived(axis, size)


# --- several tensors, new tensors -----------------------------------------------------------------


def cat(step: Step) -> list[Axes | None]:
    tensors = step.argument("tensors")
    known = [step.flow.of(tensor.index) for tensor in tensors]
    parts = [axes for axes in known if axes is not None]
    if not parts:
        raise Unfollowed
    shape = step.shape()
    dim = step.dim(len(shape), "dim")
    roots = frozenset().union(*(roots_of(axes[dim]) for axes in parts if len(axes) == len(shape)))
    result: list[Axis] = []
    for place, size in enumerate(shape):
        if place == dim:
            result.append(step.flow.new_axis(size, roots))
            continue
        options = [axes[place] for axes in parts if len(axes) == len(shape)]
        result.append(next((axis for axis in options if roots_of(axis)), options[0]))
    return [tuple(result)]


def stack(step: Step) -> list[Axes | None]:
    tensors = step.argument("tensors")
    known = [step.flow.of(tensor.index) for tensor in tensors]
    axes = next((axes for axes in known if axes is not None), None)
    if axes is None:
        raise Unfollowed
    dim = step.dim(len(axes) + 1, "dim")
    return [(*axes[:dim], step.flow.new_axis(len(tensors)), *axes[dim:])]


def filled(step: Step) -> list[Axes | None]:
    size = step.argument("size")
    sizes = (size,) if isinstance(size, int) else tuple(size)
    return [tuple(step.flow.read(number) for number in sizes)]


def arange(step: Step) -> list[Axes | None]:
    end = step.argument("end", "0")
    step.count(end)
    axis = step.flow.read(end) if isinstance(end, int) else ()
    size = step.shape()[0]
    return [(axis if size_of(axis) == size else step.derived(axis, size),)]


def square(step: Step) -> list[Axes | None]:
    rows = step.flow.read(step.argument("n"))
    columns = step.argument("m")
    return [(rows, rows if columns is None else step.flow.read(columns))]


def meshgrid(step: Step) -> list[Axes | None]:
    axes = [axis for index in step.op.inputs for axis in (step.axes_of(index) or ((),))]
    if step.argument("indexing") == "xy" and len(axes) > 1:
        axes[0], axes[1] = axes[1], axes[0]
    return [tuple(axes)] * len(step.op.outputs)


def embedding(step: Step) -> list[Axes | None]:
    return [(*step.axes("input"), step.flow.new_axis(step.shape()[-1]))]


def one_hot(step: Step) -> list[Axes | None]:
    return [(*step.first, step.flow.new_axis(step.shape()[-1]))]


def _names(text: str) -> list[str]:
    return text.split()


MOVES: Mapping[str, Rule] = MappingProxyType(
    {
        **dict.fromkeys(
            _names("view reshape flatten ravel unflatten view_as reshape_as"),
            view,
        ),
        "permute": permute,
        **dict.fromkeys(_names("transpose t T mT H mH adjoint"), transpose),
        "movedim": movedim,
        "squeeze": squeeze,
        "unsqueeze": unsqueeze,
        "expand": expand,
        "expand_as": elementwise,
        **dict.fromkeys(_names("repeat tile"), repeat),
        "repeat_interleave": repeat_interleave,
        **dict.fromkeys(_names("chunk split split_with_sizes tensor_split narrow"), pieces),
        "unbind": unbind,
        "select": select,
        "index_select": index_select,
        **dict.fromkeys(_names("gather take_along_dim"), gather),
        "getitem": getitem,
        "cat": cat,
        "stack": stack,
        **dict.fromkeys(
            _names(
                "zeros ones empty rand randn full randint new_zeros new_ones new_empty new_full"
            ),
            filled,
        ),
        "arange": arange,
        "eye": square,
        "meshgrid": meshgrid,
        "embedding": embedding,
        "one_hot": one_hot,
        **dict.fromkeys(_names("tril triu"), triangle),
        **dict.fromkeys(
            _names(
                "setitem copy zeros_like ones_like empty_like full_like rand_like randn_like roll "
                "flip scatter scatter_add index_copy index_add index_fill masked_scatter dropout"
            ),
            like_the_first,
        ),
        **dict.fromkeys(
            _names(
                "add sub mul div pow remainder fmod floor_divide maximum minimum where lerp "
                "masked_fill addcmul addcdiv eq ne lt le gt ge atan2 bitwise_and bitwise_or "
                "bitwise_xor logical_and logical_or logical_xor logaddexp hypot clamp copysign"
            ),
            elementwise,
        ),
    }
)
