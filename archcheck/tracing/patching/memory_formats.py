"""Memory formats that meta kernels forget: channels last goes through convolutions and norms.

`x.permute(0, 3, 1, 2)` of an image with its channels last is in that format, and the CPU's kernels
keep it, so that a `view` of what comes out fails. The meta kernels give contiguous tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch

# oneDNN's convolution takes over from the plain one where there is enough to do.
_ENOUGH = 20480


def suggest_memory_format(tensor: torch.Tensor) -> torch.memory_format:
    """Return the format that torch takes a tensor's strides for; contiguous where both fit.

    As `is_channels_last_strides_2d` of c10/core/MemoryFormat.h decides it.
    """
    rank = tensor.dim()
    if rank not in (4, 5) or tensor.layout is not torch.strided:
        return torch.contiguous_format
    sizes, strides = tensor.shape, tensor.stride()
    least = 0
    if strides[1] == 0:
        return torch.contiguous_format
    for dim in (1, *range(rank - 1, 1, -1), 0):
        if sizes[dim] == 0 or strides[dim] < least or (dim == 0 and least == strides[1]):
            return torch.contiguous_format
        least = strides[dim] * max(sizes[dim], 1)
    return torch.channels_last if rank == 4 else torch.channels_last_3d


def in_cpu_format(name: str, func: Any, args: Sequence[Any], result: Any) -> Any:
    """Return a kernel's result on meta tensors with the strides that it has on the CPU.

    Args:
        name: The function that runs the kernel.
    """
    chosen = _FORMATS.get(func)
    if chosen is None and func is _CLONE and name == "group_norm":
        chosen = _of_first  # where it is not the CPU's, the input is made contiguous
    if chosen is None:
        return result
    first = result[0] if isinstance(result, tuple) else result
    if not isinstance(first, torch.Tensor) or not first.is_meta:
        return result
    memory_format = chosen(args)
    if memory_format is torch.contiguous_format:
        return result
    restrided = torch.empty_like(first, memory_format=memory_format)
    return (restrided, *result[1:]) if isinstance(result, tuple) else restrided


def _of_convolution(args: Sequence[Any]) -> torch.memory_format:
    x, weight = args[0], args[1]
    for tensor in (x, weight):
        found = suggest_memory_format(tensor)
        if found is not torch.contiguous_format:
            flat = found is torch.channels_last
            return found if flat or _takes_onednn(args) else torch.contiguous_format
    return torch.contiguous_format


def _takes_onednn(args: Sequence[Any]) -> bool:
    """Whether a convolution over volumes is oneDNN's; the plain one gives contiguous tensors."""
    x, weight, groups = args[0], args[1], args[8]
    if x.dtype is not torch.float32 or weight.dtype is not torch.float32:
        return False
    wide = weight.shape[-1] > 3 and weight.shape[-2] > 3
    return bool(x.shape[0] > 1 or groups > 1 or wide or x.shape[:4].numel() > _ENOUGH)


def _of_first(args: Sequence[Any]) -> torch.memory_format:
    return suggest_memory_format(args[0])


_CLONE = torch.ops.aten.clone.default
_FORMATS: Mapping[Any, Callable[[Sequence[Any]], torch.memory_format]] = MappingProxyType(
    {
        torch.ops.aten.convolution.default: _of_convolution,
        torch.ops.aten.native_group_norm.default: _of_first,
    }
)
