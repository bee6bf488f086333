"""The record of one training step: forward, loss and backward, kernel by kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["input", "activation", "gradient", "activation_gradient", "cast"]
Phase: TypeAlias = Literal["forward", "loss", "backward"]

DTYPE_BYTES: Mapping[str, float] = MappingProxyType(
    {
        "bool": 1, "uint8": 1, "int8": 1, "uint16": 2, "int16": 2, "uint32": 4, "int32": 4,
        "uint64": 8, "int64": 8, "float16": 2, "bfloat16": 2, "float32": 4, "float64": 8,
        "complex32": 4, "complex64": 8, "complex128": 16, "float8_e4m3fn": 1, "float8_e5m2": 1,
        "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1, "quint8": 1, "qint8": 1,
        "qint32": 4, "uint1": 1, "uint2": 1, "uint3": 1, "uint4": 1, "uint5": 1, "uint6": 1,
        "uint7": 1, "int1": 1, "int2": 1, "int3": 1, "int4": 1, "int5": 1, "int6": 1, "int7": 1,
        "float4_e2m1fn_x2": 1,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of memory that the step takes, besides the model's own tensors.

    Attributes:
        bytes: As requested, before the allocator rounds it.
        kind: `cast` is the copy of a weight in autocast's dtype; `gradient` that of a parameter.
        name: The parameter, of a gradient or a cast.
        storage: As `Value.storage` numbers it.
        growth: By how many bytes it grows with each further sample; None where that is not known.
    """

    bytes: int
    kind: Kind
    dtype: str = ""
    name: str | None = None
    storage: int = 0
    growth: int | None = None


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel of the step, in the order of their running.

    Attributes:
        name: Such as `aten::convolution_backward`.
        op: The index of the op that it runs for; of a backward kernel, the op whose gradient it
            computes. None for the loss, and for what torch does between nodes.
        made: The indices of the blocks that are there from this kernel on.
        freed: Those that are gone after it.
        flops: As torch's FlopCounterMode counts them.
        moved: Bytes that it reads and writes at least once.
        work: The FLOPs that it really has to do: torch's counter takes the backward pass of a
            grouped convolution for one without groups.
    """

    name: str
    phase: Phase
    op: int | None
    made: tuple[int, ...]
    freed: tuple[int, ...]
    flops: int
    moved: int
    work: int = 0


@dataclass(frozen=True, slots=True)
class SavedTensor:
    """A tensor that autograd keeps for the backward pass of an op.

    Attributes:
        role: What it is to the op: one of its inputs (a parameter, a buffer, another), one of its
            outputs, or something besides (a mask, statistics, indices, an inner result).
        storage: As `Value.storage` numbers it: what is saved twice takes its memory once.
    """

    op: int
    role: Literal["parameter", "buffer", "input", "output", "other"]
    shape: tuple[int, ...]
    dtype: str
    storage: int

    @property
    def bytes(self) -> int:
        """The bytes of its elements."""
        count = 1
        for size in self.shape:
            count *= size
        return int(count * DTYPE_BYTES.get(self.dtype, 0))


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """What one training step did.

    Attributes:
        precision: As `--precision` names it.
        loss: What was differentiated, in words.
        batch: The samples of the input; None where its first dimension is not the batch.
        start: The indices of the blocks that are there before the first kernel: the inputs.
        unknown: Why there is no record, in a sentence; everything else is then empty.
        no_backward: Why no gradient flows, in a sentence; the record ends with the forward pass.
        approximate: Why its sizes hold for this pass only, in sentences.
    """

    precision: str = "fp32"
    loss: str = ""
    batch: int | None = None
    start: tuple[int, ...] = ()
    blocks: tuple[Block, ...] = ()
    kernels: tuple[Kernel, ...] = ()
    saved: tuple[SavedTensor, ...] = ()
    unknown: str | None = None
    no_backward: str | None = None
    approximate: tuple[str, ...] = ()

    @property
    def forward_flops(self) -> int:
        return sum(kernel.flops for kernel in self.kernels if kernel.phase == "forward")

    @property
    def backward_flops(self) -> int:
        """Those of the loss's own kernels included, recomputed ones (checkpoints) too."""
        return sum(kernel.flops for kernel in self.kernels if kernel.phase != "forward")
