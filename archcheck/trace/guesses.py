"""How far a guess reaches: which dimensions of which values recovery made up.

A layer that rejects its input still has a known output width; only the sizes that it would have
taken from what it could not use are guessed. Later failures on such sizes are consequences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archcheck.evidence import ValueIndex
from archcheck.trace.recorder import PendingOp, PendingValue, Recorder

_SAME_SHAPE = {
    "batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "local_response_norm",
    "softmax", "log_softmax", "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout",
    "contiguous", "clone", "detach", "to", "float", "half", "masked_fill", "normalize", "cumsum",
}  # fmt: skip
_CONVOLUTIONS = {"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
                 "conv_transpose3d"}  # fmt: skip


def carry(recorder: Recorder, op: PendingOp) -> None:
    """Marks the guessed dimensions of an op's outputs, from those of its inputs."""
    values = recorder.values
    inputs = [values[index] for index in op.inputs]
    for index in op.outputs:
        output = values[index]
        output.guessed = _carried(op, inputs, output, values)
        if output.guessed:
            output.cause = next((v.cause for v in inputs if v.guessed), None)


def _carried(
    op: PendingOp,
    inputs: Sequence[PendingValue],
    output: PendingValue,
    values: Sequence[PendingValue],
) -> frozenset[int]:
    rank = len(output.shape)
    first = inputs[0]
    if op.name == "linear":
        return frozenset(dim for dim in first.guessed if dim < rank - 1)
    if op.name == "embedding":
        return frozenset(dim for dim in first.guessed if dim < rank - 1)
    if op.name in _CONVOLUTIONS:
        spatial = any(dim >= 2 for dim in first.guessed)
        return frozenset(
            dim for dim in range(rank) if (dim == 0 and 0 in first.guessed) or (dim > 1 and spatial)
        )
    if op.name.startswith("adaptive_"):
        return frozenset(dim for dim in first.guessed if dim < 2)
    if op.name in _SAME_SHAPE or (len(inputs) == 1 and first.shape == output.shape):
        return frozenset(dim for dim in first.guessed if dim < rank)
    if "pool" in op.name and len(first.shape) == rank:
        return first.guessed
    if op.name in ("permute", "transpose", "t", "T", "mT") and len(first.shape) == rank:
        order = _order(op.arguments, op.name, rank)
        if order is not None:
            return frozenset(to for to, of in enumerate(order) if of in first.guessed)
    if op.name in ("view", "reshape", "flatten", "squeeze", "unsqueeze"):
        keeps_batch = bool(first.shape and output.shape) and first.shape[0] == output.shape[0]
        kept = {0} if keeps_batch and 0 not in first.guessed else set()
        return frozenset(range(rank)) - kept if first.guessed else frozenset()
    if _broadcasts(inputs, output):
        return frozenset(dim + rank - len(value.shape) for value in inputs for dim in value.guessed)
    guessed = any(value.guessed for value in inputs)
    keeps_batch = all(
        value.shape and rank and value.shape[0] == output.shape[0] and 0 not in value.guessed
        for value in inputs
        if value.guessed
    )
    return frozenset(range(1 if keeps_batch else 0, rank)) if guessed else frozenset()


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

    Only the dimensions that the op checks count: a Linear that gets a certain width over a
    guessed height fails on its own.
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
            if value.guessed and value.guessed & _checked(op, name, value, values):
                return value.cause
    return None


def _checked(
    op: PendingOp, argument: str, value: PendingValue, values: Sequence[PendingValue]
) -> frozenset[int]:
    rank = len(value.shape)
    everything = frozenset(range(rank))
    if op.name == "linear" and argument == "input":
        return frozenset({rank - 1})
    if op.name in _CONVOLUTIONS and argument == "input" and rank == int(op.name[-2]) + 2:
        weight = op.arguments.get("weight")
        groups = op.arguments.get("groups", 1)
        if isinstance(weight, ValueIndex) and isinstance(groups, int):
            shape = values[weight.index].shape
            wanted = shape[0] if "transpose" in op.name else shape[1] * groups
            return frozenset({1}) if value.shape[1] != wanted else everything - {0, 1}
    if op.name in ("batch_norm", "instance_norm", "group_norm") and rank > 1:
        return frozenset({1})
    if op.name in ("layer_norm", "rms_norm"):
        shape = op.arguments.get("normalized_shape")
        if isinstance(shape, tuple):
            return frozenset(range(rank - len(shape), rank))
    if op.name in ("add", "sub", "mul", "div", "maximum", "minimum", "where", "pow"):
        others = [values[index] for index in op.inputs]
        return frozenset(dim for dim in range(rank) if _disagree(rank - dim, others))
    if op.name == "cat":
        dim = op.arguments.get("dim", 0)
        tensors = [values[index] for index in op.inputs]
        same_rank = all(len(other.shape) == rank for other in tensors)
        if isinstance(dim, int) and same_rank:
            return frozenset(
                d
                for d in range(rank)
                if d != dim % rank and len({other.shape[d] for other in tensors}) > 1
            )
    return everything


def _disagree(from_end: int, values: Sequence[PendingValue]) -> bool:
    """Whether sizes at this place, counted from the end, cannot be broadcast."""
    sizes = {value.shape[-from_end] for value in values if len(value.shape) >= from_end}
    return len(sizes - {1}) > 1
