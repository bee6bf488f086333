"""Kernels whose meta implementation is slow Python, answered by their known output shapes.

A batch norm's reference runs fourteen kernels to find out that its output looks like its input,
and a convolution's imports sympy, which takes a third of a second. Each function here gives what
the meta kernel would give, and None wherever anything is out of the ordinary (another layout,
mixed dtypes, sizes that are not legal): torch then answers, and raises, by itself. A test
compares passes with and without them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch

from archcheck.tracing.patching.memory_formats import suggest_memory_format

Args = Sequence[Any]
_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def answer(func: Any, args: Args, kwargs: Mapping[str, Any]) -> Any:
    """What the kernel gives for meta tensors, None if torch must say."""
    known = _KNOWN.get(func)
    return None if known is None or kwargs else known(args)


def _plain(tensor: Any) -> bool:
    return (
        type(tensor) in (torch.Tensor, torch.nn.Parameter)
        and tensor.is_meta
        and tensor.dtype in _FLOATS
        and tensor.is_contiguous()
    )


def _is_channels_last(tensor: torch.Tensor) -> bool:
    """Whether a tensor that is contiguous, for one channel or pixel, is in that format as well."""
    return (
        tensor.stride(1) == 1
        and tensor.dim() > 3
        and suggest_memory_format(tensor) is not torch.contiguous_format
    )


def _like(tensor: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    return torch.empty(shape, dtype=tensor.dtype, device="meta")


def _convolution(args: Args) -> Any:
    if len(args) != 9:
        return None
    x, weight, bias, stride, padding, dilation, transposed, _output_padding, groups = args
    rank = x.dim() - 2
    if rank < 1 or weight.dim() != rank + 2 or transposed or x.dtype != weight.dtype:
        return None
    if not _plain(x) or not _plain(weight) or not len(stride) == len(padding) == rank:
        return None
    if _is_channels_last(x) or _is_channels_last(weight):
        return None
    out, wanted = weight.shape[0], weight.shape[1] * groups
    if x.shape[1] != wanted or groups < 1 or out % groups or not x.numel():
        return None
    if bias is not None and (tuple(bias.shape) != (out,) or bias.dtype != x.dtype):
        return None
    sizes: list[int] = []
    for place in range(rank):
        reach = dilation[place] * (weight.shape[2 + place] - 1) + 1
        span = x.shape[2 + place] + 2 * padding[place] - reach
        if span < 0 or stride[place] < 1 or padding[place] < 0 or dilation[place] < 1:
            return None
        sizes.append(span // stride[place] + 1)
    return _like(x, (x.shape[0], out, *sizes))


def _batch_norm(args: Args) -> Any:
    if len(args) != 8:
        return None
    x, weight, bias, mean, variance = args[:5]
    if x.dim() < 2 or not _plain(x):
        return None
    channels = x.shape[1]
    for tensor in (weight, bias, mean, variance):
        if tensor is not None and (
            not _plain(tensor) or tuple(tensor.shape) != (channels,) or tensor.dtype != x.dtype
        ):
            return None
    if x.dtype not in (torch.float32, torch.float64) or not x.numel():
        return None
    return _like(x, x.shape), _like(x, (channels,)), _like(x, (channels,))


def _layer_norm(args: Args) -> Any:
    if len(args) != 5:
        return None
    x, shape, weight, bias = args[:4]
    if not _plain(x) or x.dtype not in (torch.float32, torch.float64):
        return None
    ahead = x.dim() - len(shape)
    if ahead < 0 or not shape or list(x.shape[ahead:]) != list(shape):
        return None
    for tensor in (weight, bias):
        if tensor is not None and (
            not _plain(tensor) or list(tensor.shape) != list(shape) or tensor.dtype != x.dtype
        ):
            return None
    summary = (*x.shape[:ahead], *([1] * len(shape)))
    return _like(x, x.shape), _like(x, summary), _like(x, summary)


def _mean(args: Args) -> Any:
    if len(args) not in (2, 3) or not _plain(args[0]) or not args[1]:
        return None
    x = args[0]
    rank = x.dim()
    if not all(-rank <= dim < rank for dim in args[1]):
        return None
    dims = {dim % rank for dim in args[1]}
    if len(dims) != len(args[1]):
        return None
    keep = len(args) == 3 and args[2]
    shape = [
        1 if dim in dims else size for dim, size in enumerate(x.shape) if keep or dim not in dims
    ]
    return _like(x, shape)


def _same(args: Args) -> Any:
    """One tensor in, one of the same kind out."""
    x = args[0]
    return _like(x, x.shape) if _plain(x) and x.dim() else None


def _along(args: Args) -> Any:
    """The same, along a dimension that must be there."""
    x = args[0]
    if not _plain(x) or not x.dim() or not -x.dim() <= args[1] < x.dim():
        return None
    return None if args[2] else _like(x, x.shape)


def _product(args: Args) -> Any:
    """`mm` and `bmm`."""
    one, two = args
    if not one.is_meta or not two.is_meta or one.dtype != two.dtype:
        return None
    if one.dim() != two.dim() or one.shape[-1] != two.shape[-2] or one.dtype not in _FLOATS:
        return None
    if one.dim() == 3 and one.shape[0] != two.shape[0]:
        return None
    return _like(one, (*one.shape[:-1], two.shape[-1]))


def _affine(args: Args) -> Any:
    """`addmm` with an ordinary bias."""
    if len(args) != 3:
        return None
    bias, one, two = args
    if tuple(bias.shape) != (two.shape[-1],) or bias.dtype != one.dtype or not bias.is_meta:
        return None
    if one.dim() != 2 or two.dim() != 2:
        return None
    return _product((one, two))


def _elementwise(args: Args) -> Any:
    """`add`, `mul` and their like: two tensors of one dtype, or a tensor and a number."""
    one, two = args[0], args[1]
    if len(args) != 2 or not _plain(one) or not one.dim():
        return None
    if type(two) in (int, float):
        return _like(one, one.shape)
    if not _plain(two) or one.dtype != two.dtype or not two.dim():
        return None
    if one.shape == two.shape:
        return _like(one, one.shape)
    longer, shorter = (one.shape, two.shape) if one.dim() >= two.dim() else (two.shape, one.shape)
    sizes = list(longer)
    off = len(longer) - len(shorter)
    for place, size in enumerate(shorter, off):
        if sizes[place] == 1:
            sizes[place] = size
        elif size not in (1, sizes[place]):
            return None
    return _like(one, sizes)


_aten = torch.ops.aten
_KNOWN: Mapping[Any, Callable[[Args], Any]] = MappingProxyType(
    {
        _aten.convolution.default: _convolution,
        _aten.native_batch_norm.default: _batch_norm,
        _aten.native_layer_norm.default: _layer_norm,
        _aten.mean.dim: _mean,
        **dict.fromkeys(
            (_aten.gelu.default, _aten.silu.default, _aten.relu.default, _aten.sigmoid.default,
             _aten.tanh.default, _aten.exp.default, _aten.neg.default, _aten.sqrt.default,
             _aten.rsqrt.default, _aten.cos.default, _aten.sin.default, _aten.abs.default),
            _same,
        ),
        _aten._softmax.default: _along,
        _aten._log_softmax.default: _along,
        _aten.mm.default: _product,
        _aten.bmm.default: _product,
        _aten.addmm.default: _affine,
        **dict.fromkeys(
            (_aten.add.Tensor, _aten.sub.Tensor, _aten.mul.Tensor, _aten.div.Tensor,
             _aten.add.Scalar, _aten.sub.Scalar, _aten.mul.Scalar, _aten.div.Scalar,
             _aten.pow.Tensor_Scalar),
            _elementwise,
        ),
    }
)  # fmt: skip
