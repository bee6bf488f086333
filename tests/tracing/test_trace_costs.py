"""MACs against fvcore's FlopCountAnalysis, FLOPs against torch's FlopCounterMode."""

from __future__ import annotations

import logging
import math
import runpy
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("fvcore")

import torch.nn.functional as F  # noqa: E402
from fvcore.nn import FlopCountAnalysis  # noqa: E402
from torch import nn  # noqa: E402
from torch.overrides import TorchFunctionMode  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from archcheck.tracing.costs.counts import function_macs, kernel_costs  # noqa: E402
from archcheck.tracing.ladder import NamedInput, TensorSpec, trace_live  # noqa: E402

MODELS = Path(__file__).parents[2] / "fixtures" / "models"


class Kernels(TorchDispatchMode):
    """Adds up what the kernels cost."""

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0
        self.flops = 0
        self.uncounted: Counter[str] = Counter()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        cost = kernel_costs(func, args, kwargs or {}, out)
        self.macs += cost.macs
        self.flops += cost.flops
        if cost.uncounted:
            self.uncounted[cost.uncounted] += 1
        return out


class Functions(TorchFunctionMode):
    """Puts a function's own MACs in the place of its kernels' where they can differ."""

    def __init__(self, kernels: Kernels) -> None:
        super().__init__()
        self.kernels = kernels

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        before = self.kernels.macs
        out = func(*args, **kwargs)
        name = getattr(func, "__name__", "").strip("_")
        arguments = {**{str(place): item for place, item in enumerate(args)}, **kwargs}
        if name == "instance_norm":
            arguments = {"weight": kwargs.get("weight", args[3] if len(args) > 3 else None)}
        macs = function_macs(name, list(_shapes([args, list(kwargs.values())])), arguments, [])
        if macs is not None:
            self.kernels.macs = before + macs
        return out


def _shapes(nest: Any) -> Iterator[tuple[int, ...]]:
    if isinstance(nest, torch.Tensor):
        yield tuple(nest.shape)
    elif isinstance(nest, list | tuple):
        for item in nest:
            yield from _shapes(item)


def count(model: Callable[..., Any], *inputs: Any) -> Kernels:
    kernels = Kernels()
    with kernels, Functions(kernels):
        model(*inputs)
    return kernels


def fvcore_total(model: nn.Module, *inputs: Any) -> int:
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        analysis = FlopCountAnalysis(model, inputs).unsupported_ops_warnings(False)
        return int(analysis.total())


def torch_total(model: nn.Module, *inputs: Any) -> int:
    with FlopCounterMode(display=False) as counter:
        model(*inputs)
    return int(counter.get_total_flops())


class Call(nn.Module):
    """A function as a module, with submodules handed to it first."""

    def __init__(self, function: Callable[..., Any], *parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(parts)

    def forward(self, *inputs: Any) -> Any:
        return self.function(*self.parts, *inputs)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4))

    def forward(self, x: Any) -> Any:
        return F.relu(x + self.second(self.first(x)))


def of(*shape: int) -> Any:
    return torch.rand(*shape)


