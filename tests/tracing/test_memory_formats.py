"""Strides of what layers give on meta tensors: those of the CPU, channels last included."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from archcheck.evidence.records import ValueIndex  # noqa: E402
from archcheck.tracing.ladder import TensorSpec, trace_module  # noqa: E402

LAYERS = {
    "conv": lambda n: getattr(nn, f"Conv{n}d")(4, 6, 3, padding=1),
    "depthwise": lambda n: getattr(nn, f"Conv{n}d")(4, 4, 3, groups=4),
    "wide": lambda n: getattr(nn, f"Conv{n}d")(4, 6, 4),
    "pointwise": lambda n: getattr(nn, f"Conv{n}d")(4, 1, 1, stride=2),
    "transposed": lambda n: getattr(nn, f"ConvTranspose{n}d")(4, 6, 3, stride=2),
    "group norm": lambda n: nn.GroupNorm(2, 4),
    "batch norm": lambda n: getattr(nn, f"BatchNorm{n}d")(4),
    "instance norm": lambda n: getattr(nn, f"InstanceNorm{n}d")(4),
    "max pool": lambda n: getattr(nn, f"MaxPool{n}d")(2),
    "average pool": lambda n: getattr(nn, f"AvgPool{n}d")(2),
    "adaptive pool": lambda n: getattr(nn, f"AdaptiveAvgPool{n}d")(3),
    "upsample": lambda n: nn.Upsample(scale_factor=2),
    "relu": lambda n: nn.ReLU(),
    "dropout": lambda n: nn.Dropout(0.1),
    "padding": lambda n: getattr(nn, f"ZeroPad{n}d")(1),
    "prelu": lambda n: nn.PReLU(4),
}


class Formatted(nn.Module):
    """A layer whose input, or whose weights, are in another memory format."""

    def __init__(self, layer: Any, rank: int, of_weights: bool) -> None:
        super().__init__()
        formats = {2: torch.channels_last, 3: torch.channels_last_3d}
        self.layer = layer.to(memory_format=formats[rank]) if of_weights else layer
        self.last = not of_weights

    def forward(self, x: Any) -> Any:
        x = x.movedim(-1, 1) if self.last else x.movedim(-1, 1).contiguous()
        return self.layer(x)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("rank, of_weights", list(itertools.product((2, 3), (False, True))))
@pytest.mark.parametrize("batch", [1, 2])
def test_strides_are_those_of_the_cpu(name: str, rank: int, of_weights: bool, batch: int) -> None:
    def build() -> nn.Module:
        return Formatted(LAYERS[name](rank), rank, of_weights)

    shape = (batch, *(7, 6, 5)[:rank], 4)
    real = build()(torch.zeros(shape))
    trace = trace_module(build, [TensorSpec(shape)], path=__file__)
    assert isinstance(trace.outputs, ValueIndex)
    value = trace.values[trace.outputs.index]
    assert (value.shape, value.stride) == (tuple(real.shape), real.stride())
