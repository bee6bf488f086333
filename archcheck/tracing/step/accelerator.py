"""Runs functions as an accelerator would where meta tensors go another way: dropout's mask, fused
attention, and the dtypes that autocast chooses.

Autocast knows no device named meta, so it is done here, by its lists for CUDA
(`aten/src/ATen/autocast_mode.h` of torch 2.13; a test holds them against torch's own list of
tests). Functions that are made of others (`einsum`, the recurrent layers) are taken whole, with the
dtype that their kernels get.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from archcheck.tracing.patching.attention import attention_as_on_cpu
from archcheck.tracing.patching.patches import replaced
from archcheck.tracing.record.recorder import tensors_in

LOWER = frozenset(
    {
        "_convolution", "conv1d", "conv2d", "conv3d", "conv_tbc", "conv_transpose1d",
        "conv_transpose2d", "conv_transpose3d", "convolution", "prelu", "addmm", "addmv", "addr",
        "matmul", "__matmul__", "__rmatmul__", "einsum", "mm", "mv", "vecdot", "linalg_vecdot",
        "linear", "addbmm", "baddbmm", "bmm", "chain_matmul", "multi_dot", "linalg_multi_dot",
        "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell", "lstm", "gru", "rnn_tanh",
        "rnn_relu", "scaled_dot_product_attention", "_scaled_dot_product_flash_attention_for_cpu",
    }
)  # fmt: skip
SINGLE = frozenset(
    {
        "acos", "asin", "cosh", "erfinv", "exp", "expm1", "log", "log10", "log2", "log1p",
        "reciprocal", "rsqrt", "sinh", "tan", "pow", "__pow__", "__rpow__", "softplus",
        "layer_norm", "rms_norm", "group_norm", "norm", "nuclear_norm", "frobenius_norm",
        "cosine_similarity", "poisson_nll_loss", "cosine_embedding_loss", "nll_loss",
        "nll_loss2d", "hinge_embedding_loss", "kl_div", "l1_loss", "smooth_l1_loss", "huber_loss",
        "mse_loss", "margin_ranking_loss", "multilabel_margin_loss", "soft_margin_loss",
        "triplet_margin_loss", "multi_margin_loss", "binary_cross_entropy_with_logits", "dist",
        "pdist", "cdist", "renorm", "logsumexp", "cross_entropy",
    }
)  # fmt: skip
SINGLE_RESULT = frozenset({"softmax", "log_softmax", "cumsum", "cumprod", "prod", "sum"})
WIDEST = frozenset(
    {
        "addcdiv", "addcmul", "atan2", "bilinear", "cross", "dot", "vdot", "grid_sample",
        "grid_sampler", "index_put", "tensordot", "scatter_add", "cat", "concat", "concatenate",
        "stack",
    }
)  # fmt: skip


class AcceleratorMode(TorchFunctionMode):
    """Gives functions the kernels and dtypes of an accelerator.

    Args:
        lower: The dtype of autocast; None where it is off.
        is_cast: Told of each copy of a parameter that autocast makes.
    """

    def __init__(
        self,
        lower: torch.dtype | None,
        is_cast: Callable[[torch.Tensor, torch.Tensor], None] = lambda copy, parameter: None,
    ) -> None:
        super().__init__()
        self._lower = lower
        self._is_cast = is_cast
        self._copies: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def forget(self) -> None:
        """The forward pass is over: autocast drops its copies of the weights."""
        self._copies.clear()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if func is F.multi_head_attention_forward:
            return self._opened(func, args, kwargs)
        if self._lower is not None:
            args, kwargs = self._autocast(name, args, kwargs)
        if name == "scaled_dot_product_attention":
            return attention_as_on_cpu(*args, **{**kwargs, "dropout_p": 0.0}) if (
                len(args) < 5
            ) else func(*args, **kwargs)  # fmt: skip
        if name == "dropout":
            return _dropout(func, args, kwargs)
        return func(*args, **kwargs)

    def _opened(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The same function, with what it calls in sight."""
        with replaced((F, "has_torch_function", lambda tensors: False)), self:
            return func(*args, **kwargs)

    def _autocast(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Sequence[Any], Mapping[str, Any]]:
        if name in LOWER:
            return self._cast(args, self._to_lower), self._cast(kwargs, self._to_lower)
        if name in SINGLE:
            return self._cast(args, _to_single), self._cast(kwargs, _to_single)
        if name in SINGLE_RESULT and args and isinstance(args[0], torch.Tensor):
            halved = args[0].dtype in (torch.float16, torch.bfloat16)
            if halved and kwargs.get("dtype") is None and len(args) < 4:
                return args, {**kwargs, "dtype": torch.float32}
        if name in WIDEST:
            dtypes = {t.dtype for t in tensors_in([args, kwargs]) if t.is_floating_point()}
            if torch.float32 in dtypes and len(dtypes) > 1 and torch.float64 not in dtypes:
                return self._cast(args, _to_single), self._cast(kwargs, _to_single)
        return args, kwargs

    def _cast(self, nest: Any, cast: Callable[[torch.Tensor], torch.Tensor]) -> Any:
        if isinstance(nest, torch.Tensor):
            floating = nest.is_floating_point() and nest.dtype != torch.float64
            return cast(nest) if floating else nest
        if isinstance(nest, tuple) and hasattr(nest, "_fields"):
            return type(nest)(*(self._cast(item, cast) for item in nest))
        if isinstance(nest, list | tuple):
            return type(nest)(self._cast(item, cast) for item in nest)
        if isinstance(nest, Mapping):
            return {key: self._cast(item, cast) for key, item in nest.items()}
        return nest

    def _to_lower(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dtype == self._lower:
            return tensor
        kept = tensor.is_leaf and tensor.requires_grad and tensor.dtype == torch.float32
        known = self._copies.get(id(tensor))
        if known is not None and known[0] is tensor:
            return known[1]
        copy = tensor.to(self._lower)
        if kept:
            self._copies[id(tensor)] = (tensor, copy)
            self._is_cast(copy, tensor)
        return copy


def _to_single(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.dtype == torch.float32 else tensor.to(torch.float32)


def _dropout(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """By the fused kernel, which keeps a mask of one byte an element."""
    named = dict(zip(("input", "p", "train"), args, strict=False)) | {
        "train" if key == "training" else key: value for key, value in kwargs.items()
    }
    tensor, p, train = named.get("input"), named.get("p", 0.5), named.get("train", True)
    if (
        isinstance(tensor, torch.Tensor)
        and tensor.numel() > 0
        and train
        and 0 < p < 1
        and not named.get("inplace", False)
    ):
        return torch.native_dropout(tensor, p, True)[0]
    return func(*args, **kwargs)