BOTH_KNOW: dict[str, Callable[[], tuple[nn.Module, tuple[Any, ...]]]] = {
    "plain": lambda: (
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)),
        (of(2, 3, 8, 8),),
    ),
    "residual": lambda: (Residual(), (of(2, 4, 8, 8),)),
    "residual in eval mode": lambda: (Residual().eval(), (of(2, 4, 8, 8),)),
    "grouped convolution": lambda: (nn.Conv2d(4, 8, 3, groups=2), (of(2, 4, 8, 8),)),
    "depthwise, dilated, strided": lambda: (
        nn.Conv2d(4, 4, 3, stride=2, dilation=2, groups=4),
        (of(2, 4, 9, 9),),
    ),
    "circular padding": lambda: (
        nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"),
        (of(2, 4, 8, 8),),
    ),
    "transposed convolution": lambda: (
        nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2, output_padding=1),
        (of(2, 4, 8, 8),),
    ),
    "convolution without batch": lambda: (nn.Conv2d(4, 8, 3), (of(4, 8, 8),)),
    "1-D convolution": lambda: (nn.Conv1d(4, 6, 3), (of(2, 4, 8),)),
    "3-D convolution": lambda: (nn.Conv3d(4, 6, 3), (of(2, 4, 5, 5, 5),)),
    "linear on 3-D": lambda: (nn.Linear(4, 5), (of(2, 3, 4),)),
    "linear on 1-D, no bias": lambda: (nn.Linear(4, 5, bias=False), (of(4),)),
    "batch norm without affine": lambda: (nn.BatchNorm1d(4, affine=False), (of(2, 4),)),
    "batch norm without statistics": lambda: (
        nn.BatchNorm2d(4, track_running_stats=False).eval(),
        (of(2, 4, 3, 3),),
    ),
    "layer norm": lambda: (nn.LayerNorm(4), (of(2, 3, 4),)),
    "layer norm without affine": lambda: (
        nn.LayerNorm(4, elementwise_affine=False),
        (of(2, 3, 4),),
    ),
    "group norm": lambda: (nn.GroupNorm(2, 4), (of(2, 4, 6),)),
    "group norm without affine": lambda: (nn.GroupNorm(2, 4, affine=False), (of(2, 4, 6),)),
    "instance norm": lambda: (nn.InstanceNorm2d(4), (of(2, 4, 5, 5),)),
    "instance norm with statistics": lambda: (
        nn.InstanceNorm2d(4, affine=True, track_running_stats=True).eval(),
        (of(2, 4, 5, 5),),
    ),
    "einsum, batched product": lambda: (
        Call(lambda a, b: torch.einsum("bij,bjk->bik", a, b)),
        (of(2, 3, 4), of(2, 4, 5)),
    ),
    "einsum that fvcore knows by heart": lambda: (
        Call(lambda a, b: torch.einsum("n c t, n c p -> n t p", a, b)),
        (of(2, 3, 4), of(2, 3, 5)),
    ),
    "einsum of three": lambda: (
        Call(lambda a, b, c: torch.einsum("ij,jk,kl->il", a, b, c)),
        (of(20, 30), of(30, 40), of(40, 7)),
    ),
    "einsum of four digits": lambda: (
        Call(lambda a, b: torch.einsum("bhid,bhjd->bhij", a, b)),
        (of(3, 7, 111, 33), of(3, 7, 117, 33)),
    ),
    "bmm": lambda: (Call(torch.bmm), (of(2, 3, 4), of(2, 4, 5))),
    "mm and addmm": lambda: (
        Call(lambda a, b: torch.addmm(a, a, torch.mm(b, b))),
        (of(4, 4), of(4, 4)),
    ),
    "matmul, right side shared": lambda: (Call(lambda a, b: a @ b), (of(2, 3, 4), of(4, 5))),
    "matmul, left side broadcast": lambda: (Call(lambda a, b: a @ b), (of(3, 4), of(2, 4, 5))),
    "nearest upsampling": lambda: (nn.Upsample(scale_factor=2), (of(2, 4, 3, 3),)),
    "bilinear upsampling": lambda: (
        nn.Upsample(size=(7, 9), mode="bilinear"),
        (of(2, 4, 3, 3),),
    ),
    "nearest upsampling in 1-D": lambda: (nn.Upsample(scale_factor=2), (of(2, 4, 3),)),
    "adaptive pooling to 1": lambda: (nn.AdaptiveAvgPool2d(1), (of(2, 4, 6, 6),)),
    "adaptive pooling to 2": lambda: (nn.AdaptiveAvgPool2d(2), (of(2, 4, 6, 6),)),
    "adaptive pooling in 1-D": lambda: (
        nn.Sequential(nn.AdaptiveAvgPool1d(3), nn.AdaptiveAvgPool1d(1)),
        (of(2, 4, 6),),
    ),
    "adaptive pooling in 3-D": lambda: (nn.AdaptiveAvgPool3d(2), (of(2, 4, 6, 6, 6),)),
    "area interpolation": lambda: (nn.Upsample(size=4, mode="area"), (of(2, 4, 8, 8),)),
    "grid sampling": lambda: (
        Call(lambda a, b: F.grid_sample(a, b, align_corners=False)),
        (of(2, 3, 4, 4), of(2, 5, 5, 2)),
    ),
    "recurrent cell": lambda: (nn.LSTMCell(4, 5), (of(2, 4),)),
    "multi-head attention": lambda: (nn.MultiheadAttention(4, 2), (of(3, 2, 4),) * 3),
    "nothing to count": lambda: (
        nn.Sequential(nn.AvgPool2d(2), nn.ELU(), nn.Unfold(2), nn.Softmax(1)),
        (of(2, 3, 8, 8),),
    ),
}


@pytest.mark.parametrize("case", BOTH_KNOW)
def test_totals_are_those_of_both_libraries(case: str) -> None:
    model, inputs = BOTH_KNOW[case]()
    expected = fvcore_total(model, *inputs), torch_total(model, *inputs)
    real = count(model, *inputs)
    assert (real.macs, real.flops) == expected
    meta = count(model.to("meta"), *(tensor.to("meta") for tensor in inputs))
    assert (meta.macs, meta.flops) == expected
    assert not real.uncounted
    assert not meta.uncounted


