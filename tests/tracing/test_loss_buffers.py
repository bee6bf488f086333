"""What the scalar of a loss keeps alive on meta tensors is what it keeps on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from archcheck.tracing.ladder import TensorSpec, trace_module  # noqa: E402

LOSSES: dict[str, Callable[..., Any]] = {
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "smooth l1": F.smooth_l1_loss,
    "huber": F.huber_loss,
    "binary cross entropy": F.binary_cross_entropy,
    "with logits": F.binary_cross_entropy_with_logits,
    "soft margin": F.soft_margin_loss,
    "divergence": F.kl_div,
    "poisson": F.poisson_nll_loss,
    "hinge": F.hinge_embedding_loss,
}


class Scored(nn.Module):
    def __init__(self, loss: Callable[..., Any], reduction: str) -> None:
        super().__init__()
        self.layer = nn.Conv2d(8, 8, 1)
        self.loss = loss
        self.reduction = reduction
        self.target = nn.Buffer(torch.rand(4, 8, 6, 6))

    def forward(self, x: Any) -> Any:
        return self.loss(self.layer(x).sigmoid(), self.target, reduction=self.reduction)


@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", LOSSES)
def test_the_scalar_keeps_what_it_keeps_on_the_cpu(name: str, reduction: str) -> None:
    made = Scored(LOSSES[name], reduction)
    kept = made(torch.rand(4, 8, 6, 6)).untyped_storage().nbytes()
    x = torch.rand(4, 8, 6, 6)
    with torch.no_grad():
        plain = made.layer(x).sigmoid()
        alone = 2 * plain.untyped_storage().nbytes()  # the input and the sigmoid's result
    trace = trace_module(
        lambda: Scored(LOSSES[name], reduction), [TensorSpec((4, 8, 6, 6))], mode="train"
    )
    assert trace.rung == "meta"
    # Losses of several kernels keep more than their result for the backward pass.
    if name in ("mse", "smooth l1", "soft margin", "binary cross entropy"):
        assert kept == x.untyped_storage().nbytes()
    else:
        assert kept == (x.untyped_storage().nbytes() if reduction == "none" else 4)
    assert trace.peak_activation_bytes >= alone + kept
    if name in ("mse", "smooth l1", "soft margin", "binary cross entropy"):
        # While the sigmoid runs, what goes into it is alive, too; it is gone when the loss is made.
        assert trace.peak_activation_bytes == alone + kept
