"""What the user asks about a training step and a generation; plain data, part of a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class StepRequest:
    """How the step is to be recorded.

    Attributes:
        precision: As `--precision` names it.
        loss: As `--loss` names it; None: the model's own loss, or the sum of its outputs.
        kernels: Whose way to go where devices differ.
    """

    precision: str = "fp32"
    loss: str | None = None
    kernels: Literal["accelerator", "cpu"] = "accelerator"


@dataclass(frozen=True, slots=True)
class CostRequest:
    """What is to be told of a recorded step.

    Attributes:
        optimizer: As `--optimizer` names it.
        device: As `--device` names it, or bytes.
        limit: The bytes that training may take, of `--max-training-memory`.
        tokens: How many tokens are to be generated.
        sources: For an optimizer, precision or batch that was read from a training script, a
            sentence that says from which line.
    """

    optimizer: str = "sgd"
    precision: str = "fp32"
    device: str | None = None
    limit: int | None = None
    tokens: int | None = None
    sources: tuple[str, ...] = ()
