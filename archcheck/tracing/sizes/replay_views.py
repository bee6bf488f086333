"""The shape arithmetic of permutations, slices and parts of one tensor.

Each rule gives the shapes that come out and notes what the operator demands.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import EllipsisType, MappingProxyType

from archcheck.evidence.records import ValueIndex
from archcheck.evidence.sizes import (
    Size,
    ceiling,
    greatest,
    least,
    number,
    product,
)
from archcheck.tracing.sizes.replay import Dims, Rule, Step, Unknown
from archcheck.tracing.sizes.replay_reshape import flatten, unflatten, view


def permute(step: Step) -> list[Dims]:
    shape = step.shape("input")
    order = step.argument("dims")
    return [tuple(shape[dim % len(shape)] for dim in order)]


def transpose(step: Step) -> list[Dims]:
    shape = list(step.first)
    rank = len(shape)
    if step.op.name == "transpose":
        first = step.dimension(rank, "dim0", "axis0")
        second = step.dimension(rank, "dim1", "axis1", default=1)
    else:
        first, second = rank - 2, rank - 1
    if rank > 1:
        shape[first], shape[second] = shape[second], shape[first]
    return [tuple(shape)]


def movedim(step: Step) -> list[Dims]:
    shape = step.shape("input")
    sources, targets = step.argument("source"), step.argument("destination")
    sources = [sources] if isinstance(sources, int) else list(sources)
    targets = [targets] if isinstance(targets, int) else list(targets)
    rank = len(shape)
    placed = {to % rank: of % rank for of, to in zip(sources, targets, strict=True)}
    rest = iter(dim for dim in range(rank) if dim not in placed.values())
    return [tuple(shape[placed[dim] if dim in placed else next(rest)] for dim in range(rank))]


def squeeze(step: Step) -> list[Dims]:
    shape = step.shape("input")
    dims = step.argument("dim")
    now = step.replay.now
    if dims is None:
        chosen = set(range(len(shape)))
    else:
        chosen = {dim % len(shape) for dim in ((dims,) if isinstance(dims, int) else dims)}
    gone = {dim for dim in chosen if now(shape[dim]) == 1}
    for dim in gone:
        step.equal(shape[dim], 1)  # another size would stay, and the rank with it
    return [tuple(size for dim, size in enumerate(shape) if dim not in gone)]


def unsqueeze(step: Step) -> list[Dims]:
    shape = step.shape("input")
    dim = step.dimension(len(shape) + 1, "dim")
    return [(*shape[:dim], number(1), *shape[dim:])]


def expand(step: Step) -> list[Dims]:
    shape = step.first
    wanted = step.argument("size")
    padded = (*[number(1)] * (len(wanted) - len(shape)), *shape)
    result = []
    for have, size in zip(padded, wanted, strict=True):
        target = have if size == -1 else step.follow(size, [have])
        if have.constant != 1 and have != target:
            step.broadcast((have,), (target,))
        result.append(target)
    return [tuple(result)]


def like_the_other(step: Step) -> list[Dims]:
    shape, other = step.shape("input"), step.shape("other")
    if step.op.name == "expand_as":
        step.broadcast(shape, other)
    else:
        step.equal(product(shape), product(other))
    return [other]


def repeat(step: Step) -> list[Dims]:
    shape = step.shape("input")
    times = step.argument("repeats", "dims")
    times = (times,) if isinstance(times, int) else tuple(times)
    rank = max(len(shape), len(times))
    padded = (*[number(1)] * (rank - len(shape)), *shape)
    factors = (*[1] * (rank - len(times)), *times)
    return [
        tuple(
            size * (step.follow(factor) if size.constant == 1 else factor)
            for size, factor in zip(padded, factors, strict=True)
        )
    ]


def repeat_interleave(step: Step) -> list[Dims]:
    shape = step.shape("input")
    times, dim = step.argument("repeats"), step.argument("dim")
    if not isinstance(times, int):
        raise Unknown
    if dim is None:
        return [(product(shape) * times,)]
    dim %= len(shape)
    return [(*shape[:dim], shape[dim] * times, *shape[dim + 1 :])]


# --- parts ----------------------------------------------------------------------------------------


def chunk(step: Step) -> list[Dims]:
    shape = step.shape("input")
    dim = step.dimension(len(shape), "dim")
    size, count = shape[dim], len(step.op.outputs)
    share = ceiling(size, step.argument("chunks"))
    if all(times % step.argument("chunks") == 0 for _, times in size.terms):
        share = size // step.argument("chunks")
    last = size - share * (count - 1)
    step.at_least(last, 1)
    return [(*shape[:dim], part, *shape[dim + 1 :]) for part in [share] * (count - 1) + [last]]


def split(step: Step) -> list[Dims]:
    shape = step.first
    dim = step.dimension(len(shape), "dim")
    size, count = shape[dim], len(step.op.outputs)
    sizes = step.argument("split_size", "split_size_or_sections", "split_sizes")
    if isinstance(sizes, int):
        each = step.follow(sizes)
        parts = [each] * (count - 1) + [size - each * (count - 1)]
        step.at_least(parts[-1], 1)
        step.at_least(each, parts[-1])
    else:
        parts = [step.follow(part) for part in sizes]
        step.equal(size, sum(parts[1:], parts[0]))
    return [(*shape[:dim], part, *shape[dim + 1 :]) for part in parts]


def unbind(step: Step) -> list[Dims]:
    shape = step.shape("input")
    dim = step.dimension(len(shape), "dim")
    step.equal(shape[dim], len(step.op.outputs))
    return [(*shape[:dim], *shape[dim + 1 :])] * len(step.op.outputs)


def select(step: Step) -> list[Dims]:
    shape = step.shape("input")
    dim, index = step.dimension(len(shape), "dim"), step.argument("index")
    step.at_least(shape[dim], index + 1 if index >= 0 else -index)
    return [(*shape[:dim], *shape[dim + 1 :])]


def narrow(step: Step) -> list[Dims]:
    shape = step.shape("input")
    dim, start = step.dimension(len(shape), "dim"), step.argument("start")
    length = step.follow(step.argument("length"))
    if not isinstance(start, int) or start < 0:
        raise Unknown
    step.at_least(shape[dim], length + start)
    return [(*shape[:dim], length, *shape[dim + 1 :])]


def index_select(step: Step) -> list[Dims]:
    shape = step.shape("input")
    dim = step.dimension(len(shape), "dim")
    return [(*shape[:dim], *step.shape("index"), *shape[dim + 1 :])]


def gather(step: Step) -> list[Dims]:
    return [step.shape("index")]


def getitem(step: Step) -> list[Dims]:
    index = step.argument("index")
    items = list(index) if isinstance(index, tuple) else [index]
    shape = step.shape("input")
    used = sum(item is not None and not isinstance(item, EllipsisType) for item in items)
    result: list[Size] = []
    place = 0
    tensors: list[tuple[int, Dims]] = []
    for item in items:
        if item is None:
            result.append(number(1))
        elif isinstance(item, EllipsisType):
            skipped = len(shape) - used
            result.extend(shape[place : place + skipped])
            place += skipped
        elif isinstance(item, bool):
            raise Unknown
        elif isinstance(item, int):
            step.at_least(shape[place], item + 1 if item >= 0 else -item)
            place += 1
        elif isinstance(item, slice):
            result.append(_sliced(step, shape[place], item))
            place += 1
        elif isinstance(item, ValueIndex):
            value = step.replay.trace.values[item.index]
            if value.dtype in ("bool", "uint8"):
                raise Unknown  # how many are true is no matter of shapes
            tensors.append((len(result), step.replay.shape(item.index)))
            place += 1
        else:
            raise Unknown
    result.extend(shape[place:])
    if tensors:
        if len(tensors) > 1:
            raise Unknown
        at, inserted = tensors[0]
        result[at:at] = inserted
    return [tuple(result)]


def _sliced(step: Step, size: Size, item: slice) -> Size:
    for part in (item.start, item.stop, item.step):
        if part is not None and not isinstance(part, int):
            raise Unknown
    start, stop = (
        _bound(step, size, part, default)
        for part, default in ((item.start, number(0)), (item.stop, size))
    )
    jump = item.step or 1
    length = stop - start
    if jump != 1:
        length = ceiling(length, jump)
    if size.constant is None or stop.constant is None or start.constant is None:
        unlimited = item.start in (None, 0) and (item.stop is None or item.stop == -1)
        return length if unlimited else greatest(length, number(0))
    return number(max(0, length.constant or 0))


def _bound(step: Step, size: Size, part: int | None, default: Size) -> Size:
    if part is None:
        return default
    if part < 0:
        return greatest(size + part, number(0)) if size.constant is not None else size + part
    # `[:length]` may have been read from a shape; a bound past the end is the end.
    return least(step.follow(part, [size]), size)


def unfold(step: Step) -> list[Dims]:
    """`Tensor.unfold`: windows along one dimension, in a new last one; or `F.unfold`."""
    shape = step.shape("input")
    if "dimension" in step.op.arguments:
        dim = step.dimension(len(shape), "dimension")
        window, jump = step.argument("size"), step.argument("step")
        step.at_least(shape[dim], window)
        count = (shape[dim] - window) // jump + 1
        return [(*shape[:dim], count, *shape[dim + 1 :], number(window))]
    kernel, stride, padding, dilation = (
        step.integers(step.argument(name, default=default), 2)
        for name, default in (("kernel_size", None), ("stride", 1), ("padding", 0), ("dilation", 1))
    )
    counts = []
    for place, size in enumerate(shape[-2:]):
        reach = dilation[place] * (kernel[place] - 1)
        counts.append((size + (2 * padding[place] - reach - 1)) // stride[place] + 1)
        step.at_least(counts[-1], 1)
    return [(*shape[:-3], shape[-3] * (kernel[0] * kernel[1]), product(counts))]


VIEWS: Mapping[str, Rule] = MappingProxyType(
    {
        **dict.fromkeys(("view", "reshape"), view),
        **dict.fromkeys(("flatten", "ravel"), flatten),
        "unflatten": unflatten,
        "permute": permute,
        **dict.fromkeys(("transpose", "t", "T", "mT", "H", "mH", "adjoint"), transpose),
        "movedim": movedim,
        "squeeze": squeeze,
        "unsqueeze": unsqueeze,
        "expand": expand,
        **dict.fromkeys(("expand_as", "view_as", "reshape_as"), like_the_other),
        **dict.fromkeys(("repeat", "tile"), repeat),
        "repeat_interleave": repeat_interleave,
        "chunk": chunk,
        **dict.fromkeys(("split", "split_with_sizes"), split),
        "unbind": unbind,
        "select": select,
        "narrow": narrow,
        "index_select": index_select,
        "gather": gather,
        "getitem": getitem,
        "unfold": unfold,
    }
)