@pytest.mark.parametrize("case", BOTH_KNOW)
def test_a_traces_totals_are_those_of_both_libraries(case: str) -> None:
    model, inputs = BOTH_KNOW[case]()
    expected = fvcore_total(model, *inputs), torch_total(model, *inputs)
    given = [NamedInput(TensorSpec(tuple(tensor.shape))) for tensor in inputs]
    trace = trace_live(model, given)
    assert not trace.failures
    assert (trace.macs, trace.flops) == expected
    assert trace.uncounted_ops == {}


def test_convolution_by_hand() -> None:
    # 2 images x 36 positions x 6 filters of 4 x 3 x 3
    assert count(nn.Conv2d(4, 6, 3), of(2, 4, 8, 8)).macs == 2 * 36 * 6 * 36
    # a transposed one works at each input position
    assert count(nn.ConvTranspose2d(4, 6, 3, stride=2), of(2, 4, 8, 8)).macs == 2 * 64 * 6 * 36


ATTENTION = 2 * 3 * (5 * 7 * 4 + 5 * 7 * 4)  # batch 2, 3 heads, 5 queries on 7 keys, 4 wide


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_never_zero(device: str, masked: bool) -> None:
    query, key = torch.rand(2, 3, 5, 4, device=device), torch.rand(2, 3, 7, 4, device=device)
    mask = torch.zeros(5, 7, device=device) if masked else None
    counted = count(
        lambda: F.scaled_dot_product_attention(query, key, key, attn_mask=mask),
    )
    assert (counted.macs, counted.flops) == (ATTENTION, 2 * ATTENTION)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_query_heads_that_share_keys(device: str) -> None:
    query, key = torch.rand(2, 6, 5, 4, device=device), torch.rand(2, 3, 5, 4, device=device)
    counted = count(
        lambda: F.scaled_dot_product_attention(query, key, key, enable_gqa=True),
    )
    assert counted.macs == 2 * 6 * 2 * 5 * 5 * 4


@pytest.mark.parametrize("masked", [False, True])
def test_multi_head_attention_costs_the_same_on_every_path(masked: bool) -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    x = of(3, 5, 8)
    # four projections of 15 positions, then scores and weighted values
    expected = 4 * 15 * 8 * 8 + 2 * 3 * 5 * 5 * 8
    mask = torch.zeros(5, 5) if masked else None
    for needs_weights in (True, False):
        counted = count(layer, x, x, x, None, needs_weights, mask)
        assert (counted.macs, counted.flops) == (expected, 2 * expected)
    with torch.no_grad():
        fast = count(layer.eval(), x, x, x, None, False, mask)
    assert (fast.macs, fast.flops) == (expected, 2 * expected)


def test_encoder_layer_costs_the_same_on_the_fast_path() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    x = of(3, 5, 8)
    attention = 4 * 15 * 8 * 8 + 2 * 3 * 5 * 5 * 8
    products = attention + 2 * 15 * 8 * 16
    norms = 2 * 5 * 3 * 5 * 8
    slow = count(layer, x)
    assert (slow.macs, slow.flops) == (products + norms, 2 * products)
    kernels = Kernels()
    with torch.no_grad(), kernels:  # a function mode would keep the layer off its fast path
        layer(x)
    assert (kernels.macs, kernels.flops) == (products + norms, 2 * products)


def test_vision_transformer_block() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(16, 48)
            self.out = nn.Linear(16, 16)

        def forward(self, x: Any) -> Any:
            batch, length, width = x.shape
            qkv = self.qkv(x).view(batch, length, 3, 4, 4).permute(2, 0, 3, 1, 4)
            mixed = F.scaled_dot_product_attention(*qkv)
            return self.out(mixed.transpose(1, 2).reshape(batch, length, width))

    expected = 2 * 9 * 16 * (48 + 16) + 2 * 2 * 4 * 9 * 9 * 4
    for device in ("cpu", "meta"):
        counted = count(Block().to(device), torch.rand(2, 9, 16, device=device))
        assert (counted.macs, counted.flops) == (expected, 2 * expected)


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        # 3 steps x batch 2, each gate a 4 x 5 and a 5 x 5 matrix
        (lambda: nn.LSTM(4, 5), 6 * 4 * (20 + 25)),
        (lambda: nn.GRU(4, 5), 6 * 3 * (20 + 25)),
        (lambda: nn.RNN(4, 5), 6 * (20 + 25)),
        (lambda: nn.LSTM(4, 5, bidirectional=True), 2 * 6 * 4 * (20 + 25)),
        (lambda: nn.LSTM(4, 5, num_layers=2), 6 * 4 * (20 + 25) + 6 * 4 * (25 + 25)),
        # the state is projected from 5 to 3 after each step
        (lambda: nn.LSTM(4, 5, proj_size=3), 6 * (4 * (20 + 15) + 15)),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("gradients", [True, False])
