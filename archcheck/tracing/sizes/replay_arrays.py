"""The shape arithmetic of several tensors at once, of reductions, and of new tensors.

Each rule gives the shapes that come out and notes what the operator demands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from archcheck.evidence.records import ValueIndex
from archcheck.evidence.sizes import number
from archcheck.tracing.sizes.replay import Dims, Rule, Step, Unknown

# --- several tensors ------------------------------------------------------------------------------


def _tensors(step: Step) -> list[Dims]:
    tensors = step.argument("tensors")
    if not isinstance(tensors, tuple | list):
        raise Unknown
    return [step.replay.shape(tensor.index) for tensor in tensors]


def cat(step: Step) -> list[Dims]:
    shapes = [shape for shape in _tensors(step) if shape != (number(0),)]
    rank = len(shapes[0])
    dim = step.dimension(rank, "dim")
    result = list(shapes[0])
    for shape in shapes[1:]:
        for place, size in enumerate(shape):
            if place != dim:
                if size.constant is not None or len(size.key) < len(result[place].key):
                    step.equal(result[place], size)
                    result[place] = size
                else:
                    step.equal(size, result[place])
    result[dim] = sum((shape[dim] for shape in shapes[1:]), shapes[0][dim])
    return [tuple(result)]


def stack(step: Step) -> list[Dims]:
    shapes = _tensors(step)
    for shape in shapes[1:]:
        for one, other in zip(shape, shapes[0], strict=True):
            step.equal(one, other)
    dim = step.dimension(len(shapes[0]) + 1, "dim")
    return [(*shapes[0][:dim], number(len(shapes)), *shapes[0][dim:])]


def elementwise(step: Step) -> list[Dims]:
    if step.op.in_place:
        step.broadcast(*step.inputs)
        return [step.first]
    return [step.broadcast(*step.inputs)]


def like_the_first(step: Step) -> list[Dims]:
    return [step.first] * len(step.op.outputs)


def meshgrid(step: Step) -> list[Dims]:
    shape = tuple(size for part in step.inputs for size in (part or (number(1),)))
    if step.argument("indexing") == "xy" and len(shape) > 1:
        shape = (shape[1], shape[0], *shape[2:])
    return [shape] * len(step.op.outputs)


# --- reductions -----------------------------------------------------------------------------------


def reduction(step: Step) -> list[Dims]:
    shape = step.first
    dims = step.argument("dim", "other")
    if isinstance(dims, ValueIndex):
        return elementwise(step)  # torch.max(a, b)
    rank = len(shape)
    chosen: set[int] = set(range(rank))
    if dims is not None and dims != () and rank:
        chosen = {dim % rank for dim in ((dims,) if isinstance(dims, int) else dims)}
    keep = step.flag("keepdim")
    result = tuple(
        number(1) if dim in chosen else size
        for dim, size in enumerate(shape)
        if keep or dim not in chosen
    )
    return [result] * len(step.op.outputs)


def topk(step: Step) -> list[Dims]:
    shape = list(step.shape("input"))
    dim = step.dimension(len(shape), "dim", default=-1)
    count = step.follow(step.argument("k"))
    step.at_least(shape[dim], count)
    shape[dim] = count
    return [tuple(shape)] * len(step.op.outputs)


def one_hot(step: Step) -> list[Dims]:
    return [(*step.first, number(step.recorded()[-1]))]


def filled(step: Step) -> list[Dims]:
    size = step.argument("size")
    if isinstance(size, int):
        size = (size,)
    if not isinstance(size, tuple | list):
        raise Unknown
    return [tuple(step.follow(part) for part in size)]


def arange(step: Step) -> list[Dims]:
    arguments = step.op.arguments
    start, end, jump = (arguments.get(name) for name in ("start", "end", "step"))
    if start is not None and not isinstance(start, int | float):
        raise Unknown
    if not isinstance(end, int) or (jump or 1) != 1 or (start or 0) != int(start or 0):
        raise Unknown
    last = step.follow(end)
    step.looked_around = True
    step.replay.counts[step.op.outputs[0]] = last
    return [(last - int(start or 0),)]


def evenly_spaced(step: Step) -> list[Dims]:
    return [(step.follow(step.argument("steps")),)]


def identity_matrix(step: Step) -> list[Dims]:
    rows = step.follow(step.argument("n"))
    columns = step.argument("m")
    return [(rows, rows if columns is None else step.follow(columns))]


def names(text: str) -> Iterator[str]:
    return iter(text.split())


ARRAYS: Mapping[str, Rule] = MappingProxyType(
    {
        "cat": cat,
        "stack": stack,
        **dict.fromkeys(
            names(
                "add sub mul div pow remainder fmod floor_divide maximum minimum where lerp "
                "masked_fill addcmul addcdiv eq ne lt le gt ge atan2 bitwise_and bitwise_or "
                "bitwise_xor logical_and logical_or logical_xor logaddexp hypot clamp copysign"
            ),
            elementwise,
        ),
        **dict.fromkeys(
            names(
                "setitem copy zeros_like ones_like empty_like full_like rand_like randn_like sort "
                "argsort roll flip cumsum cumprod tril triu softmax log_softmax scatter "
                "scatter_add index_copy index_add index_fill masked_scatter normalize"
            ),
            like_the_first,
        ),
        "meshgrid": meshgrid,
        **dict.fromkeys(
            names(
                "mean sum prod amax amin max min argmax argmin std var std_mean var_mean norm "
                "logsumexp any all median nanmean nansum vector_norm count_nonzero"
            ),
            reduction,
        ),
        "topk": topk,
        "one_hot": one_hot,
        **dict.fromkeys(
            names("zeros ones empty rand randn full new_zeros new_ones new_empty new_full"), filled
        ),
        "arange": arange,
        "linspace": evenly_spaced,
        "eye": identity_matrix,
    }
)
