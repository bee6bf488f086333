"""What a function that rejected its arguments would have given: the shape, and what of it is sure.

A compiler doesn't stop at the first error. Where a layer declares its own output (Linear, a
convolution, a norm, an embedding), or where the author's intent can be told from the arguments (a
sum, a concatenation, a product, a reshape), the pass goes on with a tensor of that shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import Any

import torch

from archcheck.tracing.recover import layers
from archcheck.tracing.recover.guesses import ANY, Unsure
from archcheck.tracing.recover.layers import Arguments, Guess


def guess(name: str, arguments: Arguments) -> tuple[Guess, ...] | None:
    """The outputs of a call of this canonical name; None where nothing can be said."""
    rule = _RULES.get(name)
    if rule is None:
        return None
    try:
        found = rule(arguments)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError):
        return None
    if found is None:
        return None
    return found if isinstance(found, tuple) else (found,)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _broadcast(shapes: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], Unsure]:
    """The broadcast shape; where sizes disagree, the first operand's, and the others."""
    rank = max(map(len, shapes))
    sizes: list[int] = []
    unsure: dict[int, frozenset[int]] = {}
    for place in range(rank):
        at = [s[place - rank + len(s)] for s in shapes if place - rank + len(s) >= 0]
        wide = [size for size in at if size != 1]
        sizes.append(wide[0] if wide else 1)
        if len(set(wide)) > 1:
            unsure[place] = frozenset(wide)
    return tuple(sizes), unsure


def _elementwise(compares: bool = False) -> Callable[[Arguments], Guess | None]:
    def rule(arguments: Arguments) -> Guess | None:
        tensors = [value for value in arguments.values() if _is_tensor(value)]
        if len(tensors) < 2:
            return None
        shape, unsure = _broadcast([tensor.shape for tensor in tensors])
        dtype = tensors[0].dtype
        for tensor in tensors[1:]:
            dtype = torch.promote_types(dtype, tensor.dtype)
        return Guess(shape, torch.bool if compares else dtype, unsure)

    return rule


def _cat(arguments: Arguments) -> Guess | None:
    tensors = [tensor for tensor in arguments["tensors"] if _is_tensor(tensor)]
    rank = max(tensor.dim() for tensor in tensors)
    same = [tensor for tensor in tensors if tensor.dim() == rank]
    dim = arguments.get("dim", 0)
    if not -rank <= dim < rank:
        return None
    dim %= rank
    sizes = list(same[0].shape)
    sizes[dim] = sum(tensor.shape[dim] for tensor in same)
    unsure: dict[int, frozenset[int]] = {}
    for place in range(rank):
        others = frozenset(tensor.shape[place] for tensor in same)
        if place != dim and len(others) > 1:
            unsure[place] = others
    widths = {tensor.shape[dim] for tensor in same}
    if len(unsure) == 1 and len(widths) == 1:
        # The dimension itself may be the mistake: along the other one they would join.
        unsure[dim] = frozenset({sizes[dim], *widths})
    if len(same) < len(tensors):
        unsure[dim] = ANY
    return Guess(tuple(sizes), same[0].dtype, unsure)


def _stack(arguments: Arguments) -> Guess:
    tensors = list(arguments["tensors"])
    first = tensors[0]
    dim = arguments.get("dim", 0) % (first.dim() + 1)
    sizes = list(first.shape)
    unsure: dict[int, frozenset[int]] = {}
    for place in range(first.dim()):
        same = [tensor.shape[place] for tensor in tensors if tensor.dim() == first.dim()]
        if len(same) < len(tensors) or len(set(same)) > 1:
            unsure[place + (place >= dim)] = frozenset(same)
    sizes.insert(dim, len(tensors))
    return Guess(tuple(sizes), first.dtype, unsure)


def _matmul(arguments: Arguments) -> Guess | None:
    one = arguments["input"]
    two = arguments.get("other", arguments.get("mat2", arguments.get("vec")))
    return _product(one, two)


def _addmm(one: str, two: str) -> Callable[[Arguments], Guess | None]:
    return lambda arguments: _product(arguments[one], arguments[two])


def _product(one: torch.Tensor, two: torch.Tensor) -> Guess | None:
    if one.dim() < 1 or two.dim() < 1:
        return None
    dtype = torch.promote_types(one.dtype, two.dtype)
    rows = tuple(one.shape[-2:-1])
    columns = tuple(two.shape[-1:]) if two.dim() > 1 else ()
    batch: tuple[int, ...] = ()
    unsure: Unsure = {}
    if one.dim() > 2 or two.dim() > 2:
        batch, unsure = _broadcast([one.shape[:-2], two.shape[:-2]])
    if two.dim() > 1 and one.shape[-1] != two.shape[-2]:
        # The second factor may have been meant transposed.
        unsure = {**unsure, len(batch) + len(rows): frozenset(two.shape[-2:])}
    return Guess((*batch, *rows, *columns), dtype, unsure)


