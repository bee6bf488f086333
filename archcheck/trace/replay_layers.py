"""The shape arithmetic of layers: convolution, pooling, resizing, products, norms, attention.

Each rule gives the shapes that come out and notes what the operator demands. The formulas are
those of the operators' pages in torch's documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from archcheck.evidence import ValueIndex
from archcheck.trace.replay import Dims, Rule, Step, Unknown
from archcheck.trace.symbols import Size, number, pooled_up, product, scaled


def _space(step: Step, places: int) -> tuple[Dims, Dims]:
    """The input's shape before and from its dimensions of space."""
    shape = step.shape("input")
    if len(shape) < places + 1:
        raise Unknown
    return shape[:-places], shape[-places:]


def convolution(places: int) -> Rule:
    def rule(step: Step) -> list[Dims]:
        head, space = _space(step, places)
        weight = step.shape("weight")
        groups = step.argument("groups", default=1)
        stride = step.integers(step.argument("stride", default=1), places)
        dilation = step.integers(step.argument("dilation", default=1), places)
        step.equal(head[-1], weight[1] * groups, width=True)
        padding = step.argument("padding", default=0)
        result = []
        for place, size in enumerate(space):
            kernel = _fixed(weight[2 + place])
            reach = dilation[place] * (kernel - 1)
            if padding == "same":
                result.append(size)
                continue
            around = 0 if padding == "valid" else step.integers(padding, places)[place]
            step.at_least(size + 2 * around, reach + 1)
            result.append((size + (2 * around - reach - 1)) // stride[place] + 1)
        return [(*head[:-1], weight[0], *result)]

    return rule


def transposed_convolution(places: int) -> Rule:
    def rule(step: Step) -> list[Dims]:
        head, space = _space(step, places)
        weight = step.shape("weight")
        stride, padding, extra, dilation = (
            step.integers(step.argument(name, default=default), places)
            for name, default in (
                ("stride", 1),
                ("padding", 0),
                ("output_padding", 0),
                ("dilation", 1),
            )
        )
        step.equal(head[-1], weight[0], width=True)
        result = []
        for place, size in enumerate(space):
            reach = dilation[place] * (_fixed(weight[2 + place]) - 1)
            grown = (size - 1) * stride[place] - 2 * padding[place] + reach + extra[place] + 1
            step.at_least(grown, 1)
            result.append(grown)
        return [(*head[:-1], weight[1] * step.argument("groups", default=1), *result)]

    return rule


def pooling(places: int) -> Rule:
    def rule(step: Step) -> list[Dims]:
        head, space = _space(step, places)
        kernel = _window(step, step.argument("kernel_size"), space)
        stride_argument = step.argument("stride")
        stride = kernel
        if stride_argument is not None and stride_argument != ():
            stride = _window(step, stride_argument, space)
        padding = step.integers(step.argument("padding", default=0), places)
        dilation = step.integers(step.argument("dilation", default=1), places)
        result = []
        for place, size in enumerate(space):
            if kernel[place] == size and padding[place] == 0:
                result.append(number(1))  # the kernel was read from the map: a global pooling
                continue
            window, jump = _fixed(kernel[place]), _fixed(stride[place])
            around, gap = padding[place], dilation[place]
            if step.flag("ceil_mode"):
                out = pooled_up(size, window, jump, around, gap)
            else:
                out = (size + (2 * around - gap * (window - 1) - 1)) // jump + 1
            step.at_least(out, 1)
            result.append(out)
        shape = (*head, *result)
        return [shape] * len(step.op.outputs)

    return rule


def _window(step: Step, value: Any, space: Dims) -> list[Size]:
    """A window's sizes; a functional pooling may have read them from the map (global pooling)."""
    sizes = step.integers(value, len(space))
    now = step.replay.now
    same = all(now(have) == size for have, size in zip(space, sizes, strict=True))
    if same and not step.is_layers("Pool"):
        return [
            step.follow(size, [have]) if have.constant is None else number(size)
            for have, size in zip(space, sizes, strict=True)
        ]
    return [number(size) for size in sizes]


def adaptive_pooling(places: int) -> Rule:
    def rule(step: Step) -> list[Dims]:
        head, space = _space(step, places)
        wanted = step.argument("output_size")
        if not isinstance(wanted, tuple | list):
            wanted = (wanted,) * places
        result = []
        for size, target in zip(space, wanted, strict=True):
            step.at_least(size, 1)
            if target is None:
                result.append(size)
            else:
                result.append(number(target) if step.is_layers("Pool") else step.follow(target))
        return [(*head, *result)] * len(step.op.outputs)

    return rule


def interpolate(step: Step) -> list[Dims]:
    shape = step.shape("input")
    places = len(shape) - 2
    size, factor = step.argument("size"), step.argument("scale_factor")
    if size is not None:
        if isinstance(size, int):
            size = (size,) * places
        target = []
        for place, value in enumerate(size):
            near = _at_this_place(step, place - places, value)
            fixed = step.is_layers("Upsampl")
            target.append(number(value) if fixed else step.follow(value, near))
    elif factor is not None:
        factors = factor if isinstance(factor, tuple | list) else (factor,) * places
        target = [scaled(have, by) for have, by in zip(shape[2:], factors, strict=True)]
    else:
        raise Unknown
    for have in (*shape[2:], *target):
        step.at_least(have, 1)
    return [(*shape[:2], *target)]


def _at_this_place(step: Step, place: int, size: int) -> Iterable[Size]:
    """Sizes of earlier values that stand at the same place from the end, the latest first."""
    step.looked_around = True
    replay = step.replay
    for value in reversed(replay.trace.values[: step.op.outputs[0]]):
        if len(value.shape) >= -place and value.shape[place] == size:
            try:
                found = replay.shape(value.index)[place]
            except Unknown:
                continue
            if found.constant is None:
                yield found
                return


def pad(step: Step) -> list[Dims]:
    shape = list(step.shape("input"))
    amounts = step.argument("pad")
    mode = step.argument("mode", default="constant")
    if not isinstance(amounts, tuple | list) or len(amounts) % 2:
        raise Unknown
    for place in range(len(amounts) // 2):
        before, after = amounts[2 * place : 2 * place + 2]
        size = shape[-1 - place]
        if mode == "reflect":
            step.at_least(size, max(before, after) + 1)
        elif mode == "circular":
            step.at_least(size, max(before, after))
        shape[-1 - place] = size + (before + after)
        step.at_least(shape[-1 - place], 0 if mode == "constant" else 1)
    return [tuple(shape)]


def linear(step: Step) -> list[Dims]:
    shape, weight = step.shape("input"), step.shape("weight")
    step.equal(shape[-1], weight[-1], width=True)
    return [(*shape[:-1], *weight[:-1])]


def bilinear(step: Step) -> list[Dims]:
    left, right, weight = step.shape("input1"), step.shape("input2"), step.shape("weight")
    step.equal(left[-1], weight[1], width=True)
    step.equal(right[-1], weight[2], width=True)
    return [(*step.broadcast(left[:-1], right[:-1]), weight[0])]


def matmul(step: Step) -> list[Dims]:
    left = step.shape("input")
    right = step.shape("other", "mat2", "vec2", "vec", "tensor")
    return [_matmul(step, left, right)]


def _matmul(step: Step, left: Dims, right: Dims) -> Dims:
    step.equal(left[-1], right[-2] if len(right) > 1 else right[0])
    rows = left[-2:-1]
    columns = right[-1:] if len(right) > 1 else ()
    return (*step.broadcast(left[:-2], right[:-2]), *rows, *columns)


def matmul_and_add(step: Step) -> list[Dims]:
    result = _matmul(step, step.shape("mat1", "batch1", "mat"), step.shape("mat2", "batch2", "vec"))
    step.broadcast(step.shape("input"), result)
    return [result]


def einsum(step: Step) -> list[Dims]:
    equation, _ = _equation(step.op.arguments)
    shapes = step.inputs
    terms, arrow, output = equation.replace(" ", "").partition("->")
    letters: dict[str, Size] = {}
    dotted: Dims = ()
    for term, shape in zip(terms.split(","), shapes, strict=True):
        before, dots, after = term.partition("...")
        if dots:
            end = len(shape) - len(after)
            dotted = step.broadcast(dotted, shape[len(before) : end])
            shape = (*shape[: len(before)], *shape[end:])
        elif len(term) != len(shape):
            raise Unknown
        for letter, size in zip(before + after, shape, strict=True):
            known = letters.setdefault(letter, size)
            if known.constant == 1:
                letters[letter] = size
            elif size.constant != 1:
                step.equal(size, known)
    if not arrow:
        names = "".join(terms.split(",")).replace("...", "")
        once = sorted(letter for letter in letters if names.count(letter) == 1)
        return [(*dotted, *(letters[letter] for letter in once))]
    before, dots, after = output.partition("...")
    middle = dotted if dots else ()
    return [(*(letters[x] for x in before), *middle, *(letters[x] for x in after))]


def _equation(nest: Any) -> tuple[str, bool]:
    """The equation among an einsum's arguments, however they were bound."""
    if isinstance(nest, str):
        return nest, True
    items = nest.values() if isinstance(nest, Mapping) else nest
    if isinstance(items, Iterable):
        for item in items:
            if isinstance(item, str | tuple | list):
                found = _equation(item)
                if found[1]:
                    return found
    return "", False


def channel_norm(step: Step) -> list[Dims]:
    """Batch norm and instance norm: a parameter for each channel."""
    shape = step.shape("input")
    for name in ("weight", "bias", "running_mean", "running_var"):
        parameter = step.shape_if(name)
        if parameter is not None:
            step.equal(shape[1], parameter[0], width=True)
    if step.op.name == "batch_norm" and step.flag("training"):
        step.at_least(product((shape[0], *shape[2:])), 2)
    if step.op.name == "instance_norm" and step.flag("use_input_stats"):
        step.at_least(product(shape[2:]), 2)
    return [shape]


def group_norm(step: Step) -> list[Dims]:
    shape = step.shape("input")
    step.divisible(shape[1], step.argument("num_groups"))
    weight = step.shape_if("weight")
    if weight is not None:
        step.equal(shape[1], weight[0], width=True)
    return [shape]


def layer_norm(step: Step) -> list[Dims]:
    shape = step.shape("input")
    wanted = step.argument("normalized_shape")
    sizes = (wanted,) if isinstance(wanted, int) else tuple(wanted)
    follows = step.shape_if("weight") is None
    for have, size in zip(shape[-len(sizes) :], sizes, strict=True):
        # With a weight the shape is the layer's; without, it may have been read from the map.
        wants = step.follow(size, [have]) if follows else number(size)
        step.equal(have, wants, width=len(sizes) == 1)
    return [shape]


def attention(step: Step) -> list[Dims]:
    query, key, value = step.shape("query"), step.shape("key"), step.shape("value")
    step.equal(query[-1], key[-1])
    step.equal(key[-2], value[-2])
    scores = (*query[:-1], key[-2])
    mask = step.shape_if("attn_mask")
    if mask is not None:
        step.broadcast(mask, scores)
    if not step.flag("enable_gqa"):
        step.broadcast(query[:-2], key[:-2])
    return [(*query[:-1], value[-1])]


def multi_head_attention(step: Step) -> list[Dims]:
    query, key, value = step.shape("query"), step.shape("key"), step.shape("value")
    step.equal(query[-1], step.argument("embed_dim_to_check", default=0), width=True)
    step.equal(key[0], value[0])
    mask = step.shape_if("attn_mask")
    length = query[0]
    if mask is not None:
        step.equal(mask[-2], length)
        step.equal(mask[-1], key[0])
    padding = step.shape_if("key_padding_mask")
    if padding is not None:
        step.equal(padding[-1], key[0])
    result = [query]
    if len(step.op.outputs) > 1:
        heads = () if step.flag("average_attn_weights") else (number(step.recorded(1)[-3]),)
        result.append((*query[1:-1], *heads, length, key[0]))
    return result


def recurrent(step: Step) -> list[Dims]:
    """LSTM, GRU and plain RNN on padded sequences: outputs, and the last states."""
    shape = step.shape("input")
    parameters = step.argument("params")
    if not isinstance(parameters, tuple) or not isinstance(parameters[0], ValueIndex):
        raise Unknown
    step.equal(shape[-1], step.replay.shape(parameters[0].index)[-1], width=True)
    batch = shape[0 if step.flag("batch_first") else 1 : len(shape) - 1]
    result: list[Dims] = [(*shape[:-1], number(step.recorded()[-1]))]
    for place in range(1, len(step.op.outputs)):
        state = step.recorded(place)
        result.append((number(state[0]), *batch[:1], number(state[-1])))
    return result


def embedding(step: Step) -> list[Dims]:
    index = step.argument("input")
    count = step.replay.counts.get(index.index) if isinstance(index, ValueIndex) else None
    if count is not None:
        step.looked_around = True
        step.at_least(step.shape("weight")[0], count, by_values=True)
    return [(*step.shape("input"), step.shape("weight")[-1])]


def pixel_shuffle(step: Step) -> list[Dims]:
    *head, channels, height, width = step.shape("input")
    factor = step.argument("upscale_factor")
    step.divisible(channels, factor * factor)
    return [(*head, channels // (factor * factor), height * factor, width * factor)]


def pixel_unshuffle(step: Step) -> list[Dims]:
    *head, channels, height, width = step.shape("input")
    factor = step.argument("downscale_factor")
    step.divisible(height, factor)
    step.divisible(width, factor)
    return [(*head, channels * (factor * factor), height // factor, width // factor)]


def grid_sample(step: Step) -> list[Dims]:
    shape, grid = step.shape("input"), step.shape("grid")
    return [(*shape[:2], *grid[1:-1])]


def _fixed(size: Size) -> int:
    if size.constant is None:
        raise Unknown
    return size.constant


LAYERS: Mapping[str, Rule] = MappingProxyType(
    {
        **{f"conv{n}d": convolution(n) for n in (1, 2, 3)},
        **{f"conv_transpose{n}d": transposed_convolution(n) for n in (1, 2, 3)},
        **{f"{kind}_pool{n}d": pooling(n) for kind in ("max", "avg") for n in (1, 2, 3)},
        **{f"max_pool{n}d_with_indices": pooling(n) for n in (1, 2, 3)},
        **{
            f"adaptive_{kind}_pool{n}d": adaptive_pooling(n)
            for kind in ("max", "avg")
            for n in (1, 2, 3)
        },
        **{f"adaptive_max_pool{n}d_with_indices": adaptive_pooling(n) for n in (1, 2, 3)},
        **dict.fromkeys(("interpolate", "upsample"), interpolate),
        "pad": pad,
        "linear": linear,
        "bilinear": bilinear,
        **dict.fromkeys(("matmul", "bmm", "mm", "mv", "dot"), matmul),
        **dict.fromkeys(("addmm", "baddbmm", "addmv"), matmul_and_add),
        "einsum": einsum,
        **dict.fromkeys(("batch_norm", "instance_norm"), channel_norm),
        "group_norm": group_norm,
        **dict.fromkeys(("layer_norm", "rms_norm"), layer_norm),
        "scaled_dot_product_attention": attention,
        "multi_head_attention_forward": multi_head_attention,
        **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), recurrent),
        "embedding": embedding,
        "pixel_shuffle": pixel_shuffle,
        "pixel_unshuffle": pixel_unshuffle,
        "grid_sample": grid_sample,
    }
)
