"""Which kernels do work that no formula covers, so that a count of MACs has to name them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch

# Kernels that multiply and add (or sort, or solve) and that neither library has a formula for.
_WORK = re.compile(
    r"""aten::_?(
        fft_\w+ | linalg_\w+ | cholesky\w* | geqrf | orgqr | ormqr | lu_solve | triangular_solve
      | spsolve | matrix_exp | compute_linear_combination | cdist\w* | pdist\w* | \w*ctc_loss
      | euclidean_dist | householder_product | lstsq | svd | qr | eigh? | inverse | pinverse
      | \w*mm(_\w+)? | \w*bmm | mv | addmv | v?dot | trilinear | bilinear | conv\w+
      | \w*convolution\w* | slow_conv\w* | \w*matmul\w* | mkldnn_linear | mkldnn_rnn\w*
      | mixed_dtypes_linear | sparse_semi_structured_linear | \w*attention\w*
      | \w*(lstm|gru|rnn)(_mps|_layer)? | quantized_(lstm|gru|rnn)\w*
      | upsample_(linear|bilinear|bicubic|trilinear|lanczos)\w* | \w*affine_grid_generator
      | sort | argsort | topk | kthvalue | (nan)?median | mode | unique\w* | fused_rms_norm
    )""",
    re.VERBOSE,
)
# Named like work, and none: norms and checks are linear in the number of elements.
_NO_WORK = re.compile(
    r"aten::_?(linalg_(vector_norm|_powsum|cross|check_errors|diagonal)"
    r"|cudnn_rnn_flatten_weight|convert_\w+|fft_\w*(freq|shift)|matrix_norm"
    r"|cudnn_init_dropout_state|use_\w+|transform_bias_rescale_qkv)"
)
_PLAIN_NAMESPACES = frozenset({"aten", "prims", "prim", "profiler", "rngprims", "debugprims"})


def works(func: Any, name: str) -> bool:
    """Whether the kernel does work that a count of multiply-adds should have an entry for."""
    namespace = name.partition("::")[0]
    if namespace not in _PLAIN_NAMESPACES:
        # A custom operator may do anything, unless it says what it does.
        if "c10d" in namespace:
            return False
        tags: Sequence[Any] = getattr(func, "tags", ())
        return torch.Tag.pointwise not in tags and not getattr(func, "is_view", False)
    return _WORK.fullmatch(name) is not None and _NO_WORK.fullmatch(name) is None
