"""Every public name of torch.nn, its functional, attention and utils, traced in a tiny model.

The names are torch's own listing, so that a new release shows its gaps: a name without a call
here or in benchmarks/eager_calls.txt, and without a reason not to have one, fails the test.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import attention, utils  # noqa: E402

from archcheck.evidence.records import ValueIndex  # noqa: E402
from archcheck.tracing.ladder import TensorSpec, trace_module  # noqa: E402

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
from eager_calls import compared, parsed, table  # noqa: E402

PLACES: Mapping[str, Any] = {
    "nn": nn, "F": nn.functional, "nn.attention": attention, "nn.utils": utils,
}  # fmt: skip

# Calls of names that the benchmark's table does not have, or whose values matter, as it has them.
LINES = """
nn.AdaptiveMaxPool3d | 2 | t(2, 3, 5, 5, 5)
nn.CELU | | t(3, 4)
nn.CircularPad1d | 1 | t(2, 3, 5)
nn.CircularPad3d | 1 | t(2, 3, 5, 5, 5)
nn.ConstantPad1d | 1, 0.0 | t(2, 3, 5)
nn.ConstantPad3d | 1, 0.0 | t(2, 3, 5, 5, 5)
nn.CrossMapLRN2d | 3 | t(2, 4, 5, 5)
nn.Dropout1d | | t(2, 3, 5)
nn.Dropout3d | | t(2, 3, 5, 5, 5)
nn.ELU | | t(3, 4)
nn.FeatureAlphaDropout | | t(2, 3, 5, 5)
nn.FractionalMaxPool3d | 2, output_size=3 | t(2, 3, 8, 8, 8)
nn.Hardshrink | | t(3, 4)
nn.Hardsigmoid | | t(3, 4)
nn.Hardtanh | | t(3, 4)
nn.LPPool1d | 2, 2 | t(2, 3, 8)
nn.LPPool3d | 2, 2 | t(2, 3, 6, 6, 6)
nn.LazyBatchNorm1d | | t(2, 3, 5)
nn.LazyBatchNorm2d | | t(2, 3, 5, 5)
nn.LazyBatchNorm3d | | t(2, 3, 4, 4, 4)
nn.LazyConv1d | 4, 3 | t(2, 3, 8)
nn.LazyConv2d | 4, 3 | t(2, 3, 8, 8)
nn.LazyConv3d | 4, 3 | t(2, 3, 5, 5, 5)
nn.LazyConvTranspose1d | 4, 3 | t(2, 3, 8)
nn.LazyConvTranspose2d | 4, 3 | t(2, 3, 8, 8)
nn.LazyConvTranspose3d | 4, 3 | t(2, 3, 5, 5, 5)
nn.LazyInstanceNorm1d | | t(2, 3, 5)
nn.LazyInstanceNorm2d | | t(2, 3, 5, 5)
nn.LazyInstanceNorm3d | | t(2, 3, 4, 4, 4)
nn.LazyLinear | 4 | t(2, 3)
nn.LeakyReLU | | t(3, 4)
nn.LinearCrossEntropyLoss | 4, 5 | t(3, 4), i(3)
nn.LogSigmoid | | t(3, 4)
nn.MaxUnpool1d | 2 | t(2, 3, 4), i(2, 3, 4)
nn.MaxUnpool3d | 2 | t(2, 3, 2, 2, 2), i(2, 3, 2, 2, 2)
nn.Mish | | t(3, 4)
nn.NLLLoss2d | | t(3, 4, 5, 5), i(3, 5, 5)
nn.RReLU | | t(3, 4)
nn.ReLU6 | | t(3, 4)
nn.ReflectionPad3d | 1 | t(2, 3, 5, 5, 5)
nn.ReplicationPad1d | 1 | t(2, 3, 5)
nn.SELU | | t(3, 4)
nn.SiLU | | t(3, 4)
nn.Sigmoid | | t(3, 4)
nn.Softmin | 1 | t(3, 4)
nn.Softplus | | t(3, 4)
nn.Softshrink | | t(3, 4)
nn.Softsign | | t(3, 4)
nn.Tanh | | t(3, 4)
nn.Tanhshrink | | t(3, 4)
nn.TransformerDecoder | torch.nn.TransformerDecoderLayer(8, 2, 16), 2 | t(5, 2, 8), t(3, 2, 8)
nn.TransformerEncoder | torch.nn.TransformerEncoderLayer(8, 2, 16), 2 | t(5, 2, 8)
nn.TripletMarginWithDistanceLoss | | t(3, 4), t(3, 4), t(3, 4)
nn.UpsamplingNearest2d | scale_factor=2 | t(2, 3, 4, 4)
nn.ZeroPad1d | 1 | t(2, 3, 5)
nn.ZeroPad3d | 1 | t(2, 3, 5, 5, 5)
nn.Sequential | torch.nn.Linear(4, 5), torch.nn.ReLU() | t(3, 4)
nn.DataParallel | torch.nn.Linear(4, 5) | t(3, 4)
nn.GaussianNLLLoss | | t(3, 4), t(3, 4), torch.ones(3, 4)
F.gaussian_nll_loss | t(3, 4), t(3, 4), torch.ones(3, 4)
F.adaptive_max_pool1d_with_indices | t(2, 3, 8), 2
F.adaptive_max_pool2d_with_indices | t(2, 3, 8, 8), 2
F.adaptive_max_pool3d_with_indices | t(2, 3, 5, 5, 5), 2
F.celu_ | t(3, 4)
F.conv_tbc | t(5, 2, 3), t(3, 3, 4), t(4)
F.dropout3d | t(2, 3, 5, 5, 5)
F.elu_ | t(3, 4)
F.fractional_max_pool2d_with_indices | t(2, 3, 8, 8), 2, output_size=3
F.fractional_max_pool3d | t(2, 3, 8, 8, 8), 2, output_size=3
F.fractional_max_pool3d_with_indices | t(2, 3, 8, 8, 8), 2, output_size=3
F.hardtanh_ | t(3, 4)
F.leaky_relu_ | t(3, 4)
F.linear_cross_entropy | t(3, 4), t(5, 4), i(3)
F.lp_pool3d | t(2, 3, 6, 6, 6), 2, 2
F.max_pool1d_with_indices | t(2, 3, 8), 2
F.max_pool2d_with_indices | t(2, 3, 8, 8), 2
F.max_pool3d_with_indices | t(2, 3, 4, 4, 4), 2
F.max_unpool1d | t(2, 3, 4), i(2, 3, 4), 2
F.max_unpool3d | t(2, 3, 2, 2, 2), i(2, 3, 2, 2, 2), 2
F.native_channel_shuffle | t(2, 4, 5, 5), 2
F.pdist | t(3, 4)
F.relu_ | t(3, 4)
F.rrelu_ | t(3, 4)
F.selu_ | t(3, 4)
F.sigmoid | t(3, 4)
F.tanh | t(3, 4)
F.threshold_ | t(3, 4), 0.1, 0.0
F.triplet_margin_with_distance_loss | t(3, 4), t(3, 4), t(3, 4)
F.upsample | t(2, 3, 4, 4), scale_factor=2
F.upsample_bilinear | t(2, 3, 4, 4), scale_factor=2
F.upsample_nearest | t(2, 3, 4, 4), scale_factor=2
"""


class Told(nn.Module):
    """Calls a function in forward."""

    def __init__(self, run: Callable[[Any], Any]) -> None:
        super().__init__()
        self.run = run

    def forward(self, x: torch.Tensor) -> Any:
        return self.run(x)


def below_one_kernel(x: torch.Tensor) -> torch.Tensor:
    with attention.sdpa_kernel(attention.SDPBackend.MATH):
        return nn.functional.scaled_dot_product_attention(x, x, x)


def of_many_heads(x: torch.Tensor) -> torch.Tensor:
    inner, out = torch.ones(24, 8, device=x.device), torch.ones(8, 8, device=x.device)
    biases = (None, None, None, False, 0.0)
    return nn.functional.multi_head_attention_forward(x, x, x, 8, 2, inner, *biases, out, None)[0]


def convolution() -> nn.Module:
    return nn.Conv2d(3, 4, 3).eval()


# Models of what changes a layer before it is called, or is told about a call; and their inputs.
MODELS: Mapping[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "F.multi_head_attention_forward": (lambda: Told(of_many_heads), (5, 2, 8)),
    "nn.attention.sdpa_kernel": (lambda: Told(below_one_kernel), (2, 2, 5, 4)),
    "nn.utils.convert_conv2d_weight_memory_format": (
        lambda: utils.convert_conv2d_weight_memory_format(convolution(), torch.channels_last),
        (2, 3, 6, 6),
    ),
    "nn.utils.convert_conv3d_weight_memory_format": (
        lambda: utils.convert_conv3d_weight_memory_format(
            nn.Conv3d(3, 4, 3), torch.channels_last_3d
        ),
        (2, 3, 5, 5, 5),
    ),
    "nn.utils.fuse_conv_bn_eval": (
        lambda: utils.fuse_conv_bn_eval(convolution(), nn.BatchNorm2d(4).eval()),
        (2, 3, 6, 6),
    ),
    "nn.utils.fuse_linear_bn_eval": (
        lambda: utils.fuse_linear_bn_eval(nn.Linear(3, 4).eval(), nn.BatchNorm1d(4).eval()),
        (2, 3),
    ),
    "nn.utils.get_total_norm": (lambda: Told(lambda x: utils.get_total_norm([x, x])), (2, 3)),
    "nn.utils.parameters_to_vector": (
        lambda: Told(lambda x: utils.parameters_to_vector([x, x + 1])),
        (2, 3),
    ),
    "nn.utils.remove_spectral_norm": (
        lambda: utils.remove_spectral_norm(utils.spectral_norm(nn.Linear(3, 4))),
        (2, 3),
    ),
    "nn.utils.remove_weight_norm": (
        lambda: utils.remove_weight_norm(utils.weight_norm(nn.Linear(3, 4))),
        (2, 3),
    ),
    "nn.utils.skip_init": (lambda: utils.skip_init(nn.Linear, 3, 4), (2, 3)),
    "nn.utils.spectral_norm": (lambda: utils.spectral_norm(nn.Linear(3, 4)), (2, 3)),
    "nn.utils.weight_norm": (lambda: utils.weight_norm(nn.Linear(3, 4)), (2, 3)),
}

_HELPER = "no function of tensors"
_CONTAINER = "holds others, and computes nothing"
_EIGHT_BITS = "takes 8-bit floats on an accelerator only"
_OUTSIDE = "is called outside forward, on parameters or gradients"
_KERNELS = "asks for, or chooses, kernels of an accelerator"
REASONS: Mapping[str, str] = {
    **dict.fromkeys(
        "nn.Buffer nn.Parameter nn.UninitializedBuffer nn.UninitializedParameter "
        "nn.factory_kwargs nn.LinearCrossEntropyOptions F.BroadcastingList1 F.BroadcastingList2 "
        "F.BroadcastingList3 F.DType F.GRID_SAMPLE_INTERPOLATION_MODES "
        "F.GRID_SAMPLE_PADDING_MODES F.ScalingType F.SwizzleType F.assert_int_or_pair "
        "F.boolean_dispatch F.handle_torch_function F.has_torch_function "
        "F.has_torch_function_unary F.has_torch_function_variadic F.reproducibility_notes "
        "F.sparse_support_notes F.tf32_notes F.TYPE_CHECKING".split(),
        _HELPER,
    ),
    **dict.fromkeys(
        "nn.Container nn.Module nn.ModuleDict nn.ModuleList nn.ParameterDict nn.ParameterList "
        "nn.RNNBase nn.RNNCellBase".split(),
        _CONTAINER,
    ),
    **dict.fromkeys(
        "F.grouped_mm F.scaled_addmm F.scaled_addmm_ F.scaled_grouped_mm F.scaled_mm".split(),
        _EIGHT_BITS,
    ),
    **dict.fromkeys(
        "nn.utils.clip_grad_norm nn.utils.clip_grad_norm_ nn.utils.clip_grad_value_ "
        "nn.utils.clip_grads_with_norm_ nn.utils.fuse_conv_bn_weights "
        "nn.utils.fuse_linear_bn_weights nn.utils.vector_to_parameters".split(),
        _OUTSIDE,
    ),
    **dict.fromkeys(
        "nn.attention.SDPAParams nn.attention.SDPBackend nn.attention.WARN_FOR_UNFUSED_KERNELS "
        "nn.attention.activate_flash_attention_impl nn.attention.can_use_efficient_attention "
        "nn.attention.can_use_flash_attention nn.attention.current_flash_attention_impl "
        "nn.attention.list_flash_attention_impls nn.attention.register_flash_attention_impl "
        "nn.attention.restore_flash_attention_impl".split(),
        _KERNELS,
    ),
}


def public(place: str) -> list[str]:
    """Return torch's names there, without those that it only imports from elsewhere."""
    found = {name: getattr(PLACES[place], name) for name in dir(PLACES[place]) if name[0] != "_"}
    return [
        f"{place}.{name}"
        for name, value in found.items()
        if not isinstance(value, types.ModuleType)
        and value is not torch.Tensor
        and (getattr(value, "__module__", None) or "torch").partition(".")[0].lstrip("_")
        not in _ELSEWHERE
    ]


