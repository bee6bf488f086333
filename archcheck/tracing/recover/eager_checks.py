"""Calls that meta and fake kernels let pass and eager may reject: those are put to eager itself.

Found by comparing small calls of every layer of `torch.nn` on all three kinds of tensors; the
test that does so keeps the list complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

_PRODUCTS = {
    "linear", "bilinear", "matmul", "mm", "bmm", "mv", "addmm", "baddbmm", "einsum", "tensordot",
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "scaled_dot_product_attention", "multi_head_attention_forward", "lstm", "gru", "rnn_tanh",
    "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell", "layer_norm",
    "batch_norm", "group_norm", "instance_norm", "prelu",
}  # fmt: skip


def is_doubtful(name: str, arguments: Mapping[str, Any]) -> bool:
    """Whether only eager can say if it takes these arguments."""
    if name.startswith("conv_transpose") and _transposed_is_doubtful(arguments):
        return True
    x, dim = arguments.get("input"), arguments.get("dim")
    if isinstance(x, torch.Tensor) and type(dim) is int and not -x.dim() <= dim < x.dim():
        return True
    if name not in _PRODUCTS:
        return False
    kinds: set[torch.dtype] = set()
    for value in arguments.values():
        for tensor in value if isinstance(value, list | tuple) else (value,):
            if isinstance(tensor, torch.Tensor) and tensor.dtype is not torch.bool:
                kinds.add(tensor.dtype)
    is_truth = isinstance(x, torch.Tensor) and x.dtype is torch.bool
    return len(kinds) > 1 or is_truth


def _transposed_is_doubtful(arguments: Mapping[str, Any]) -> bool:
    x, weight = arguments.get("input"), arguments.get("weight")
    if not isinstance(x, torch.Tensor) or not isinstance(weight, torch.Tensor):
        return False
    rank = weight.dim() - 2
    place = x.dim() - rank - 1
    if not 0 <= place < x.dim() or x.shape[place] != weight.shape[0]:
        return True
    extra = _each(arguments.get("output_padding", 0), rank)
    stride = _each(arguments.get("stride", 1), rank)
    dilation = _each(arguments.get("dilation", 1), rank)
    padding = _each(arguments.get("padding", 0), rank)
    for dim in range(rank):
        reach = dilation[dim] * (weight.shape[2 + dim] - 1)
        size = x.shape[place + 1 + dim]
        out = (size - 1) * stride[dim] - 2 * padding[dim] + reach + extra[dim] + 1
        if out < 1 or extra[dim] >= max(stride[dim], dilation[dim]):
            return True
    return False


def _each(value: Any, rank: int) -> list[int]:
    if isinstance(value, int):
        return [value] * rank
    found = list(value)
    return found * rank if len(found) == 1 else found
