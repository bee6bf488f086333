"""Models that the tests of the trace engine run; what each must show stands beside it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import rnn
from torch.utils.checkpoint import checkpoint


class Twice(nn.Module):
    """One layer called twice: 2 x 4 into 4 features is 2 * 4 * 4 = 32 MACs a call."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.layer(x)
        return self.layer(hidden.relu())


class Parents(nn.Module):
    """One layer below two parents: counted once in parameters, once per call in MACs."""

    def __init__(self) -> None:
        super().__init__()
        shared = nn.Linear(4, 4)
        self.left = nn.Sequential(shared, nn.ReLU())
        self.right = nn.Sequential(shared)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.left(x) + self.right(x)


class Recursive(nn.Module):
    """A module that calls itself, three levels deep."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, depth: int = 3) -> torch.Tensor:
        x = self.layer(x)
        return x if depth == 1 else self(x, depth=depth - 1)


class Direct(nn.Module):
    """Calls forward in place of the module."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner.forward(x)


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


class Derived(Base):
    """super().forward() is no call of a module."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).relu()


@dataclass
class Answer:
    logits: torch.Tensor
    states: list[torch.Tensor]


class Nested(nn.Module):
    """Takes a list and a keyword, returns a dataclass, a dict, a tuple and None."""

    def forward(
        self, images: list[torch.Tensor], *, scale: torch.Tensor, flag: bool = True
    ) -> tuple[Answer, dict[str, torch.Tensor], None]:
        first, second = images
        return Answer(first * scale, [second]), {"sum": first + 1}, None


class Packed(nn.Module):
    """The lengths are read by the packing, so that only real tensors will do."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(4, 3, batch_first=True)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        outputs, _ = self.cell(packed)
        padded, _ = rnn.pad_packed_sequence(outputs, batch_first=True)
        return padded


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.reentrant = reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return checkpoint(self.layer, x, use_reentrant=self.reentrant)


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, grad: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * grad


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Square.apply(self.layer(x)).sum(1)


class Scripted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


class Reparametrised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weighted = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
        self.spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.spectral(self.weighted(x))


class Lazy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.LazyConv2d(8, 3)
        self.norm = nn.LazyBatchNorm2d()
        self.head = nn.LazyLinear(5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.conv(x)).flatten(1))


class InPlace(nn.Module):
    """Writes into its input's view, and reads the input again."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.view(-1)
        y.mul_(2)
        return x + 1


class Constants(nn.Module):
    """Makes tensors as it goes, reads small ones, fills one with what it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.arange(16))
        self.loose = torch.ones(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        mask = torch.triu(torch.ones(length, length), 1).bool()
        for rate in torch.linspace(0, 1, 3).tolist():
            x = x * rate
        kept = torch.zeros(batch, length)
        kept[:, 0] = x[:, 0, 0]
        scores = (x @ x.transpose(1, 2)).masked_fill(mask, float("-inf"))
        x = scores.softmax(-1) @ (x + self.loose)
        return x + kept[..., None] + self.steps[:length, None]


class Residual(nn.Module):
    """Three layers whose sizes do not fit, each by its own fault."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.wrong_channels = nn.Conv2d(8, 16, 3, padding=1)
        self.wrong_norm = nn.BatchNorm2d(32)
        self.head = nn.Linear(100, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = self.wrong_channels(x)
        x = self.wrong_norm(x)
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.head(x)
