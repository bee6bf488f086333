"""Valid input sizes of real models, each compared with the model itself."""

from __future__ import annotations

import pickle
import runpy
from collections.abc import Callable
from enum import StrEnum
from itertools import chain, pairwise, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("fvcore")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from archcheck.evidence.trace import Trace  # noqa: E402
from archcheck.tracing.ladder import NamedInput, TensorSpec, trace_module  # noqa: E402
from archcheck.tracing.sizes import passes  # noqa: E402

MODELS = Path(__file__).parents[2] / "fixtures" / "models"


class Call(nn.Module):
    """A function as a module, with submodules handed to it first."""

    def __init__(self, function: Callable[..., Any], *parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(parts)

    def forward(self, *inputs: Any) -> Any:
        return self.function(*self.parts, *inputs)


class UNet(nn.Module):
    """Three halvings, and back by transposed convolutions, or to the size of the skip."""

    def __init__(self, back: str) -> None:
        super().__init__()
        self.back = back
        widths = [3, 4, 4, 4]
        self.down = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(widths)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(4, 4, 2, stride=2) for _ in range(3))
        self.merge = nn.ModuleList(nn.Conv2d(8, 4, 3, padding=1) for _ in range(3))

    def forward(self, x: Any) -> Any:
        skips = []
        for layer in self.down:
            x = F.relu(layer(x))
            skips.append(x)
            x = F.max_pool2d(x, 2)
        for layer, merge, skip in zip(self.up, self.merge, reversed(skips), strict=True):
            x = F.interpolate(x, skip.shape[2:]) if self.back == "resize" else layer(x)
            if self.back == "pad":
                rows, columns = skip.size(2) - x.size(2), skip.size(3) - x.size(3)
                x = F.pad(x, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])
            x = merge(torch.cat([x, skip], dim=1))
        return x


class LeNet(nn.Module):
    def __init__(self, flatten: Callable[[Any], Any]) -> None:
        super().__init__()
        self.flatten = flatten
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc = nn.Linear(16 * 5 * 5, 10)

    def forward(self, x: Any) -> Any:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc(self.flatten(x))


class VisionTransformer(nn.Module):
    def __init__(self, resized: bool) -> None:
        super().__init__()
        self.resized = resized
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.positions = nn.Parameter(torch.zeros(1, 8, 4, 4))
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, x: Any) -> Any:
        x = self.patches(x)
        positions = self.positions
        if self.resized:
            positions = F.interpolate(positions, size=x.shape[2:], mode="bilinear")
        return self.layer((x.flatten(2) + positions.flatten(2)).transpose(1, 2)).mean(1)


class Windows(nn.Module):
    """Attention's windows of seven by seven, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 5, 2, stride=2)
        self.mix = nn.Linear(5, 5)

    def forward(self, x: Any) -> Any:
        x = self.patches(x).permute(0, 2, 3, 1)
        batch, height, width, channels = x.shape
        x = x.view(batch, height // 7, 7, width // 7, 7, channels).transpose(2, 3)
        x = self.mix(x.reshape(-1, 49, channels))
        x = x.view(batch, height // 7, width // 7, 7, 7, channels).transpose(2, 3)
        return x.reshape(batch, height, width, channels).mean((1, 2))


class Decoder(nn.Module):
    """Causal attention on at most 24 positions."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(50, 8)
        self.positions = nn.Parameter(torch.zeros(1, 24, 8))
        self.qkv = nn.Linear(8, 24)

    def forward(self, ids: Any) -> Any:
        batch, length = ids.shape
        x = self.tokens(ids) + self.positions[:, :length]
        q, k, v = self.qkv(x).view(batch, length, 3, 2, 4).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2)
        mask = torch.ones(length, length).tril()
        weights = scores.masked_fill(mask == 0, -1e9).softmax(-1)
        return (weights @ v).transpose(1, 2).reshape(batch, length, 8)


def image(side: int, batch: int = 2) -> tuple[int, ...]:
    return (batch, 3, side, side)


Both = dict[str, tuple[int, int, int]]


