"""Scaled dot-product attention on meta tensors by the kernel that the CPU would choose."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch.utils._mode_utils import no_dispatch

_FLASH_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def attention_as_on_cpu(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """Attention on meta tensors; on others, torch's own.

    Left alone, torch takes the plain formula for meta tensors, with the whole matrix of weights
    in memory, which real tensors never need.
    """
    plain = torch._C._nn.scaled_dot_product_attention
    if query.dim() == key.dim() == value.dim() == 3 and _is_fused_on_cpu("three dimensions"):
        mask = (
            attn_mask.unsqueeze(0) if attn_mask is not None and attn_mask.dim() == 3 else attn_mask
        )
        query, key, value = query.unsqueeze(0), key.unsqueeze(0), value.unsqueeze(0)
        return attention_as_on_cpu(
            query, key, value, mask, dropout_p, is_causal, scale, enable_gqa
        ).squeeze(0)
    tensors = (query, key, value)
    fused = (
        dropout_p == 0.0
        and all(tensor.dim() == 4 and tensor.is_meta and tensor.numel() for tensor in tensors)
        and len({tensor.dtype for tensor in tensors}) == 1
        and query.dtype in _FLASH_DTYPES
        and len({tensor.shape[-1] for tensor in tensors}) == 1
        and len({tensor.shape[0] for tensor in tensors}) == 1
        and all(tensor.stride(-1) == 1 for tensor in tensors)
        and key.shape[1:3] == value.shape[1:3]
        and _heads_fit(query.shape[1], key.shape[1], enable_gqa)
        and (attn_mask is None or not is_causal or _is_fused_on_cpu("both masks"))
        and (
            attn_mask is None or (not attn_mask.requires_grad and _mask_fits(attn_mask, query, key))
        )
    )
    if not fused:
        result: torch.Tensor = plain(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
        return result
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = torch.empty(attn_mask.shape, dtype=query.dtype, device="meta")
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    output: torch.Tensor
    output, _ = flash(query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=scale)
    return output


def _mask_fits(mask: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> bool:
    """The fused kernel takes masks of two and four dimensions that broadcast to the weights."""
    if mask.dim() not in (2, 4) or mask.dtype not in (torch.bool, query.dtype):
        return False
    wanted = (query.shape[0], query.shape[1], query.shape[2], key.shape[2])
    pairs = zip(mask.shape, wanted[-mask.dim() :], strict=True)
    return all(size in (1, want) for size, want in pairs)


def _heads_fit(heads: int, key_heads: int, grouped: bool) -> bool:
    if heads == key_heads:
        return True
    if grouped:
        return heads % key_heads == 0 and _is_fused_on_cpu("groups of heads")
    return key_heads == 1 and _is_fused_on_cpu("one head for all")


@cache
def _is_fused_on_cpu(kind: str) -> bool:
    """Whether this version of torch takes its fused kernel for such a call on the CPU.

    Asked of torch itself with the smallest tensors: from one version to the next it takes more.
    """
    heads = {"one head for all": 1, "groups of heads": 2}.get(kind, 4)
    with no_dispatch(), torch.enable_grad(), torch._C.DisableTorchFunction():
        query = torch.zeros(1, 4, 2, 8, device="cpu", requires_grad=True)
        key = torch.zeros(1, heads, 2, 8, device="cpu")
        options: dict[str, Any] = {}
        if kind == "three dimensions":
            query, key = query[0], key[0]
        elif kind == "both masks":
            options = {"attn_mask": torch.zeros(2, 2, device="cpu"), "is_causal": True}
        elif kind == "groups of heads":
            options = {"enable_gqa": True}
        try:
            result = torch._C._nn.scaled_dot_product_attention(query, key, key, **options)
        except RuntimeError:
            return False
    # Around three dimensions, the kernel's result is squeezed.
    last = result.grad_fn
    steps = (last, *(before for before, _ in getattr(last, "next_functions", ())))
    return any("Flash" in type(step).__name__ for step in steps)
