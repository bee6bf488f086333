"""Inputs that do not suit an operator at all: the wrong dtype, the wrong number of dimensions.

Rules that compare sizes with each other ask here first: where a whole dimension is missing, or
the numbers are of the wrong kind, the sizes are no defect of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from archcheck.analysis.shapes.failures import ShapeError
from archcheck.evidence.dataflow import MOVES
from archcheck.evidence.records import ValueIndex

if TYPE_CHECKING:
    from archcheck.core.target import Shape
    from archcheck.evidence.records import Op, Value
    from archcheck.evidence.trace import Trace

_LETTERS = {1: "L", 2: "H, W", 3: "D, H, W"}
RECURRENT = frozenset({"lstm", "gru", "rnn", "rnn_tanh", "rnn_relu"})
_INDEXED = frozenset({"embedding", "embedding_bag"})
_ONE_DTYPE = frozenset(
    "linear bilinear matmul mm bmm mv addmm baddbmm batch_norm layer_norm group_norm "
    "instance_norm einsum scaled_dot_product_attention".split()
)
# Kernels of norms take half precision with weights and statistics in single precision.
_NORMS = frozenset({"batch_norm", "layer_norm", "group_norm", "instance_norm"})
_HALVES = frozenset({"float16", "bfloat16"})
# Elementwise steps that prepare an input without touching its dimensions.
_PREPARES = MOVES - {"view", "reshape", "flatten", "unflatten", "permute", "transpose"} | {
    "add", "sub", "mul", "div", "normalize", "clamp", "batch_norm",
}  # fmt: skip


class WrongRank(NamedTuple):
    """An input without, or with too many, dimensions, or with them in another order.

    Attributes:
        expects: The dimensions that the operator takes: `[N, C, H, W]`.
        got: The shape that arrived.
        what: The end of the sentence "the input …".
        help: The smallest change.
        op: Where it went in, if not where it failed.
    """

    expects: str
    got: Shape
    what: str
    help: str
    op: Op | None = None


def misfed(fault: ShapeError) -> bool:
    """Whether the kind or the number of dimensions of the input is what is wrong."""
    return wrong_dtype(fault) is not None or wrong_rank(fault) is not None


def wrong_dtype(fault: ShapeError) -> tuple[Value, str] | None:
    """The input whose dtype the operator does not take, and the dtype that it takes."""
    values = fault.values
    if fault.kind in _INDEXED:
        indices = next((v for v in values if v.kind not in ("parameter", "buffer")), None)
        if indices is not None and indices.dtype not in ("int64", "int32"):
            return indices, "int64"
        return None
    if fault.kind not in _ONE_DTYPE and not fault.kind.startswith("conv"):
        return None
    values = _of_one_dtype(fault)
    parameters = {v.dtype for v in values if v.kind in ("parameter", "buffer")}
    wanted = next(iter(parameters)) if len(parameters) == 1 else None
    if fault.kind in _NORMS and wanted == "float32":
        values = tuple(value for value in values if value.dtype not in _HALVES)
    for value in values:
        if value.kind in ("parameter", "buffer"):
            continue
        if wanted is not None and value.dtype != wanted:
            return value, wanted
        if wanted is None and value.dtype != values[0].dtype:
            return value, values[0].dtype
    return None


def _of_one_dtype(fault: ShapeError) -> tuple[Value, ...]:
    """Return the operands that must agree; attention also takes a mask of truth values."""
    mask = fault.op.arguments.get("attn_mask") if fault.op is not None else None
    return tuple(
        value
        for value in fault.values
        if not (
            isinstance(mask, ValueIndex) and value.index == mask.index and value.dtype == "bool"
        )
    )


def spatial_rank(kind: str) -> int | None:
    """How many spatial dimensions a convolution or pooling works on."""
    if not kind.startswith(("conv", "max_pool", "avg_pool", "adaptive_", "lp_pool")):
        return None
    digits = [int(letter) for letter in kind if letter.isdigit()]
    return digits[0] if digits else None


def wrong_rank(fault: ShapeError) -> WrongRank | None:
    """What is wrong with the dimensions of the input as a whole."""
    if not fault.values:
        return None  # None came, not a tensor
    got = fault.got
    spatial = spatial_rank(fault.kind)
    if spatial is None:
        return _recurrent(fault) or _without_batch(fault)
    expects = f"[N, C, {_LETTERS[spatial]}]"
    if len(got) == spatial + 1:
        channels = in_channels(fault)
        if channels == 1 and got[0] != 1:
            return WrongRank(expects, got, "has no channel dimension", "x.unsqueeze(1)")
        if channels is not None and channels == got[0]:
            return _without_batch(fault)
        if channels is not None and channels == got[-1]:
            order = "x.movedim(-1, 0).unsqueeze(0)"
            return WrongRank(expects, got, "has its channels last, and no batch dimension", order)
        return WrongRank(expects, got, "has a dimension too few", f"give it as {expects}")
    if len(got) != spatial + 2:
        few = "too few" if len(got) < spatial + 2 else "too many"
        number = abs(len(got) - spatial - 2)
        what = f"has {'a dimension' if number == 1 else f'{number} dimensions'} {few}"
        return WrongRank(expects, got, what, f"give it as {expects}")
    return _channels_last(fault, expects)


def in_features(fault: ShapeError) -> int | None:
    """The width that a linear or recurrent layer takes."""
    if fault.kind != "linear" and fault.kind not in RECURRENT:
        return None
    weight = next((shape for shape in fault.shapes[1:] if len(shape) == 2), None)
    return weight[-1] if weight is not None else None


def in_channels(fault: ShapeError) -> int | None:
    """The channels that a convolution takes."""
    if not fault.kind.startswith("conv") or len(fault.shapes) < 2 or len(fault.shapes[1]) < 2:
        return None
    weight = fault.shapes[1]
    if "transpose" in fault.kind:
        return weight[0]
    groups = fault.op.arguments.get("groups", 1) if fault.op is not None else 1
    return weight[1] * groups if isinstance(groups, int) else None


def taken_by_attention(fault: ShapeError) -> tuple[str, int, int] | None:
    """The parameter of nn.MultiheadAttention that an input contradicts, its value, and the width
    that arrived."""
    if fault.kind != "multi_head_attention_forward" or len(fault.shapes) < 3:
        return None
    for shape, name in zip(fault.shapes, ("embed_dim", "kdim", "vdim"), strict=False):
        expected = fault.attribute(name)
        if isinstance(expected, int) and shape and shape[-1] != expected:
            return name, expected, shape[-1]
    return None


def _channels_last(fault: ShapeError, expects: str) -> WrongRank | None:
    got, channels = fault.got, in_channels(fault)
    if channels is None or got[1] == channels or got[-1] != channels:
        return None
    # Few channels are colours; many could be a coincidence, unless the map is square before them.
    if channels > 4 and (got[1] != got[-2] or got[-2] == got[-1]):
        return None
    if source_of(fault.trace, fault.values[0]).kind != "input":
        return None
    return WrongRank(expects, got, "has its channels last", "x.movedim(-1, 1)")


def _recurrent(fault: ShapeError) -> WrongRank | None:
    if fault.kind not in RECURRENT or len(fault.got) in (2, 3):
        return None
    return WrongRank(
        "[T, N, features]", fault.got, f"has {len(fault.got)} dimensions", "give it 3 dimensions"
    )


def _without_batch(fault: ShapeError) -> WrongRank | None:
    """A batch dimension that was missing from the start, and missed only here."""
    above = fault.trace.dataflow.before(value.index for value in fault.values)
    for op in fault.trace.ops:
        spatial = spatial_rank(op.name)
        if spatial is None or not op.inputs:
            continue
        first = fault.trace.values[op.inputs[0]]
        if len(first.shape) != spatial + 1 or source_of(fault.trace, first).kind != "input":
            continue
        if first.index in [value.index for value in fault.values] or not above.isdisjoint(
            op.outputs
        ):
            expects = f"[N, C, {_LETTERS[spatial]}]"
            return WrongRank(expects, first.shape, "has no batch dimension", "x.unsqueeze(0)", op)
    return None


def source_of(trace: Trace, value: Value) -> Value:
    """The value that this one is, but for steps that prepare an input."""
    while (op := trace.dataflow.producer(value.index)) is not None:
        data = [i for i in op.inputs if len(trace.values[i].shape) == len(value.shape)]
        if op.name not in _PREPARES or not data or trace.shape(data[0]) != value.shape:
            break
        value = trace.values[data[0]]
    return value
