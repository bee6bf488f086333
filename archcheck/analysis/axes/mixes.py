"""What ops that let places along a dimension meet do to the dimensions, and where that is.

Layouts are those of the operators' pages in torch's documentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from archcheck.analysis.axes.moves import Rule, elementwise
from archcheck.analysis.axes.parts import Axes, Axis, roots_of, size_of
from archcheck.analysis.axes.step import Picked, Step, Unfollowed
from archcheck.evidence.records import ValueIndex


def linear(step: Step) -> list[Axes | None]:
    return [(*step.axes("input")[:-1], step.flow.new_axis(step.shape()[-1]))]


def reduction(step: Step) -> list[Axes | None]:
    if isinstance(step.argument("dim", "other"), ValueIndex):
        return elementwise(step)  # torch.max(a, b)
    axes = step.first
    dims = step.dims(len(axes), "dim")
    step.meet("reduction", step.data, dims)
    if len(dims) == 1:
        step.flow.picked.append(Picked(step.op.index, step.data, dims[0]))
    keep = bool(step.argument("keepdim", default=False))
    result = tuple(
        () if dim in dims else axis for dim, axis in enumerate(axes) if keep or dim not in dims
    )
    return [result] * len(step.op.outputs)


def along(kind: str) -> Rule:
    """An op that works along one dimension and keeps the shape."""

    def rule(step: Step) -> list[Axes | None]:
        axes = step.first
        if step.argument("dim") is not None:
            step.meet(kind, step.data, [step.dim(len(axes), "dim")])
        return [axes] * len(step.op.outputs)

    return rule


def topk(step: Step) -> list[Axes | None]:
    axes = list(step.first)
    dim = step.dim(len(axes), "dim", default=-1)
    step.meet("sort", step.data, [dim])
    axes[dim] = step.derived(axes[dim], step.shape()[dim])
    return [tuple(axes)] * len(step.op.outputs)


def normalize(step: Step) -> list[Axes | None]:
    return [step.first] * len(step.op.outputs)


# --- products -------------------------------------------------------------------------------------


def matmul(step: Step) -> list[Axes | None]:
    left = step.index("input")
    right = step.index("other", "mat2", "vec2", "vec", "tensor")
    return [_product(step, left, right)]


def matmul_and_add(step: Step) -> list[Axes | None]:
    return [
        _product(step, step.index("mat1", "batch1", "mat"), step.index("mat2", "batch2", "vec"))
    ]


def _product(step: Step, left: int, right: int) -> Axes:
    one, two = step.axes_of(left), step.axes_of(right)
    rank = len(one)
    lanes = range(rank - 2)
    step.meet("product", left, [rank - 1], list(lanes))
    rows = one[-2:-1]
    columns = two[-1:] if len(two) > 1 else ()
    return (*_aligned(one[:-2], two[:-2]), *rows, *columns)


def _aligned(one: Axes, two: Axes) -> Axes:
    rank = max(len(one), len(two))
    padded = [(*[()] * (rank - len(axes)), *axes) for axes in (one, two)]
    result: list[Axis] = []
    for first, second in zip(*padded, strict=True):
        wide = first if size_of(first) != 1 or not second else second
        if size_of(wide) == size_of(second) and roots_of(second) and not roots_of(wide):
            wide = second
        result.append(wide)
    return tuple(result)


def einsum(step: Step) -> list[Axes | None]:
    equation = next((v for v in _strings(step.op.arguments.values())), "").replace(" ", "")
    terms, arrow, output = equation.partition("->")
    parts = terms.split(",")
    if "." in equation or not arrow or len(parts) != len(step.op.inputs):
        raise Unfollowed
    letters: dict[str, Axis] = {}
    for term, value in zip(parts, step.op.inputs, strict=True):
        for letter, axis in zip(term, step.axes_of(value), strict=True):
            known = letters.setdefault(letter, axis)
            if roots_of(axis) and not roots_of(known):
                letters[letter] = axis
        gone = [place for place, letter in enumerate(term) if letter not in output]
        if gone:
            # What all terms have is a lane; what only this one has are its own rows.
            lanes = [
                place
                for place, letter in enumerate(term)
                if letter in output and all(letter in other for other in parts)
            ]
            step.meet("product", value, gone, lanes)
    return [tuple(letters[letter] for letter in output)]


def _strings(nest: object) -> list[str]:
    if isinstance(nest, str):
        return [nest]
    if isinstance(nest, ValueIndex) or not hasattr(nest, "__iter__"):
        return []
    return [text for item in nest for text in _strings(item)]


# --- layers ---------------------------------------------------------------------------------------


def window(places: int) -> Rule:
    """Convolutions and poolings: windows over the last dimensions."""

    def rule(step: Step) -> list[Axes | None]:
        axes = step.first
        rank = len(axes)
        space = list(range(rank - places, rank))
        batched = rank == places + 2
        step.meet("convolution", step.data, space, [0] if batched else [])
        made: list[Axes | None] = []
        for place in range(len(step.op.outputs)):
            shape = step.shape(place)
            head = list(axes[: rank - places])
            if head and shape[len(head) - 1] != size_of(head[-1]):
                head[-1] = step.flow.new_axis(shape[len(head) - 1])
            rest = [step.derived(axes[dim], shape[dim]) for dim in space]
            made.append((*head, *rest))
        return made

    return rule


def convolution(places: int) -> Rule:
    slide = window(places)

    def rule(step: Step) -> list[Axes | None]:
        channels = len(step.first) - places - 1
        axes = slide(step)[0]
        assert axes is not None
        made = step.flow.new_axis(step.shape()[channels])
        return [(*axes[:channels], made, *axes[channels + 1 :])]

    return rule


def sampled(step: Step) -> list[Axes | None]:
    """Interpolation and padding: the same dimensions, of other sizes."""
    axes, shape = step.first, step.shape()
    return [tuple(step.derived(axis, size) for axis, size in zip(axes, shape, strict=True))]


def recurrent(step: Step) -> list[Axes | None]:
    value = step.index("input")
    axes = step.axes_of(value)
    if len(axes) == 2:
        step.meet("recurrence", value, [0], [])
        batch: Axes = ()
    else:
        first = bool(step.argument("batch_first", default=False))
        step.meet("recurrence", value, [1 if first else 0], [0 if first else 1])
        batch = (axes[0 if first else 1],)
    made: list[Axes | None] = [(*axes[:-1], step.flow.new_axis(step.shape()[-1]))]
    for place in range(1, len(step.op.outputs)):
        state = step.shape(place)
        made.append((step.flow.new_axis(state[0]), *batch, step.flow.new_axis(state[-1])))
    return made


def attention(step: Step) -> list[Axes | None]:
    query, key, value = (step.index(name) for name in ("query", "key", "value"))
    axes = step.axes_of(query)
    rank = len(axes)
    step.meet("attention", key, [len(step.shape_of(key)) - 2], list(range(rank - 2)))
    lanes = _aligned(axes[:-2], step.axes_of(key)[:-2])
    return [(*lanes, axes[-2], step.axes_of(value)[-1])]


def multi_head_attention(step: Step) -> list[Axes | None]:
    query, key = step.index("query"), step.index("key")
    axes, keys = step.axes_of(query), step.axes_of(key)
    step.meet("attention", key, [0], list(range(1, len(keys) - 1)))
    made: list[Axes | None] = [(*axes[:-1], step.flow.new_axis(step.shape()[-1]))]
    if len(step.op.outputs) > 1:
        shape = step.shape(1)
        heads = [step.flow.new_axis(size) for size in shape[len(axes) - 2 : -2]]
        made.append((*axes[1:-1], *heads, axes[0], keys[0]))
    return made


def encoder_layer(step: Step) -> list[Axes | None]:
    """The fast path of a transformer's layer, always batch first."""
    axes = step.first
    if len(axes) == 3:
        step.meet("attention", step.data, [1], [0])
    return [axes]


