"""What optimizers keep between steps, and take while they step, by their own code.

Sizes are those of torch.optim 2.13, lion-pytorch 0.2 and bitsandbytes 0.50 with their default
settings, on an accelerator, where torch's run on lists of tensors (`foreach`) unless `fused` is
asked for. A test steps the real ones and compares. Step counters, four bytes on the host each,
are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, prod
from types import MappingProxyType
from typing import TypeAlias

from archcheck.core.known_names import known
from archcheck.evidence.training_step import DTYPE_BYTES

Shape: TypeAlias = tuple[int, ...]
_SINGLE = 4
# bitsandbytes leaves smaller tensors in 32 bits, and keeps one scale for each block.
_SMALLEST_8_BIT, _BLOCK_8_BIT, _CODE_BOOKS = 4096, 256, 2 * 256 * _SINGLE


@dataclass(frozen=True, slots=True)
class Weight:
    """A parameter that takes a gradient."""

    name: str
    shape: Shape
    dtype: str

    @property
    def count(self) -> int:
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        return int(self.count * DTYPE_BYTES.get(self.dtype, 4))


@dataclass(frozen=True, slots=True)
class Optimizer:
    """An optimizer's memory.

    Attributes:
        states: The bytes of each tensor that it keeps for a parameter.
        temporary: The bytes that a step over these parameters takes and gives back.
        passes: How often a step reads or writes each byte of the parameters, at least.
    """

    states: Callable[[Weight], Sequence[int]]
    temporary: Callable[[Sequence[Weight]], int]
    passes: int
    shared: int = 0

    def state_bytes(self, weights: Sequence[Weight]) -> list[int]:
        """Every tensor that it keeps."""
        kept = [size for weight in weights for size in self.states(weight)]
        return kept + [self.shared] * bool(self.shared)


def _copies(count: int) -> Callable[[Weight], Sequence[int]]:
    return lambda weight: [weight.bytes] * count


def _whole(copies: int) -> Callable[[Sequence[Weight]], int]:
    """So many copies of all parameters."""
    return lambda weights: copies * sum(weight.bytes for weight in weights)


def _largest(copies: int) -> Callable[[Sequence[Weight]], int]:
    """So many copies of the largest parameter: it steps through them one by one."""
    return lambda weights: copies * max((weight.bytes for weight in weights), default=0)


def _nothing(_: Sequence[Weight]) -> int:
    return 0


def _factors(weight: Weight) -> Sequence[int]:
    """Adafactor keeps a mean for each row and each column; of a vector, all."""
    if len(weight.shape) < 2:
        return [weight.bytes]
    size = DTYPE_BYTES.get(weight.dtype, 4)
    rows = prod(weight.shape[:-1])
    columns = prod((*weight.shape[:-2], weight.shape[-1]))
    return [int(rows * size), int(columns * size)]


def _factored_step(weights: Sequence[Weight]) -> int:
    """The update of a parameter is made while the one before is still held."""
    sizes = [(weight.bytes, sum(_factors(weight)) + _SINGLE) for weight in weights]
    pairs = [before + now + factors for (before, _), (now, factors) in pairwise(sizes)]
    return max((*pairs, *(now + factors for now, factors in sizes[:1])), default=0)


def _orthogonal_step(weights: Sequence[Weight]) -> int:
    """An update, and the Newton-Schulz iteration over it in halves."""

    def of(weight: Weight) -> int:
        short = min(weight.shape[-2:]) if len(weight.shape) > 1 else 0
        return weight.bytes + 4 * weight.count + 4 * short * short

    return max(map(of, weights), default=0)


def _muon(weight: Weight) -> Sequence[int]:
    """A momentum for matrices; vectors are AdamW's, as torch.optim.Muon wants it."""
    return [weight.bytes] * (1 if len(weight.shape) > 1 else 2)


def _eight_bits(states: int) -> Callable[[Weight], Sequence[int]]:
    def of(weight: Weight) -> Sequence[int]:
        if weight.count < _SMALLEST_8_BIT:
            return [weight.count * _SINGLE] * states
        scales = ceil(weight.count / _BLOCK_8_BIT) * _SINGLE
        return [weight.count, scales] * states

    return of


_ADAM = Optimizer(_copies(2), _whole(1), 7)
_FUSED_ADAM = Optimizer(_copies(2), _nothing, 7)
_EIGHT_BIT_ADAM = Optimizer(_eight_bits(2), _nothing, 4, _CODE_BOOKS)

OPTIMIZERS: Mapping[str, Optimizer] = MappingProxyType(
    {
        "sgd": Optimizer(_copies(0), _nothing, 3),
        "sgd-momentum": Optimizer(_copies(1), _nothing, 5),
        "adam": _ADAM,
        "adamw": _ADAM,
        "adam-fused": _FUSED_ADAM,
        "adamw-fused": _FUSED_ADAM,
        "adam8bit": _EIGHT_BIT_ADAM,
        "adamw8bit": _EIGHT_BIT_ADAM,
        "adafactor": Optimizer(_factors, _factored_step, 4),
        "lion": Optimizer(_copies(1), _largest(2), 5),
        "muon": Optimizer(_muon, _orthogonal_step, 5),
        "rmsprop": Optimizer(_copies(1), _whole(1), 5),
        "adagrad": Optimizer(_copies(1), _whole(2), 5),
        "adamax": Optimizer(_copies(2), _whole(1), 7),
        "nadam": Optimizer(_copies(2), _whole(1), 7),
        "radam": Optimizer(_copies(2), _whole(1), 7),
        "adadelta": Optimizer(_copies(2), _whole(2), 7),
    }
)
_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "momentum": "sgd-momentum", "adam-8bit": "adam8bit", "8bit-adam": "adam8bit",
        "adamw-8bit": "adamw8bit", "8bit-adamw": "adamw8bit", "adamw-torch": "adamw",
        "adamw-torch-fused": "adamw-fused", "adamw-bnb-8bit": "adamw8bit",
    }
)  # fmt: skip


def optimizer_name(name: str) -> str:
    """The name under which an optimizer is known here.

    Raises:
        ValueError: It is not; the text names the nearest ones.
    """
    return known(name, {**{key: key for key in OPTIMIZERS}, **_ALIASES}, "optimizer")