def both(low: int, high: int, step: int = 1) -> Both:
    return {"H": (low, high, step), "W": (low, high, step)}


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], Both]] = {
    "flattened": (lambda: LeNet(lambda x: torch.flatten(x, 1)), image(32), both(32, 35)),
    "flattened by view": (lambda: LeNet(lambda x: x.view(x.size(0), -1)), image(32), both(32, 35)),
    "flattened by a fixed width": (
        lambda: LeNet(lambda x: x.view(-1, 400)),
        image(32),
        both(32, 35),
    ),
    "flattened by a computed width": (
        lambda: LeNet(lambda x: x.view(x.size(0), x.size(1) * x.size(2) * x.size(3))),
        image(32),
        both(32, 35),
    ),
    "the wrong size": (lambda: LeNet(lambda x: torch.flatten(x, 1)), image(28), both(32, 35)),
    "multiples": (lambda: UNet("stride"), image(32), both(8, 1024, 8)),
    "resized to the skip": (lambda: UNet("resize"), image(32), both(8, 1024)),
    # what is padded at other sizes was not recorded: silence
    "padded to the skip": (lambda: UNet("pad"), image(32), {}),
    "a smallest size": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 5), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1)),
        image(32),
        both(6, 1024),
    ),
    "no limit": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1)),
        image(32),
        {},
    ),
    "as many positions as patches": (lambda: VisionTransformer(False), image(16), both(16, 19)),
    "resized positions": (lambda: VisionTransformer(True), image(16), both(4, 1024)),
    "windows": (Windows, image(56), both(14, 1022, 14)),
    "pooled by a kernel read from the map": (
        lambda: Call(lambda c, x: F.avg_pool2d(c(x), c(x).shape[2:]), nn.Conv2d(3, 4, 3)),
        image(32),
        both(3, 1024),
    ),
    "pooled by a written kernel": (
        lambda: Call(
            lambda conv, linear, x: linear(F.avg_pool2d(conv(x), 30).flatten(1)),
            nn.Conv2d(3, 4, 3),
            nn.Linear(4, 2),
        ),
        image(32),
        both(32, 61),
    ),
    "ceil mode": (
        lambda: nn.Sequential(nn.MaxPool2d(3, 2, ceil_mode=True), nn.Flatten(), nn.Linear(675, 2)),
        image(30),
        both(30, 31),
    ),
    "one sample in batch norm": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3, stride=8), nn.BatchNorm2d(4)),
        image(64, batch=1),
        both(3, 1024),
    ),
    "channels last": (
        lambda: Call(
            lambda conv, linear, x: linear(conv(x.permute(0, 3, 1, 2)).flatten(1)),
            nn.Conv2d(3, 4, 3, stride=2),
            nn.Linear(4 * 15 * 15, 2),
        ),
        (2, 32, 32, 3),
        both(31, 32),
    ),
    "pixels folded into channels": (
        lambda: nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(48, 4, 1)),
        image(32),
        both(4, 1024, 4),
    ),
    "a signal": (
        lambda: nn.Sequential(nn.Conv1d(3, 4, 3), nn.Flatten(), nn.Linear(120, 2)),
        (2, 3, 32),
        {"L": (32, 32, 1)},
    ),
    "steps of a recurrent layer": (
        lambda: Call(lambda r, x: r(x)[0][:, -1], nn.LSTM(5, 6, batch_first=True)),
        (2, 7, 5),
        {},
    ),
    "positions": (Decoder, (2, 16), {"T": (1, 24, 1)}),
    "its own check of the size": (
        lambda: Call(lambda c, x: c(x) if x.shape[2] == 64 else 1 // 0, nn.Conv2d(3, 4, 3)),
        image(64),
        {"H": (64, 64, 1), "W": (3, 1024, 1)},
    ),
}


def traced(build: Callable[[], nn.Module], *shapes: Any, **more: Any) -> Trace:
    given = [
        shape if isinstance(shape, NamedInput) else NamedInput(TensorSpec(shape))
        for shape in shapes
    ]
    return trace_module(build, given, find_sizes=True, user_files=[__file__], **more)


@pytest.mark.parametrize("case", CASES)
def test_sizes(case: str) -> None:
    build, shape, expected = CASES[case]
    dtype = "int64" if len(shape) == 2 else None
    trace = traced(build, NamedInput(TensorSpec(shape, dtype)))
    sizes = trace.valid_input_sizes
    assert {s.dimension: (s.low, s.high, s.multiple_of) for s in sizes} == expected
    model = build()
    for size in sizes:
        axes = [axis for other in sizes if other.dimension in size.tied for axis in other.axes]
        for wanted in {size.low, size.low + size.multiple_of, size.low - 1, size.high + 1}:
            inside = size.low <= wanted <= size.high
            if 0 < wanted <= 128:
                resized = list(shape)
                for _, dimension in (*size.axes, *axes):
                    resized[dimension] = wanted
                assert runs(model, resized, dtype) == inside, resized


def runs(model: nn.Module, shape: list[int], dtype: str | None) -> bool:
    x = torch.zeros(shape, dtype=torch.int64 if dtype else None)
    try:
        out = model(x)
    except (RuntimeError, ValueError, ZeroDivisionError):
        return False
    return bool(out.shape[0] == shape[0])


