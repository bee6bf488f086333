"""The memory that a loss's scalar keeps alive: on the CPU some reduce in the buffer of all losses.

`F.mse_loss(x, y)` computes the loss of each element into a buffer and then reduces that to its
first element, so that the number which it returns is as large, in memory, as its input. The meta
kernels give a number of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

_aten = torch.ops.aten
_REDUCES_ITS_BUFFER = frozenset(
    {
        _aten.mse_loss.default,
        _aten.smooth_l1_loss.default,
        _aten.soft_margin_loss.default,
        _aten.binary_cross_entropy.default,
    }
)


def with_buffer(func: Any, args: Sequence[Any], result: Any) -> Any:
    """Return a kernel's result on meta tensors, in a storage as large as on the CPU."""
    if func not in _REDUCES_ITS_BUFFER or not isinstance(result, torch.Tensor):
        return result
    if result.dim() or not result.is_meta:
        return result
    shape = torch.broadcast_shapes(args[0].shape, args[1].shape)  # type: ignore[no-untyped-call]
    count = torch.Size(shape).numel()
    if count < 2:
        return result
    return torch.empty(count, dtype=result.dtype, device="meta").as_strided((), ())
