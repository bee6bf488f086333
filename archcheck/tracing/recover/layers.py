"""What a layer that rejected its input would have given: layers declare their outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch

from archcheck.tracing.recover.guesses import ANY, Unsure

Arguments: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Guess:
    """A tensor to go on with.

    `unsure`: the dimensions whose sizes are made up, with the sizes that they may have instead
    (an empty set: any).
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    unsure: Unsure = field(default_factory=dict)


def _computed_dtype(x: torch.Tensor, weight: torch.Tensor) -> torch.dtype:
    """The data's, where it is a dtype to compute in: the layers that follow were made for it."""
    return x.dtype if x.dtype.is_floating_point or x.dtype.is_complex else weight.dtype


def linear(arguments: Arguments) -> Guess | None:
    """`F.linear`: the weight is [out, in]."""
    x, weight = arguments["input"], arguments["weight"]
    if weight.dim() != 2:
        return None
    leading = tuple(x.shape[:-1]) if x.dim() else ()
    return Guess((*leading, weight.shape[0]), _computed_dtype(x, weight))


def bilinear(arguments: Arguments) -> Guess:
    """`F.bilinear`: the weight is [out, in1, in2]."""
    x, weight = arguments["input1"], arguments["weight"]
    return Guess((*x.shape[:-1], weight.shape[0]), weight.dtype)


def embedding(arguments: Arguments) -> Guess:
    """`F.embedding`: one vector for each index."""
    x, weight = arguments["input"], arguments["weight"]
    return Guess((*x.shape, weight.shape[-1]), weight.dtype)


def _per_dimension(value: Any, count: int, default: int) -> list[int]:
    if value is None:
        return [default] * count
    if isinstance(value, int):
        return [value] * count
    found = list(value)
    return found * count if len(found) == 1 else found


def convolution(rank: int, transposed: bool) -> Callable[[Arguments], Guess | None]:
    """Convolutions of this rank; where the input has another, its spatial sizes are unknown."""

    def rule(arguments: Arguments) -> Guess | None:
        x, weight = arguments["input"], arguments["weight"]
        groups = arguments.get("groups", 1)
        if weight.dim() != rank + 2:
            return None
        channels = weight.shape[1] * groups if transposed else weight.shape[0]
        if x.dim() not in (rank + 1, rank + 2):
            # The layer says how many channels and dimensions it gives, the input no sizes.
            batch = x.shape[0] if x.dim() else 1
            spatial = tuple(x.shape[2 : 2 + rank])
            spatial += (1,) * (rank - len(spatial))
            return Guess(
                (batch, channels, *spatial),
                _computed_dtype(x, weight),
                dict.fromkeys(range(2, rank + 2), ANY),
            )
        stride = _per_dimension(arguments.get("stride"), rank, 1)
        padding = arguments.get("padding", 0)
        dilation = _per_dimension(arguments.get("dilation"), rank, 1)
        extra = _per_dimension(arguments.get("output_padding"), rank, 0)
        sizes: list[int] = []
        unsure: dict[int, frozenset[int]] = {}
        first = x.dim() - rank
        for place in range(rank):
            size, kernel = x.shape[first + place], weight.shape[2 + place]
            reach = dilation[place] * (kernel - 1)
            if isinstance(padding, str):
                pad = reach if padding == "same" else 0
            else:
                pad = 2 * _per_dimension(padding, rank, 0)[place]
            if transposed:
                out = (size - 1) * stride[place] - pad + reach + extra[place] + 1
            else:
                out = (size + pad - reach - 1) // stride[place] + 1
            if out < 1:
                unsure[first + place] = ANY
            sizes.append(max(out, 1))
        leading = tuple(x.shape[: first - 1])
        return Guess((*leading, channels, *sizes), _computed_dtype(x, weight), unsure)

    return rule


def same(arguments: Arguments) -> Guess:
    """Normalisations: the shape of what came in."""
    x = arguments["input"]
    weight = arguments.get("weight")
    return Guess(tuple(x.shape), weight.dtype if isinstance(weight, torch.Tensor) else x.dtype)


