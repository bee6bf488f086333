"""How far a guess reaches: which sizes of which values recovery made up.

A layer that rejects its input still has a known output width; only the sizes that it would have
taken from what it could not use are guessed. For each such dimension the sizes that it may have
instead are kept: where `[8, 64] + [8, 32]` fails, what follows gets 64 or 32, and a layer that
wants 100 fails on its own account. An empty set stands for any size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any, TypeAlias

from archcheck.evidence.records import ValueIndex
from archcheck.tracing.record.recorder import PendingOp, PendingValue, Recorder

Sizes: TypeAlias = frozenset[int]
Unsure: TypeAlias = Mapping[int, Sizes]  # dimension -> the sizes that it may have
ANY: Sizes = frozenset()
_MOST = 16  # alternatives that are kept apart

_SAME_SHAPE = {
    "batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "local_response_norm",
    "softmax", "log_softmax", "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout",
    "contiguous", "clone", "detach", "to", "float", "half", "masked_fill", "normalize", "cumsum",
}  # fmt: skip
_CONVOLUTIONS = {"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
                 "conv_transpose3d"}  # fmt: skip
_ELEMENTWISE = {"add", "sub", "mul", "div", "maximum", "minimum", "where", "pow", "addcmul",
                "lerp", "masked_fill", "floor_divide", "remainder", "eq", "ne", "lt", "le",
                "gt", "ge"}  # fmt: skip


def carry(recorder: Recorder, op: PendingOp) -> None:
    """Marks the guessed dimensions of an op's outputs, from those of its inputs."""
    values = recorder.values
    inputs = [values[index] for index in op.inputs]
    for index in op.outputs:
        output = values[index]
        output.guessed = _carried(op, inputs, output)
        if output.guessed:
            output.cause = next((value.cause for value in inputs if value.guessed), None)


def _carried(op: PendingOp, inputs: Sequence[PendingValue], output: PendingValue) -> Unsure:
    rank = len(output.shape)
    first = inputs[0]
    if op.name in ("linear", "embedding"):
        return _only(first.guessed, range(rank - 1))
    if op.name in _CONVOLUTIONS:
        spatial = any(dim >= 2 for dim in first.guessed)
        below = dict.fromkeys(range(2, rank), ANY) if spatial else {}
        return {**_only(first.guessed, (0,)), **below}
    if op.name.startswith("adaptive_"):
        return _only(first.guessed, (0, 1))
    if op.name in _SAME_SHAPE or (len(inputs) == 1 and first.shape == output.shape):
        return _only(first.guessed, range(rank))
    if "pool" in op.name and len(first.shape) == rank:
        return {dim: sizes if dim < 2 else ANY for dim, sizes in first.guessed.items()}
    if op.name in ("permute", "transpose", "t", "T", "mT") and len(first.shape) == rank:
        order = _order(op.arguments, op.name, rank)
        if order is not None:
            return {to: first.guessed[of] for to, of in enumerate(order) if of in first.guessed}
    if op.name in ("view", "reshape", "flatten", "squeeze", "unsqueeze"):
        return _reshaped(first, output.shape)
    if _broadcasts(inputs, output):
        return {
            dim + rank - len(value.shape): sizes
            for value in inputs
            for dim, sizes in value.guessed.items()
        }
    if not any(value.guessed for value in inputs):
        return {}
    keeps_batch = all(
        value.shape and rank and value.shape[0] == output.shape[0] and 0 not in value.guessed
        for value in inputs
        if value.guessed
    )
    return dict.fromkeys(range(1 if keeps_batch else 0, rank), ANY)


def _only(guessed: Unsure, dims: Iterable[int]) -> Unsure:
    return {dim: guessed[dim] for dim in dims if dim in guessed}


def _reshaped(before: PendingValue, shape: Sequence[int]) -> Unsure:
    """Dimensions that stay, from the front and from the back, and the one that joins the rest."""
    if not before.guessed:
        return {}
    front = 0
    while front < min(len(before.shape), len(shape)) and before.shape[front] == shape[front]:
        front += 1
    back = 0
    while (
        back < min(len(before.shape), len(shape)) - front
        and before.shape[-1 - back] == shape[-1 - back]
    ):
        back += 1
    if len(shape) == front + back < len(before.shape):
        # Dimensions of size 1 joined one that looks untouched.
        front, back = (front - 1, back) if front else (front, back - 1)
    found = dict(_only(before.guessed, range(front)))
    for place in range(1, back + 1):
        if len(before.shape) - place in before.guessed:
            found[len(shape) - place] = before.guessed[len(before.shape) - place]
    middle = range(front, len(before.shape) - back)
    if any(dim in before.guessed for dim in middle):
        joined = ANY
        if len(shape) - back - front == 1:
            joined = _products(before, middle)
        found.update(dict.fromkeys(range(front, len(shape) - back), joined))
    return found


def _products(value: PendingValue, dims: Iterable[int]) -> Sizes:
    sizes = [value.guessed.get(dim, frozenset({value.shape[dim]})) for dim in dims]
    if not all(sizes) or prod(map(len, sizes)) > _MOST:
        return ANY
    found = {1}
    for options in sizes:
        found = {one * other for one in found for other in options}
    return frozenset(found)


def _broadcasts(inputs: Sequence[PendingValue], output: PendingValue) -> bool:
    rank = len(output.shape)
    return all(
        len(value.shape) <= rank
        and all(
            size in (1, output.shape[rank - len(value.shape) + dim])
            for dim, size in enumerate(value.shape)
        )
        for value in inputs
    )