@pytest.mark.parametrize("side", [224, 64, 32])
def test_the_residual_network_of_the_documents(side: int) -> None:
    build = runpy.run_path(str(MODELS / "resnet32.py"))["ResNet32"]
    sizes = traced(build, (8, 3, side, side)).valid_input_sizes
    assert [(s.dimension, s.low, s.high, s.multiple_of) for s in sizes] == [
        ("H", 163, 226, 1),
        ("W", 163, 226, 1),
    ]


def test_height_and_width_apart() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 2, (5, 3)), nn.Flatten(2), nn.Linear(28 * 10, 4))

    # 28 rows and 10 columns, or any other product of 280 with one of them kept
    sizes = traced(build, (2, 3, 32, 12)).valid_input_sizes
    assert [(s.dimension, s.low, s.high) for s in sizes] == [("H", 32, 32), ("W", 12, 12)]


def test_inputs_of_one_length_are_tied() -> None:
    def build() -> nn.Module:
        return Call(lambda a, b, x, y: a(x) * b(y), nn.Embedding(9, 4), nn.Embedding(9, 4))

    ids = NamedInput(TensorSpec((2, 7), "int64"))
    trace = traced(build, ids, ids, free=({0: "B", 1: "T"}, {0: "B", 1: "S"}))
    assert [(s.dimension, s.low, s.high, s.tied) for s in trace.valid_input_sizes] == [
        ("B", 1, 1024, ()),
        ("T", 1, 1024, ("S",)),
        ("S", 1, 1024, ("T",)),
    ]
    assert [given.free for given in trace.inputs] == [{0: "B", 1: "T"}, {0: "B", 1: "S"}]


def test_searching_leaves_the_totals_alone() -> None:
    build = runpy.run_path(str(MODELS / "resnet32.py"))["ResNet32"]
    given = [NamedInput(TensorSpec((2, 3, 224, 224)))]
    without = trace_module(build, given)
    searched = traced(build, (2, 3, 224, 224))
    assert without.valid_input_sizes == ()
    assert (searched.macs, searched.flops) == (without.macs, without.flops)
    assert searched.peak_activation_bytes == without.peak_activation_bytes


def test_no_size_is_said_to_work_where_the_model_fails_at_any() -> None:
    def forward(conv: Any, fc: Any, x: Any) -> Any:
        return fc(F.max_pool2d(conv(x), 2))  # never flattened

    trace = traced(lambda: Call(forward, nn.Conv2d(1, 4, 3), nn.Linear(676, 10)), (8, 1, 28, 28))
    assert len(trace.failures) == 1
    assert trace.valid_input_sizes == ()


class Waiting(nn.Module):
    """Never ends on an image of another height."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Any) -> Any:
        while x.shape[2] != 32:
            x = x + 0
        return self.conv(x)


def test_passes_without_end_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "SECONDS", 0.2)
    trace = traced(Waiting, image(32))
    assert trace.complete
    assert trace.valid_input_sizes == ()


def test_time_that_runs_out_ends_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake tensor's device is asked for by code of torch that lets no exception through."""

    def forward(conv: Any, norm: Any, x: Any) -> Any:
        return torch.cat(norm(conv(x)), x)

    for readings in range(2, 24):
        clock = chain(repeat(0.0, readings), repeat(1e9))
        monkeypatch.setattr(passes, "time", SimpleNamespace(monotonic=clock.__next__))
        trace = traced(lambda: Call(forward, nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), image(8))
        assert [failure.error for failure in trace.failures] == ["TypeError"]


def test_passes_print_nothing_and_leave_the_random_state(capsys: Any) -> None:
    def forward(conv: Any, x: Any) -> Any:
        print("here")
        return conv(x) + torch.rand(1)

    before = torch.random.get_rng_state()
    trace = traced(lambda: Call(forward, nn.Conv2d(3, 4, 3)), image(32))
    assert len(trace.valid_input_sizes) == 2
    assert capsys.readouterr().out == "here\n"
    assert torch.equal(torch.random.get_rng_state(), before)


def test_evidence_is_read_without_the_users_classes() -> None:
    class Order(StrEnum):
        FIRST = "first"

    class Pair(NamedTuple):
        rows: int
        columns: int

    def build() -> nn.Module:
        model = nn.Conv2d(3, 4, Pair(3, 5))
        model.order, model.pair = Order.FIRST, Pair(1, 2)  # type: ignore[assignment]
        return model

    trace = traced(build, image(8))
    attributes = trace.modules[0].attributes
    assert type(attributes["order"]) is str
    assert attributes["order"] == "first"
    assert type(attributes["pair"]) is tuple
    assert pickle.loads(pickle.dumps(trace)) == trace