def floating(arguments: Arguments) -> Guess:
    """Functions of one tensor: its shape, in a dtype that they give."""
    x = arguments["input"]
    dtype = x.dtype if x.dtype.is_floating_point else torch.get_default_dtype()
    return Guess(tuple(x.shape), dtype)


def pool(rank: int, indices: bool = False) -> Callable[[Arguments], tuple[Guess, ...] | None]:
    """Poolings of this rank, of windows that may be larger than the input."""

    def rule(arguments: Arguments) -> tuple[Guess, ...] | None:
        x = arguments["input"]
        if x.dim() not in (rank + 1, rank + 2):
            return None
        kernel = _per_dimension(arguments["kernel_size"], rank, 1)
        stride = _per_dimension(arguments.get("stride") or kernel, rank, 1)
        padding = _per_dimension(arguments.get("padding"), rank, 0)
        dilation = _per_dimension(arguments.get("dilation"), rank, 1)
        first = x.dim() - rank
        sizes: list[int] = []
        unsure: dict[int, frozenset[int]] = {}
        for place in range(rank):
            reach = dilation[place] * (kernel[place] - 1)
            span = x.shape[first + place] + 2 * padding[place] - reach - 1
            if arguments.get("ceil_mode"):
                span += stride[place] - 1
            out = span // stride[place] + 1
            if out < 1:
                unsure[first + place] = ANY
            sizes.append(max(out, 1))
        found = Guess((*x.shape[:first], *sizes), x.dtype, unsure)
        if indices or arguments.get("return_indices"):
            return found, Guess(found.shape, torch.int64, found.unsure)
        return (found,)

    return rule


def adaptive_pool(rank: int) -> Callable[[Arguments], Guess | None]:
    """Adaptive poolings of this rank: the sizes that were asked for."""

    def rule(arguments: Arguments) -> Guess | None:
        x = arguments["input"]
        if x.dim() not in (rank + 1, rank + 2) or arguments.get("return_indices"):
            return None
        first = x.dim() - rank
        asked = _per_dimension(arguments["output_size"], rank, 1)
        sizes = [x.shape[first + p] if size is None else size for p, size in enumerate(asked)]
        return Guess((*x.shape[:first], *sizes), x.dtype)

    return rule


def halved(arguments: Arguments) -> Guess:
    """`glu`: one half of a dimension gates the other."""
    x = arguments["input"]
    dim = arguments.get("dim", -1) % x.dim()
    half = max(x.shape[dim] // 2, 1)
    return Guess((*x.shape[:dim], half, *x.shape[dim + 1 :]), x.dtype, {dim: ANY})


def loss(arguments: Arguments) -> Guess | None:
    """Losses that are reduced: one number."""
    x = arguments["input"]
    return None if arguments.get("reduction", "mean") == "none" else Guess((), x.dtype)


def cell(states: int) -> Callable[[Arguments], tuple[Guess, ...]]:
    """Recurrent cells, with this many states."""

    def rule(arguments: Arguments) -> tuple[Guess, ...]:
        x, weight = arguments["input"], arguments["w_hh"]
        found = Guess((*x.shape[:-1], weight.shape[1]), weight.dtype)
        return (found,) * states

    return rule


def attention(arguments: Arguments) -> Guess:
    """`F.scaled_dot_product_attention`."""
    query, value = arguments["query"], arguments["value"]
    return Guess((*query.shape[:-1], value.shape[-1]), query.dtype)


def multi_head_attention(arguments: Arguments) -> tuple[Guess, ...]:
    """`F.multi_head_attention_forward`: the outputs and the weights."""
    query, key = arguments["query"], arguments["key"]
    width = arguments["embed_dim_to_check"]
    # Made for another width than it got, it may have been meant for that one.
    unsure = {query.dim() - 1: frozenset({width, query.shape[-1]})}
    output = Guess(
        (*query.shape[:-1], width), query.dtype, unsure if query.shape[-1] != width else {}
    )
    if not arguments.get("need_weights", True):
        return output, Guess((), query.dtype)
    batched = query.dim() == 3
    steps = (query.shape[0], key.shape[0])
    batch = (query.shape[1],) if batched else ()
    if not arguments.get("average_attn_weights", True):
        batch += (arguments["num_heads"],)
    return output, Guess((*batch, *steps), query.dtype)