def _order(arguments: Mapping[str, Any], name: str, rank: int) -> list[int] | None:
    order = list(range(rank))
    if name == "permute":
        dims = arguments.get("dims")
        if not isinstance(dims, tuple) or len(dims) != rank:
            return None
        return [dim % rank for dim in dims]
    if name == "transpose":
        one, two = arguments.get("dim0"), arguments.get("dim1")
    else:
        one, two = rank - 2, rank - 1
    if not isinstance(one, int) or not isinstance(two, int) or rank < 2:
        return None
    order[one % rank], order[two % rank] = order[two % rank], order[one % rank]
    return order


def blame(recorder: Recorder, op: PendingOp) -> int | None:
    """The failure whose guess explains this op's failure; None where it fails on its own.

    Only the sizes that the op checks count, and only if another size in a guess's place could
    have passed.
    """
    values = recorder.values
    for name, argument in op.arguments.items():
        indices = [argument] if isinstance(argument, ValueIndex) else argument
        if not isinstance(indices, list | tuple):
            continue
        for place in indices:
            if not isinstance(place, ValueIndex):
                continue
            value = values[place.index]
            if value.guessed and _excuses(op, name, value, values):
                return value.cause
    return None


def _excuses(
    op: PendingOp, argument: str, value: PendingValue, values: Sequence[PendingValue]
) -> bool:
    """Whether a right guess in the place of this value could have made the op pass."""
    guessed = value.guessed
    rank = len(value.shape)

    def could(dim: int, wanted: int) -> bool:
        return dim in guessed and (not guessed[dim] or wanted in guessed[dim])

    weight = _shape_of(op.arguments.get("weight"), values)
    if op.name == "linear" and argument == "input" and weight:
        return could(rank - 1, weight[-1])
    if op.name in _CONVOLUTIONS and argument == "input" and weight:
        groups = op.arguments.get("groups", 1)
        if rank == len(weight) and isinstance(groups, int):
            wanted = weight[0] if "transpose" in op.name else weight[1] * groups
            if value.shape[1] != wanted:
                return could(1, wanted)
            return any(dim >= 2 for dim in guessed)
    if op.name in ("batch_norm", "instance_norm", "group_norm") and rank > 1:
        sizes = weight or _shape_of(op.arguments.get("running_mean"), values)
        return could(1, sizes[0]) if sizes else 1 in guessed
    if op.name in ("layer_norm", "rms_norm"):
        shape = op.arguments.get("normalized_shape")
        if isinstance(shape, tuple) and len(shape) <= rank:
            off = rank - len(shape)
            return any(
                could(off + place, size)
                for place, size in enumerate(shape)
                if value.shape[off + place] != size
            )
    others = [values[index] for index in op.inputs]
    if op.name in _ELEMENTWISE:
        return any(
            _disagree(rank - dim, others) and _could_agree(rank - dim, others) for dim in guessed
        )
    if op.name == "cat":
        dim = op.arguments.get("dim", 0)
        if isinstance(dim, int) and all(len(other.shape) == rank for other in others):
            return any(
                d != dim % rank and len({other.shape[d] for other in others}) > 1 for d in guessed
            )
    return True


def _shape_of(argument: Any, values: Sequence[PendingValue]) -> tuple[int, ...]:
    return values[argument.index].shape if isinstance(argument, ValueIndex) else ()


def _disagree(from_end: int, values: Sequence[PendingValue]) -> bool:
    """Whether sizes at this place, counted from the end, cannot be broadcast."""
    sizes = {value.shape[-from_end] for value in values if len(value.shape) >= from_end}
    return len(sizes - {1}) > 1


def _could_agree(from_end: int, values: Sequence[PendingValue]) -> bool:
    """Whether there are sizes in the place of the guessed ones that can be broadcast."""
    common: set[int] | None = None
    for value in values:
        dim = len(value.shape) - from_end
        if dim < 0 or value.shape[dim] == 1:
            continue
        options = value.guessed.get(dim, frozenset({value.shape[dim]}))
        if not options:
            continue
        common = set(options) if common is None else common & options
    return common is None or bool(common)


def doubt_input(recorder: Recorder, op: PendingOp, failure: int) -> None:
    """A layer that declares its input's width may be the one that is right about it.

    Where a residual block made for 8 channels gets 16, its first convolution fails, and so does
    the sum with what it got: with 8 channels both would have passed.
    """
    values = recorder.values
    argument = op.arguments.get("input")
    weight = _shape_of(op.arguments.get("weight"), values)
    if not isinstance(argument, ValueIndex) or not weight:
        return
    value = values[argument.index]
    if op.name == "linear" and value.shape:
        dim, wanted = len(value.shape) - 1, weight[-1]
    elif op.name in _CONVOLUTIONS and len(value.shape) == len(weight):
        groups = op.arguments.get("groups", 1)
        if not isinstance(groups, int):
            return
        dim, wanted = 1, weight[0] if "transpose" in op.name else weight[1] * groups
    else:
        return
    options = value.guessed.get(dim, frozenset({value.shape[dim]}))
    if value.shape[dim] != wanted and options:
        value.doubted = value.doubted or not value.guessed
        value.guessed = {**value.guessed, dim: options | {wanted}}
        value.cause = failure
