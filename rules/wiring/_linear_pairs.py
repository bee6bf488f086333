"""Two affine layers in a row with nothing nonlinear between them, where that is no design."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from archcheck.evidence.dataflow import AFFINE, MOVES

from ._residual_order import ACTIVATIONS

if TYPE_CHECKING:
    from archcheck.evidence.records import Module, Op
    from archcheck.evidence.trace import Trace

# Between two layers, a resampling is what the pair is for: sub-pixel and resize convolutions.
_RESAMPLING: Final = frozenset(
    "pixel_shuffle pixel_unshuffle channel_shuffle interpolate upsample unfold fold "
    "repeat_interleave".split()
)
_PRODUCTS: Final = frozenset(
    "matmul bmm baddbmm einsum scaled_dot_product_attention multi_head_attention_forward".split()
)
_CONTAINERS: Final = frozenset({"Sequential", "ModuleList", "ModuleDict"})
# In which a skip meets the layers that it goes around; a product is a gate.
_SUMS: Final = frozenset("add sub cat concat concatenate stack lerp".split())
# What stands between a projection and the attention that it is for: heads, scales, rotations.
_ON_THE_WAY: Final = MOVES | frozenset(
    "mul div add sub neg cat stack layer_norm rms_norm normalize softmax elu relu exp norm".split()
)


def linear_pairs(trace: Trace) -> Iterator[tuple[Op, Op]]:
    """The pairs of affine ops of which the second takes what the first gives.

    Left out is what is linear on purpose: low-rank factors, separable and grouped convolutions, a
    pointwise convolution beside one that looks around, projections into and out of attention,
    resampling in between or by a transposed convolution, several heads on one layer, layers whose
    result is an output as well, weights that are fixed or computed, a stem in front of blocks that
    each begin with a convolution.
    """
    deliberate: set[int] = set()  # layers that follow another one on purpose
    for second in trace.ops:
        chain = trace.dataflow.affine_chain(second) if second.name in AFFINE else ()
        if not chain:
            continue
        if _is_deliberate(trace, chain) or chain[0].index in deliberate:
            deliberate.add(second.index)
            continue
        if _is_read_elsewhere(trace, chain) or _feeds_attention(trace, second):
            continue
        if _is_stem_of_blocks(trace, chain) or _is_another_axis(trace, chain):
            continue
        source = trace.dataflow.last_nonlinear(chain[0].inputs[0])
        if source is None or source.name not in _PRODUCTS:
            yield chain[0], second


def _is_deliberate(trace: Trace, chain: tuple[Op, ...]) -> bool:
    first, second = chain[0], chain[-1]
    return (
        not _is_layer(trace, first)
        or not _is_layer(trace, second)
        or any(op.name in _RESAMPLING for op in chain)
        or _is_factored(trace, first, second)
        or _kind(trace, first) != _kind(trace, second)
    )


def _is_layer(trace: Trace, op: Op) -> bool:
    """Whether an op applies a dense, trainable weight."""
    if op.name not in AFFINE or len(op.inputs) < 2 or op.failure is not None:
        return False
    weight = trace.values[op.inputs[1]]
    square = len(set(weight.shape[2:])) < 2
    groups = op.arguments.get("groups", 1)
    return weight.kind == "parameter" and weight.requires_grad and square and groups == 1


def widths(trace: Trace, op: Op) -> tuple[int, int]:
    """The features (or channels) that an affine op takes and gives."""
    shape = trace.shape(op.inputs[1])
    return (shape[0], shape[1]) if "transpose" in op.name else (shape[1], shape[0])


def _is_factored(trace: Trace, first: Op, second: Op) -> bool:
    """Whether the width between the two is smaller than those around: a matrix in two factors."""
    (before, between), (_, after) = widths(trace, first), widths(trace, second)
    return between < min(before, after)


def _kind(trace: Trace, op: Op) -> tuple[bool, bool]:
    """Whether a convolution is transposed, and whether it is pointwise; a linear layer is no
    convolution, and alike to each of them."""
    spatial = trace.shape(op.inputs[1])[2:]
    return "transpose" in op.name, bool(spatial) and set(spatial) == {1}


def _is_read_elsewhere(trace: Trace, chain: tuple[Op, ...]) -> bool:
    """Whether what the first op gives has another use than the second or a skip around it.

    A skip is another use where neither its sum nor what it is added to is activated: the first op
    feeds a stream of linear sums, as the stems of EDSR and of transformers do.
    """
    flow = trace.dataflow
    later = trace.ops[chain[-1].index :]
    through = flow.after(chain[-1].outputs, later)
    if _is_between_stages(trace, chain[0]):
        return True
    for op, following in pairwise(chain):
        for value in op.outputs:
            if value in flow.outputs:
                return True
            for index in trace.values[value].users:
                user = trace.ops[index]
                skips = user.name in _SUMS and not through.isdisjoint(user.inputs)
                if user is not following and not (skips and _is_activated(trace, user)):
                    return True
    return False


def _is_between_stages(trace: Trace, op: Op) -> bool:
    """Whether an op brings one stage to the resolution of the next, where a block's skip begins.

    What does so to the input is a stem, which is activated.
    """
    stride = op.arguments.get("stride", 1)
    steps = stride if isinstance(stride, tuple | list) else (stride,)
    if max(steps, default=1) < 2 or trace.values[op.inputs[0]].kind == "input":
        return False
    return any(len(trace.values[value].users) > 1 for value in op.outputs)


def _is_another_axis(trace: Trace, chain: tuple[Op, ...]) -> bool:
    """Whether the second op weighs another axis than the one that the first gives: tokens and
    then channels. Told only where nothing but transpositions stands between them."""
    axis = _weighed_axis(trace, chain[0], chain[0].outputs[0])
    for op in chain[1:-1]:
        rank = len(trace.shape(op.outputs[0]))
        moved = _moved_to(op, axis, rank) if rank == len(trace.shape(op.inputs[0])) else None
        if moved is None:
            return False
        axis = moved
    return axis != _weighed_axis(trace, chain[-1], chain[-1].inputs[0])


def _weighed_axis(trace: Trace, op: Op, value: int) -> int:
    rank = len(trace.shape(value))
    if not op.name.startswith("conv"):
        return rank - 1
    return rank - len(trace.shape(op.inputs[1])) + 1


def _moved_to(op: Op, axis: int, rank: int) -> int | None:
    """Where an op leaves an axis; None where that is not known."""
    numbers = [value for value in op.arguments.values() if isinstance(value, int)]
    if op.name in ("transpose", "swapaxes", "swapdims") and len(numbers) == 2:
        first, second = (number % rank for number in numbers)
        return {first: second, second: first}.get(axis, axis)
    if op.name in ("T", "mT", "t") and rank > 1:
        return {rank - 1: rank - 2, rank - 2: rank - 1}.get(axis, axis)
    if op.name == "permute":
        dims = [v for v in op.arguments.values() if isinstance(v, tuple | list)]
        order = list(dims[0]) if dims else numbers
        return [number % rank for number in order].index(axis) if len(order) == rank else None
    return axis if op.name in ("contiguous", "clone", "dropout") else None


def _is_stem_of_blocks(trace: Trace, chain: tuple[Op, ...]) -> bool:
    """Whether the first op only brings the input to the width of blocks, as diffusion's UNets do,
    and the second is inside the first of several such blocks. A skip around that block makes it a
    stem as ResNet's is, which is activated."""
    first, second = trace.module_of(chain[0]), trace.module_of(chain[-1])
    if first is None or second is None or trace.values[chain[0].inputs[0]].kind != "input":
        return False
    if any(len(trace.values[value].users) > 1 for op in chain[:-1] for value in op.outputs):
        return False
    block = _owner(trace, second)
    if block is None or not block.path or f"{first.path}.".startswith(f"{block.path}."):
        return False
    return sum(module.type == block.type for module in trace.modules) > 1


def _owner(trace: Trace, module: Module | None) -> Module | None:
    """The nearest module around this one that is no mere container."""
    while module is not None and module.path:
        module = trace.module(module.path.rpartition(".")[0])
        if module is not None and module.type not in _CONTAINERS:
            break
    return module


def _is_activated(trace: Trace, join: Op) -> bool:
    """Whether an activation stands right behind a join, or right before it."""
    after = [trace.ops[index] for value in join.outputs for index in trace.values[value].users]
    before = [trace.dataflow.last_nonlinear(value) for value in join.inputs]
    return any(op is not None and op.name in ACTIVATIONS for op in (*after, *before))


def _feeds_attention(trace: Trace, op: Op) -> bool:
    """Whether what a layer gives is a query, a key or a value."""
    waiting, seen = list(op.outputs), set(op.outputs)
    while waiting:
        for index in trace.values[waiting.pop()].users:
            user = trace.ops[index]
            if user.name in _PRODUCTS and len(trace.dataflow.fed.intersection(user.inputs)) > 1:
                return True
            if user.name in _ON_THE_WAY:
                waiting += [value for value in user.outputs if value not in seen]
                seen.update(user.outputs)
    return False
