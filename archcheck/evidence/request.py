"""What the user asked a model to be: it travels beside the pass, which does not depend on it."""

from __future__ import annotations

from dataclasses import dataclass

from archcheck.core.cost_request import CostRequest
from archcheck.core.target import Shape
from archcheck.evidence.architecture import Architecture


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked the model to be; rules compare the pass with it.

    `output` is a shape, `loss` one of the names of `--loss`; the limits count parameters,
    multiply-accumulates and bytes; `architecture` is what the lock file has for this model with
    these inputs; `costs`, what to tell of a training step.
    """

    output: Shape | None = None
    loss: str | None = None
    max_params: int | None = None
    max_macs: int | None = None
    max_memory: int | None = None
    architecture: Architecture | None = None
    costs: CostRequest | None = None