def _einsum(arguments: Arguments) -> Guess | None:
    equation, *operands = arguments.get("args") or (None,)
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = operands[0]
    if not isinstance(equation, str) or "." in equation or "->" not in equation:
        return None
    left, right = equation.replace(" ", "").split("->")
    sizes: dict[str, int] = {}
    unsure: set[str] = set()
    for labels, operand in zip(left.split(","), operands, strict=True):
        for place, label in enumerate(labels):
            size = operand.shape[place] if place < operand.dim() else 1
            if sizes.setdefault(label, size) != size:
                unsure.add(label)
        if len(labels) != operand.dim():
            unsure.update(labels)
    shape = tuple(sizes[label] for label in right)
    return Guess(
        shape,
        operands[0].dtype,
        {place: ANY for place, label in enumerate(right) if label in unsure},
    )


def _reshape(arguments: Arguments) -> Guess | None:
    x = arguments["input"]
    asked = arguments.get("size", arguments.get("shape"))
    sizes = [asked] if isinstance(asked, int) else list(asked)
    if not all(isinstance(size, int) for size in sizes) or sizes.count(-1) > 1:
        return None
    unsure: dict[int, frozenset[int]] = {}
    if -1 in sizes:
        place = sizes.index(-1)
        rest = prod(size for size in sizes if size != -1)
        exact = rest > 0 and x.numel() % rest == 0
        # `view(-1, 2048)` was meant to keep the batch.
        sizes[place] = x.numel() // rest if exact else (x.shape[0] if x.dim() else 1)
        if not exact and place > 0:
            unsure[place] = ANY
    if any(size < 0 for size in sizes):
        return None
    return Guess(tuple(sizes), x.dtype, unsure)


def _unflatten(arguments: Arguments) -> Guess | None:
    x, dim, sizes = arguments["input"], arguments["dim"], list(arguments["sizes"])
    if not isinstance(dim, int) or -1 in sizes:
        return None
    dim %= x.dim()
    return Guess((*x.shape[:dim], *sizes, *x.shape[dim + 1 :]), x.dtype)


def _expand(arguments: Arguments) -> Guess | None:
    x, asked = arguments["input"], arguments.get("size")
    if asked is None:
        return None
    ahead = len(asked) - x.dim()
    sizes = [x.shape[p - ahead] if size == -1 else size for p, size in enumerate(asked)]
    return Guess(tuple(sizes), x.dtype)


_RULES: Mapping[str, Callable[[Arguments], Any]] = MappingProxyType(
    {
        "linear": layers.linear,
        "bilinear": layers.bilinear,
        "embedding": layers.embedding,
        **{f"conv{n}d": layers.convolution(n, False) for n in (1, 2, 3)},
        **{f"conv_transpose{n}d": layers.convolution(n, True) for n in (1, 2, 3)},
        **dict.fromkeys(
            ("batch_norm", "instance_norm", "group_norm", "layer_norm", "rms_norm",
             "local_response_norm", "prelu"),
            layers.same,
        ),
        **dict.fromkeys(
            ("softmax", "log_softmax", "softmin", "gumbel_softmax", "dropout", "dropout1d",
             "dropout2d", "dropout3d", "relu", "gelu", "silu", "elu", "sigmoid", "tanh",
             "leaky_relu", "hardswish", "normalize", "mish"),
            layers.floating,
        ),
        **{f"{kind}_pool{n}d": layers.pool(n) for kind in ("max", "avg", "lp") for n in (1, 2, 3)},
        **{f"max_pool{n}d_with_indices": layers.pool(n, True) for n in (1, 2, 3)},
        **{
            f"adaptive_{kind}_pool{n}d": layers.adaptive_pool(n)
            for kind in ("avg", "max")
            for n in (1, 2, 3)
        },
        **{
            name: _elementwise()
            for name in ("add", "sub", "mul", "div", "pow", "maximum", "minimum", "where",
                         "floor_divide", "remainder", "addcmul", "lerp", "masked_fill")
        },
        **{name: _elementwise(compares=True) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
        "cat": _cat,
        "stack": _stack,
        **dict.fromkeys(("matmul", "mm", "bmm", "mv"), _matmul),
        "addmm": _addmm("mat1", "mat2"),
        "baddbmm": _addmm("batch1", "batch2"),
        "einsum": _einsum,
        "glu": layers.halved,
        "lstm_cell": layers.cell(2),
        **dict.fromkeys(("gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), layers.cell(1)),
        **dict.fromkeys(
            ("cross_entropy", "nll_loss", "mse_loss", "l1_loss", "binary_cross_entropy",
             "binary_cross_entropy_with_logits", "smooth_l1_loss", "huber_loss", "kl_div"),
            layers.loss,
        ),
        "view": _reshape,
        "reshape": _reshape,
        "unflatten": _unflatten,
        "expand": _expand,
        "scaled_dot_product_attention": layers.attention,
        "multi_head_attention_forward": layers.multi_head_attention,
    }
)  # fmt: skip
