"""The layers of a report are those that torchinfo lists, wherever torchinfo can run."""

from __future__ import annotations

from typing import Any

import pytest

from archcheck.evidence.target_summary import TargetReport

torch = pytest.importorskip("torch")
torchinfo = pytest.importorskip("torchinfo")
trace_live = pytest.importorskip("archcheck.tracing.ladder").trace_live
TensorSpec = pytest.importorskip("archcheck.tracing.input_tensors").TensorSpec
nn = torch.nn


class Block(nn.Module):
    def __init__(self, width: int, out_width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, out_width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_width)
        self.conv2 = nn.Conv2d(out_width, out_width, 3, 1, 1, groups=2)
        self.relu = nn.ReLU()
        self.skip = nn.Conv2d(width, out_width, 1, stride) if width != out_width else None

    def forward(self, x: Any) -> Any:
        y = self.conv2(self.relu(self.bn1(self.conv1(x))))
        return y + (x if self.skip is None else self.skip(x))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            Block(3 * 2, 8), Block(8, 8), nn.Sequential(Block(8, 16, 2), Block(16, 16))
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Any) -> Any:
        return self.head(self.pool(self.stages(x)).flatten(1))


class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(12)
        self.tokens = nn.Sequential(nn.Linear(7, 14), nn.GELU(), nn.Linear(14, 7))
        self.channels = nn.ModuleList([nn.Linear(12, 12), nn.Dropout(0.1), nn.Linear(12, 3)])

    def forward(self, x: Any) -> Any:
        x = x + self.tokens(self.norm(x).transpose(1, 2)).transpose(1, 2)
        for layer in self.channels:
            x = layer(x)
        return x


def autoencoder() -> Any:
    return nn.Sequential(
        nn.Conv1d(2, 4, 4, 2, 1),
        nn.InstanceNorm1d(4, affine=True),
        nn.PReLU(),
        nn.ConvTranspose1d(4, 2, 4, 2, 1, bias=False),
        nn.Flatten(),
        nn.Unflatten(1, (2, 16)),
    )


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (Residual, (2, 6, 16, 16)),
        (Mixer, (3, 7, 12)),
        (autoencoder, (4, 2, 16)),
        (
            lambda: nn.Sequential(nn.Conv3d(1, 2, 3), nn.GroupNorm(1, 2), nn.MaxPool3d(2)),
            (1, 1, 8, 8, 8),
        ),
    ],
)
def test_layers_are_those_of_torchinfo(build: Any, shape: tuple[int, ...]) -> None:
    model = build()
    names = {id(module): name for name, module in model.named_modules()}
    listed = torchinfo.summary(model, input_size=shape, mode="train", verbose=0).summary_list
    expected = {
        (names[info.layer_id], info.class_name, tuple(info.output_size), info.num_params)
        for info in listed
        if info.executed
    }
    report = TargetReport(trace_live(model, [TensorSpec(shape, None)], mode="train"))
    ours = {
        (layer.path, layer.type, layer.outputs[0].shape, layer.params)
        for layer in report.modules
        if layer.calls
    }
    assert ours == expected