def distance(step: Step) -> list[Axes | None]:
    one, two = (step.axes_of(index) for index in step.op.inputs[:2])
    return [(*_aligned(one[:-2], two[:-2]), one[-2], two[-2])]


def similarity(step: Step) -> list[Axes | None]:
    one, two = (step.axes_of(index) for index in step.op.inputs[:2])
    axes = _aligned(one, two)
    dim = step.dim(len(axes), "dim", default=1)
    return [(*axes[:dim], *axes[dim + 1 :])]


def _names(text: str) -> Sequence[str]:
    return text.split()


MIXES: Mapping[str, Rule] = MappingProxyType(
    {
        "linear": linear,
        **dict.fromkeys(
            _names(
                "mean sum prod amax amin max min argmax argmin std var std_mean var_mean norm "
                "logsumexp any all median nanmean nansum vector_norm count_nonzero"
            ),
            reduction,
        ),
        **dict.fromkeys(_names("softmax log_softmax softmin gumbel_softmax"), along("softmax")),
        **dict.fromkeys(_names("cumsum cumprod logcumsumexp cummax cummin"), along("cumulative")),
        **dict.fromkeys(_names("sort argsort"), along("sort")),
        "topk": topk,
        **dict.fromkeys(
            _names("normalize batch_norm instance_norm group_norm layer_norm rms_norm"), normalize
        ),
        **dict.fromkeys(_names("matmul bmm mm mv"), matmul),
        **dict.fromkeys(_names("addmm baddbmm addmv"), matmul_and_add),
        "einsum": einsum,
        **{f"conv{n}d": convolution(n) for n in (1, 2, 3)},
        **{f"conv_transpose{n}d": convolution(n) for n in (1, 2, 3)},
        **{
            f"{kind}_pool{n}d{end}": window(n)
            for kind in ("max", "avg", "lp", "adaptive_max", "adaptive_avg")
            for n in (1, 2, 3)
            for end in ("", "_with_indices")
        },
        **dict.fromkeys(_names("interpolate upsample pad grid_sample"), sampled),
        **dict.fromkeys(_names("lstm gru rnn_tanh rnn_relu"), recurrent),
        "scaled_dot_product_attention": attention,
        "multi_head_attention_forward": multi_head_attention,
        "transformer_encoder_layer_fwd": encoder_layer,
        "cdist": distance,
        "cosine_similarity": similarity,
    }
)
