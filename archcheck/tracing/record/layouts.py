"""Tensors that are no plain array: sparse, nested and quantized ones.

They have no form without memory that behaves like them, so that only real tensors can be passed
through a model that uses them; and their shapes have to be told in plain numbers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._mode_utils import no_dispatch

from archcheck.core.target import Shape

_DENSE = torch.strided


def unusual_layout(tensor: torch.Tensor) -> str | None:
    """Return the name of what is unusual about a tensor's memory, None for a plain array."""
    with torch._C.DisableTorchFunction():
        if tensor.is_nested:
            return "nested"
        if tensor.layout is not _DENSE:
            return "sparse" if "sparse" in str(tensor.layout) else str(tensor.layout)
        return "quantized" if tensor.is_quantized else None


def layout_of(tensor: torch.Tensor) -> tuple[Shape, Shape]:
    """Return the shape and the strides in plain numbers, no strides where there are none.

    A nested tensor has the shape that padding would give it.
    """
    if tensor.is_nested:
        with torch._C.DisableTorchFunction():
            return _padded_shape(tensor), ()
    try:
        stride = tensor.stride()
    except (NotImplementedError, RuntimeError):
        stride = ()
    return tuple(tensor.shape), stride


def _padded_shape(tensor: torch.Tensor) -> Shape:
    if tensor.layout is _DENSE:
        with no_dispatch():
            sizes = tensor._nested_tensor_size()
            longest = sizes.amax(0).tolist() if sizes.numel() else [0] * sizes.shape[-1]
        return (len(sizes), *longest)
    longest_row = _longest_row(tensor)
    return tuple(size if type(size) is int else longest_row for size in tensor.shape)


def _longest_row(tensor: Any) -> int:
    offsets, lengths = tensor._offsets, tensor._lengths
    if offsets.is_meta:
        return 1
    with no_dispatch():
        rows = offsets.diff() if lengths is None else lengths
        return int(rows.max()) if rows.numel() else 0
