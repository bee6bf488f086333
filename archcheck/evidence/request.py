"""What the user asked a model to be: it travels beside the pass, which does not depend on it."""

from __future__ import annotations

from dataclasses import dataclass

from archcheck.core.cost_request import CostRequest
from archcheck.core.target import Shape
from archcheck.evidence.architecture import Architecture
from archcheck.evidence.checkpoint import Checkpoint, LoadInSource


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked the model to be; rules compare the pass with it.

    `output` is a shape, `loss` one of the names of `--loss`; the limits count parameters,
    multiply-accumulates and bytes; `architecture` is what the lock file has for this model with
    these inputs. `checkpoint` is the file of `--weights` as it was read, `checkpoint_error` why it
    could not be; keys that match a pattern of `allow_missing` may be missing from it.
    `loads` are the files that the code itself loads into the model.
    `costs` is what to tell of a training step.
    """

    output: Shape | None = None
    loss: str | None = None
    max_params: int | None = None
    max_macs: int | None = None
    max_memory: int | None = None
    architecture: Architecture | None = None
    checkpoint: Checkpoint | None = None
    checkpoint_error: str | None = None
    allow_missing: tuple[str, ...] = ()
    loads: tuple[LoadInSource, ...] = ()
    costs: CostRequest | None = None
