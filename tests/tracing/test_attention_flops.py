"""Twelve ways to write attention: the same FLOPs with every version of torch, worked out by hand.

With B=2 samples, T=8 steps, E=16 features and H=4 heads of 4, the scores are B*H*T*T*4 = 2,048
multiply-adds, and so is their product with the values: 2 * 2 * 2,048 = 8,192 FLOPs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

import archcheck  # noqa: E402

ATTENTION = 8_192
# Projections of 16 rows: to three times the features, and back from one.
MULTIHEAD = 2 * 16 * 16 * 48 + ATTENTION + 2 * 16 * 16 * 16


class Attention(nn.Module):
    def __init__(self, attend: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.attend = attend

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attend(x)


def heads(x: torch.Tensor, count: int = 4) -> torch.Tensor:
    return x[..., : count * 4].reshape(x.shape[0], x.shape[1], count, 4).transpose(1, 2)


def attend(x: torch.Tensor, key_heads: int = 4, steps: int = 8, **options: Any) -> torch.Tensor:
    key = heads(x[:, :steps], key_heads)
    return F.scaled_dot_product_attention(heads(x), key, key, **options)


def by_hand(x: torch.Tensor) -> torch.Tensor:
    q = heads(x)
    return (q @ q.transpose(-2, -1) / 2).softmax(-1) @ q


class Multihead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x, x, x)[0]


def truth_mask(x: torch.Tensor) -> torch.Tensor:
    return attend(x, attn_mask=torch.ones(8, 8, dtype=torch.bool, device=x.device).tril())


def float_mask(x: torch.Tensor) -> torch.Tensor:
    return attend(x, attn_mask=torch.zeros(2, 1, 1, 8, device=x.device))


MODELS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "plain": (lambda: Attention(attend), ATTENTION),
    "causal": (lambda: Attention(lambda x: attend(x, is_causal=True)), ATTENTION),
    "truth mask": (lambda: Attention(truth_mask), ATTENTION),
    "float mask": (lambda: Attention(float_mask), ATTENTION),
    "dropout": (lambda: Attention(lambda x: attend(x, dropout_p=0.1)), ATTENTION),
    "three dimensions": (
        lambda: Attention(lambda x: F.scaled_dot_product_attention(x, x, x)),
        ATTENTION,
    ),
    "one key head": (lambda: Attention(lambda x: attend(x, key_heads=1)), ATTENTION),
    "groups": (lambda: Attention(lambda x: attend(x, key_heads=2, enable_gqa=True)), ATTENTION),
    "half the keys": (lambda: Attention(lambda x: attend(x, steps=4)), ATTENTION // 2),
    "by hand": (lambda: Attention(by_hand), ATTENTION),
    "multi-head": (Multihead, MULTIHEAD),
    "encoder layer": (
        lambda: nn.TransformerEncoderLayer(16, 4, dim_feedforward=32, batch_first=True),
        MULTIHEAD + 2 * (2 * 16 * 16 * 32),
    ),
}


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", MODELS)
def test_flops_are_those_worked_out_by_hand(name: str, mode: Any) -> None:
    build, flops = MODELS[name]
    assert archcheck.check(build(), input=(2, 8, 16), mode=mode).flops == flops


@pytest.mark.parametrize("name", MODELS)
def test_torch_s_counter_agrees_wherever_it_counts_attention(name: str) -> None:
    build, flops = MODELS[name]
    with FlopCounterMode(display=False) as counter:
        build()(torch.randn(2, 8, 16))
    attention = flops if name == "half the keys" else ATTENTION
    assert counter.get_total_flops() in (flops, flops - attention)