def test_recurrent_layers(
    layer: Callable[[], nn.Module], macs: int, device: str, gradients: bool
) -> None:
    with torch.set_grad_enabled(gradients):
        counted = count(layer().to(device), torch.rand(3, 2, 4, device=device))
    assert (counted.macs, counted.flops) == (macs, 2 * macs)
    assert not counted.uncounted


@pytest.mark.parametrize(
    ("function", "shapes", "uncounted"),
    [
        (lambda a: torch.fft.rfft(a), [(2, 8)], "aten::_fft_r2c"),
        (lambda a, b: torch.cdist(a, b), [(3, 4), (5, 4)], "aten::_cdist_forward"),
        (lambda a: torch.linalg.svd(a), [(3, 3)], "aten::_linalg_svd"),
        (lambda a: torch.linalg.inv(a), [(3, 3)], "aten::linalg_inv_ex"),
        (lambda a: a.sort(), [(2, 8)], "aten::sort"),
        (lambda a, b: a @ b, [(3, 4), (4,)], "aten::mv"),
        (lambda a: F.interpolate(a, 4, mode="linear"), [(2, 3, 8)], "aten::upsample_linear1d"),
        (
            lambda a: F.interpolate(a, 4, mode="bicubic"),
            [(2, 3, 8, 8)],
            "aten::upsample_bicubic2d",
        ),
        (
            lambda a, b, c: F.bilinear(a, b, c),
            [(2, 3), (2, 4), (5, 3, 4)],
            "aten::_trilinear",
        ),
        (lambda a, w: torch.conv_tbc(a, w, a.new_zeros(5)), [(6, 2, 4), (3, 4, 5)], "conv_tbc"),
        (
            lambda a: F.ctc_loss(
                a.log_softmax(-1), torch.ones(2, 2).long(), (5, 5), (2, 2), reduction="none"
            ),
            [(5, 2, 4)],
            "aten::_ctc_loss",
        ),
    ],
)
def test_work_without_a_formula_is_named(
    function: Callable[..., Any], shapes: list[tuple[int, ...]], uncounted: str
) -> None:
    counted = count(function, *(of(*shape) for shape in shapes))
    assert any(name.endswith(uncounted) for name in counted.uncounted)
    assert (counted.macs, counted.flops) == (0, 0)


def test_a_custom_operator_is_named_unless_it_says_that_it_is_elementwise() -> None:
    library = torch.library.Library("archcheck_tests", "FRAGMENT")
    library.define("mystery(Tensor x) -> Tensor")
    library.define("plain(Tensor x) -> Tensor", tags=(torch.Tag.pointwise,))
    for name in ("mystery", "plain"):
        library.impl(name, lambda x: x.clone(), "CompositeExplicitAutograd")
    operators = torch.ops.archcheck_tests
    assert count(operators.mystery, of(2)).uncounted == {"archcheck_tests::mystery": 1}
    assert not count(operators.plain, of(2)).uncounted


def test_a_formula_that_cannot_read_its_arguments_says_so() -> None:
    cost = kernel_costs(torch.ops.aten.mm.default, ("not", "tensors"), {}, None)
    assert (cost.macs, cost.flops, cost.uncounted) == (0, 0, "aten::mm")


def test_functions_whose_kernels_are_right_are_left_to_them() -> None:
    assert function_macs("linear", [(2, 4), (5, 4)], {}, [(2, 5)]) is None
    assert function_macs("matmul", [(3, 4), (4,)], {}, [(3,)]) is None
    assert function_macs("einsum", [(3, 4)], {"0": (1, 2)}, []) is None


def test_einsum_takes_no_memory() -> None:
    side = 2**20
    macs = function_macs("einsum", [(side, side), (side, side)], {"equation": "ij,jk->ik"}, [])
    assert macs is not None
    assert math.isclose(macs, side**3, rel_tol=1e-3)


def test_inference_mode_costs_the_same() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    )
    x = of(2, 3, 8, 8)
    expected = fvcore_total(model, x), torch_total(model, x)
    with torch.inference_mode():
        counted = count(model, x)
    assert (counted.macs, counted.flops) == expected


def test_the_residual_network_of_the_documents() -> None:
    names = runpy.run_path(str(MODELS / "resnet32.py"))
    with torch.device("meta"):
        model = names["ResNet32"]()
        counted = count(model, torch.empty(8, 3, 224, 224))
    assert sum(parameter.numel() for parameter in model.parameters()) == 21_127_554
    assert (counted.macs, counted.flops) == (29_262_315_520, 58_303_856_640)
    assert not counted.uncounted


def test_the_registry_of_torch_is_left_alone() -> None:
    from torch.utils.flop_counter import flop_registry

    before = dict(flop_registry)
    query = of(1, 1, 2, 2)
    count(lambda: F.scaled_dot_product_attention(query, query, query))
    assert dict(flop_registry) == before
