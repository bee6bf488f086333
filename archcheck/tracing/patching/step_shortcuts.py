"""Further kernels of a step whose meta implementation is slow Python, answered by known shapes.

As in `trace.shortcuts`: each function gives what the meta kernel would give, and None wherever
anything is out of the ordinary. A test compares passes with and without them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch

Args = Sequence[Any]
_FLOATS = (torch.float32, torch.float64)
_HALVES = (torch.bfloat16, torch.float16)
_ALL = (*_FLOATS, *_HALVES)


def step_answer(func: Any, args: Args, kwargs: Mapping[str, Any]) -> Any:
    """What the kernel gives for meta tensors, None if torch must say."""
    known = _KNOWN.get(func)
    return None if known is None or kwargs else known(args)


def _plain(tensor: Any, dtypes: Sequence[torch.dtype] = _FLOATS) -> bool:
    return (
        type(tensor) in (torch.Tensor, torch.nn.Parameter)
        and tensor.is_meta
        and tensor.dtype in dtypes
        and tensor.is_contiguous()
    )


def _channels_fit(x: torch.Tensor, tensors: Sequence[Any], dtypes: Sequence[torch.dtype]) -> bool:
    """Whether these are statistics or weights of the channels of x, in one of these dtypes."""
    return all(
        t is None or (_plain(t, dtypes) and tuple(t.shape) == tuple(x.shape[1:2])) for t in tensors
    )


def _half_batch_norm(args: Args) -> Any:
    """In half precision; the other ones are `trace.shortcuts`'."""
    if len(args) != 8 or args[0].dim() < 2 or not _plain(args[0], _HALVES):
        return None
    x, tensors = args[0], args[1:5]
    dtypes = {t.dtype for t in tensors if t is not None}
    if len(dtypes) != 1 or not _channels_fit(x, tensors, (torch.float32, x.dtype)):
        return None
    single = torch.empty(x.shape[1:2], dtype=torch.float32, device="meta")
    return _like(x, x.shape), single, torch.empty_like(single)


def _batch_norm_backward(args: Args) -> Any:
    if len(args) != 10:
        return None
    grad, x, weight, mean, variance, save_mean, save_invstd, _train, _eps, wanted = args
    if not (_plain(grad, _ALL) and _plain(x, _ALL) and grad.dtype == x.dtype):
        return None
    if grad.shape != x.shape or x.dim() < 2 or weight is None:
        return None
    # Statistics of halves are singles.
    dtypes = (x.dtype,) if x.dtype in _FLOATS else (x.dtype, torch.float32)
    if not _channels_fit(x, (weight, mean, variance, save_mean, save_invstd), dtypes):
        return None
    return (
        _like(x, x.shape) if wanted[0] else None,
        _like(weight, weight.shape) if wanted[1] else None,
        _like(weight, weight.shape) if wanted[2] else None,
    )


def _layer_norm_backward(args: Args) -> Any:
    if len(args) != 8:
        return None
    grad, x, shape, mean, rstd, weight, bias, wanted = args
    if not all(_plain(t) for t in (grad, x, mean, rstd)) or grad.dtype != x.dtype:
        return None
    if grad.shape != x.shape or list(x.shape[x.dim() - len(shape) :]) != list(shape):
        return None
    if not all(_plain(t) and t.dtype == x.dtype for t in (weight, bias)):
        return None
    return (
        _like(x, x.shape) if wanted[0] else None,
        _like(weight, weight.shape) if wanted[1] else None,
        _like(bias, bias.shape) if wanted[2] else None,
    )


def _elementwise(args: Args) -> Any:
    """The gradient of an elementwise function, from the gradient and what was saved."""
    grad, saved = args[:2]
    if (
        _plain(grad, _ALL)
        and _plain(saved, _ALL)
        and grad.shape == saved.shape
        and grad.dtype == saved.dtype
    ):
        return _like(grad, grad.shape)
    return None


def _like(tensor: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    return torch.empty(shape, dtype=tensor.dtype, device="meta")


_aten = torch.ops.aten
_KNOWN: Mapping[Any, Callable[[Args], Any]] = MappingProxyType(
    {
        _aten.native_batch_norm.default: _half_batch_norm,
        _aten.native_batch_norm_backward.default: _batch_norm_backward,
        _aten.native_layer_norm_backward.default: _layer_norm_backward,
        **dict.fromkeys(
            (_aten.threshold_backward.default, _aten.silu_backward.default,
             _aten.sigmoid_backward.default, _aten.tanh_backward.default,
             _aten.hardswish_backward.default, _aten.hardsigmoid_backward.default),
            _elementwise,
        ),
    }
)  # fmt: skip