_ELSEWHERE = ("typing", "collections", "enum", "contextlib", "warnings", "contextvars")


def lines() -> dict[str, str]:
    """Return one line for each name."""
    written = [line for line in LINES.splitlines() if line]
    return {line.partition(" |")[0]: line for line in (*reversed(table()), *written)}


NAMES = [name for place in PLACES for name in public(place)]


def test_every_public_name_has_a_call_or_a_reason() -> None:
    known = {*lines(), *MODELS, *REASONS}
    assert not [name for name in NAMES if name not in known]
    assert not set(REASONS) & {*lines(), *MODELS}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in NAMES if name in lines()])
def test_a_public_name_is_traced_as_eager_runs_it(name: str) -> None:
    outcome = compared(parsed(lines()[name]))
    assert outcome.verdict.split()[0] == "same", outcome.note


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in NAMES if name in MODELS])
def test_a_changed_layer_is_traced_as_eager_runs_it(name: str) -> None:
    build, shape = MODELS[name]
    with torch.no_grad():
        real = build()(torch.ones(shape))
    trace = trace_module(build, [TensorSpec(shape)], path=__file__)
    assert trace.complete and not trace.failures
    assert isinstance(trace.outputs, ValueIndex)
    assert trace.values[trace.outputs.index].shape == tuple(real.shape)
