"""What True means in a mask, asked of torch itself: the tables of AC409 rest on it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

HIDDEN = torch.tensor([[False, False, True]])


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def changes(model: nn.Module, name: str, mask: torch.Tensor) -> bool:
    """Whether the first place's result depends on the last place, which the mask is True for."""
    x = torch.randn(1, 3, 8)
    other = x.clone()
    other[:, 2] += 1
    one, two = (_first(model, each, name, mask) for each in (x, other))
    return not torch.allclose(one, two, atol=1e-6)


def _first(model: nn.Module, x: torch.Tensor, name: str, mask: torch.Tensor) -> torch.Tensor:
    inputs = (x, x, x) if isinstance(model, nn.MultiheadAttention) else (x,)
    result = model(*inputs, **{name: mask})
    return (result[0] if isinstance(result, tuple) else result)[:, 0]


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (nn.MultiheadAttention(8, 2, batch_first=True), "key_padding_mask"),
        (nn.TransformerEncoderLayer(8, 2, dropout=0.0, batch_first=True), "src_key_padding_mask"),
    ],
)
def test_modules_hide_where_their_mask_is_true(model: nn.Module, name: str) -> None:
    assert not changes(model, name, HIDDEN)
    assert changes(model, name, ~HIDDEN & torch.tensor([[False, True, False]]))


def test_the_kernel_keeps_where_its_mask_is_true() -> None:
    q = torch.randn(1, 3, 8)
    kept = F.scaled_dot_product_attention(q, q, q, attn_mask=~HIDDEN[:, None, :])
    assert torch.allclose(kept, F.scaled_dot_product_attention(q, q[:, :2], q[:, :2]), atol=1e-6)
