"""What a training step holds in memory, kernel by kernel.

The step is one in the middle of training: the optimizer's state is there from the start, and the
gradients of the step before are gone (`zero_grad`). Autograd's own order decides what is freed
when, for the record is one of a real backward pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from archcheck.analysis.costs.optimizers import Optimizer, Weight
from archcheck.evidence.training_step import Block, TrainingStep

# The caching allocator of CUDA gives out multiples of this many bytes (`kMinBlockSize`).
ACCELERATOR_ROUNDING = 512
KINDS = (
    "weights", "optimizer", "gradients", "activations", "activation gradients", "inputs",
    "temporaries",
)  # fmt: skip
_KIND_OF = {
    "input": 5,
    "activation": 3,
    "cast": 3,
    "gradient": 2,
    "activation_gradient": 4,
}


@dataclass(frozen=True, slots=True)
class Moment:
    """What is there while a kernel runs, in bytes by the kinds of `KINDS`.

    Attributes:
        kernel: Its index; None for the optimizer's step.
    """

    kernel: int | None
    bytes: tuple[int, ...]

    @property
    def total(self) -> int:
        return sum(self.bytes)

    @property
    def by_kind(self) -> Mapping[str, int]:
        return dict(zip(KINDS, self.bytes, strict=True))


@dataclass(frozen=True)
class Timeline:
    """The memory of one step.

    Args:
        weights: The bytes of each parameter and buffer.
        trained: The parameters that take a gradient.
        rounding: Every piece of memory takes a multiple of it.
        batch: Of how many samples; None: as it was recorded.
        dropped: Blocks that are given back after one kernel, and are there again from another on,
            by index: what checkpointing does.
    """

    step: TrainingStep
    weights: tuple[int, ...]
    trained: tuple[Weight, ...]
    optimizer: Optimizer
    rounding: int = ACCELERATOR_ROUNDING
    batch: int | None = None
    dropped: Mapping[int, tuple[int, int]] | None = None

    def rounded(self, size: int) -> int:
        return -(-size // self.rounding) * self.rounding

    @cached_property
    def weight_bytes(self) -> int:
        return sum(map(self.rounded, self.weights))

    @cached_property
    def optimizer_bytes(self) -> int:
        return sum(map(self.rounded, self.optimizer.state_bytes(self.trained)))

    @cached_property
    def gradient_bytes(self) -> int:
        """All gradients together, as they are after the backward pass."""
        if not self.step.kernels or self.step.no_backward is not None:
            return 0
        return sum(self._size(block) for block in self.step.blocks if block.kind == "gradient")

    @cached_property
    def activation_bytes(self) -> int:
        """What the forward pass has left for the backward pass, at its end."""
        last = [m for m in self.moments if m.kernel is not None and self._in_forward(m.kernel)]
        return last[-1].bytes[3] if last else 0

    @cached_property
    def moments(self) -> tuple[Moment, ...]:
        """One for each kernel, and one for the optimizer's step."""
        alive = [self.weight_bytes, self.optimizer_bytes, 0, 0, 0, 0, 0]
        sizes = [self._size(block) for block in self.step.blocks]
        kinds = [_KIND_OF[block.kind] for block in self.step.blocks]
        leave, come = self._detours()
        for block in self.step.start:
            alive[kinds[block]] += sizes[block]
        found: list[Moment] = []
        for number, kernel in enumerate(self.step.kernels):
            for block in (*come.get(number, ()), *kernel.made):
                alive[kinds[block]] += sizes[block]
            found.append(Moment(number, tuple(alive)))
            for block in (*kernel.freed, *leave.get(number, ())):
                alive[kinds[block]] -= sizes[block]
        alive[6] = self.optimizer.temporary(self.trained) if self.gradient_bytes else 0
        return (*found, Moment(None, tuple(alive)))

    @cached_property
    def peak(self) -> Moment:
        """The first moment at which the most is there."""
        return max(self.moments, key=lambda moment: moment.total)

    def _size(self, block: Block) -> int:
        size = block.bytes
        if self.batch is not None and block.growth is not None and self.step.batch is not None:
            size += block.growth * (self.batch - self.step.batch)
        return self.rounded(max(size, 0))

    def _in_forward(self, kernel: int) -> bool:
        return self.step.kernels[kernel].phase == "forward"

    def _detours(self) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
        leave: dict[int, list[int]] = {}
        come: dict[int, list[int]] = {}
        for block, (after, back) in (self.dropped or {}).items():
            leave.setdefault(after, []).append(block)
            come.setdefault(back, []).append(block)
        return leave, come


def scales(step: TrainingStep) -> bool:
    """Whether the step of another batch is known from this one."""
    return (
        step.unknown is None
        and step.batch is not None
        and all(block.growth is not None for block in step.blocks)
    )


def moments_shown(moments: Sequence[Moment], most: int) -> list[Moment]:
    """The moments that a chart of so many points needs: of each run the highest."""
    if len(moments) <= most:
        return list(moments)
    size = len(moments) / most
    runs = [moments[int(i * size) : int((i + 1) * size)] for i in range(most)]
    return [max(run, key=lambda moment: moment.total) for run in runs if run]
