"""The shape arithmetic of layers that do not look around: products, norms, attention, embeddings.

Each rule gives the shapes that come out and notes what the operator demands. The formulas are
those of the operators' pages in torch's documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from archcheck.evidence.records import ValueIndex
from archcheck.evidence.sizes import Size, number, product
from archcheck.tracing.sizes.replay import Dims, Rule, Step, Unknown


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


LAYERS: Mapping[str, Rule] = MappingProxyType(
    {
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
    }
)
