"""Every symbolic size against forward passes at other sizes, and how sizes are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from archcheck.analysis.axes.names import NamedShapes
from archcheck.evidence.dataflow import indices
from archcheck.evidence.size_text import SizeNames, assumed
from archcheck.evidence.sizes import Size, Tables, free, pooled_up, scaled
from archcheck.evidence.symbolic import FreeSize
from archcheck.evidence.trace import Trace
from archcheck.tracing.ladder import TensorSpec, trace_live, trace_module

Shape = tuple[int, ...]


class Images(nn.Module):
    """Convolutions, poolings that round up and down, an upsampling, a pyramid."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 7, stride=2, padding=3)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.dilated = nn.Conv2d(8, 8, 3, dilation=2)
        self.up = nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.head = nn.Linear(8 * 9, 10)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x = self.pool(self.stem(x))
        y = self.up(self.dilated(x))
        z = F.interpolate(y, scale_factor=1.5)
        pyramid = torch.cat(
            [
                F.pixel_unshuffle(F.pad(x, (0, 3, 0, 1))[:, :, ::2, ::2], 1),
                x[:, :, : (x.shape[2] + 2) // 2, : (x.shape[3] + 4) // 2],
            ],
            1,
        )
        return self.head(F.adaptive_avg_pool2d(z, 3).flatten(1)), z, pyramid


class Coincidences(nn.Module):
    """Eight heads, and eight samples: a number in the code that equals the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(64, 192)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, _ = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, 8, 8).permute(2, 0, 3, 1, 4).unbind(0)
        y = (q @ k.transpose(-2, -1)).softmax(-1) @ v
        return y.transpose(1, 2).reshape(b, t, 64)


class Windows(nn.Module):
    """Pads to whole windows only where the size needs it: another way at other sizes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, height, width, channels = x.shape
        if height % 4 or width % 4:
            x = F.pad(x, (0, 0, 0, -width % 4, 0, -height % 4))
            batch, height, width, channels = x.shape
        x = x.view(batch, height // 4, 4, width // 4, 4, channels)
        return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, channels)


class Loop(nn.Module):
    """A size that no rule of the replay knows: sums of windows, made one by one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tril_indices(len(x), len(x)).T.float()


class FixedPositions(nn.Module):
    """Sixteen places, and no more or less."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(1, 16, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.position


MODELS: dict[str, tuple[Callable[[], nn.Module], Shape, tuple[Shape, ...]]] = {
    "images": (Images, (2, 3, 64, 96), ((3, 3, 65, 77), (2, 3, 128, 99), (5, 3, 70, 70))),
    "coincidences": (Coincidences, (8, 8, 64), ((2, 5, 64), (9, 9, 64), (8, 3, 64))),
    "windows": (Windows, (2, 8, 16, 3), ((3, 12, 8, 3), (1, 20, 20, 3), (4, 4, 4, 3))),
    "lstm": (lambda: nn.LSTM(4, 6, 2, bidirectional=True), (7, 2, 4), ((3, 5, 4), (9, 4, 4))),
    "transformer": (
        lambda: nn.TransformerEncoderLayer(16, 2, batch_first=True),
        (4, 16, 16),
        ((3, 5, 16), (7, 16, 16)),
    ),
    "positions": (FixedPositions, (4, 16, 8), ((3, 16, 8), (8, 16, 8))),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_expression_tells_what_a_pass_at_other_sizes_shows(name: str) -> None:
    build, given, others = MODELS[name]
    trace = symbolic(build(), given)
    assert trace.symbolic is not None and trace.symbolic.free, trace.symbolic
    assert not any(None in shape for shape in trace.symbolic.shapes.values())
    for sizes in others:
        there = trace_module(build, [TensorSpec(sizes)])
        assert [op.name for op in there.ops] == [op.name for op in trace.ops]
        for value in there.values:
            assert evaluated(trace, value.index, sizes) == value.shape


def test_a_number_in_the_code_that_equals_the_batch_stays_a_number() -> None:
    trace = symbolic(Coincidences(), (8, 8, 64))
    named = trace.analysed(NamedShapes)
    shapes = {named.shape(value.index) for value in trace.values}
    assert ("B", 8, "T", "T") in shapes and ("B", "T", 3, 8, 8) in shapes


def test_sizes_at_which_the_pass_goes_another_way_are_told() -> None:
    trace = symbolic(Windows(), (2, 8, 16, 3))
    named = trace.analysed(NamedShapes)
    assert outputs(trace) == [("batch*height*width/16", 16, "channels")]
    assert list(named.legend()) == [
        "batch = 2, height = 8, width = 16, channels = 3 in this pass",
        "height and width are taken to be multiples of 4",
    ]


def test_a_size_that_may_not_vary_has_no_name() -> None:
    trace = symbolic(FixedPositions(), (4, 16, 8))
    assert outputs(trace) == [("B", 16, 8)]


def test_what_no_expression_tells_stays_a_number_and_is_said() -> None:
    trace = symbolic(Loop(), (4, 2))
    named = trace.analysed(NamedShapes)
    (value,) = indices(trace.outputs)
    if named.is_untold(value):
        assert named.shape(value) == (10, 2)
        assert any("no expression tells" in sentence for sentence in named.legend())
    else:
        assert evaluated(trace, value, (9, 2)) == (45, 2)


def test_without_a_pass_there_are_no_symbols_and_a_reason() -> None:
    trace = symbolic(nn.Linear(3, 4), (2, 5))
    assert trace.symbolic is not None
    names = trace.analysed(NamedShapes)
    assert bool(names) or list(names.legend()) == [f"no symbols: {trace.symbolic.reason}"]


def test_no_symbols_are_found_where_nobody_asks() -> None:
    assert trace_live(nn.Linear(3, 4), [TensorSpec((2, 3))]).symbolic is None


H, W = free("h"), free("w")


@pytest.mark.parametrize(
    ("size", "short", "exact"),
    [
        ((H - 1) // 2 + 1, "H/2", "(H + 1)//2"),
        (((W - 1) // 2 + 1) * 3, "3*((W + 1)//2)", "3*((W + 1)//2)"),
        (H // 2 * (W // 2) + 1, "H*(W//2)/2 + 1", "(H//2)*(W//2) + 1"),
        (pooled_up(H, 3, 2, 0, 1), "H/2", "H//2"),
        (scaled(H, 1.5), "3*H/2", "floor(H*1.5)"),
        (H * -1 + 7, "-H + 7", "-H + 7"),
        ((H + 31) // 32, "H/32", "(H + 31)//32"),
    ],
)
def test_sizes_are_short_where_the_given_ones_divide(size: Size, short: str, exact: str) -> None:
    names = SizeNames({"h": "H", "w": "W"}, {"h": 32, "w": 1})
    assert (names.short(size), names.exact(size)) == (short, exact)


@pytest.mark.parametrize("traced", [7, 24, 96, 224])
@pytest.mark.parametrize("kernel", [(2, 2, 0, 1), (3, 2, 0, 1), (3, 2, 1, 1), (2, 3, 1, 1)])
def test_what_is_written_is_what_the_size_is(traced: int, kernel: Shape) -> None:
    size = (pooled_up(H, *kernel) * 3 + 5) // 4 - scaled(H, 0.5)
    names = assumed([size], [FreeSize("h", ((0, 0),), traced)], {"h": "H"})
    for number in range(names.multiples["h"], 300, names.multiples["h"]):
        (told,) = Tables({"h": [number]}).of(size)
        environment = {"H": number, "floor": int, "min": min}
        assert eval(names.short(size), environment) == told
        assert eval(names.exact(size), environment) == told


def symbolic(model: nn.Module, *shapes: Sequence[int]) -> Trace:
    return trace_live(model, [TensorSpec(tuple(shape)) for shape in shapes], symbolic=True)


def outputs(trace: Trace) -> list[tuple[int | str, ...]]:
    named = trace.analysed(NamedShapes)
    return [named.shape(index) for index in indices(trace.outputs)]


def evaluated(trace: Trace, value: int, sizes: Shape) -> Shape:
    """The shape of a value for an input of these sizes."""
    symbols = trace.symbolic
    assert symbols is not None
    tables = Tables({one.key: [sizes[one.axes[0][1]]] for one in symbols.free})
    known = symbols.shapes.get(value)
    if known is None:
        return trace.shape(value)
    return tuple(
        number if size is None else tables.of(size)[0]
        for number, size in zip(trace.shape(value), known, strict=True)
    )
