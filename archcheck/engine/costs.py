"""What a model's settings ask about costs, as requests."""

from __future__ import annotations

from collections.abc import Callable

from archcheck.core.config import Model
from archcheck.core.cost_request import CostRequest, StepRequest
from archcheck.core.target import UsageError

DEFAULT_OPTIMIZER, DEFAULT_PRECISION = "adamw", "fp32"


def step_request(model: Model) -> StepRequest | None:
    """How a step is to be recorded; None where nobody asks for one."""
    asked = (model.optimizer, model.precision, model.device, model.max_training_memory)
    if model.mode == "eval" or not any(asked):
        return None
    return StepRequest(model.precision or DEFAULT_PRECISION, model.loss)


def cost_request(model: Model) -> CostRequest | None:
    """What is to be told of costs; None where nobody asks.

    Raises:
        UsageError: The configuration names an optimizer or device that is not known.
    """
    if step_request(model) is None and model.generate is None:
        return None
    return CostRequest(
        optimizer=_known(model, "optimizer") or DEFAULT_OPTIMIZER,
        precision=model.precision or DEFAULT_PRECISION,
        device=_known(model, "device"),
        limit=model.max_training_memory,
        tokens=model.generate,
    )


def _known(model: Model, key: str) -> str | None:
    value = getattr(model, key)
    if value is None:
        return None
    # Imported only now: few checks ask for costs.
    from archcheck.analysis.costs.devices import device_name
    from archcheck.analysis.costs.optimizers import optimizer_name

    readers: dict[str, Callable[[str], str]] = {
        "optimizer": optimizer_name,
        "device": device_name,
    }
    try:
        return readers[key](value)
    except ValueError as error:
        raise UsageError(f"{model.target}: {key}: {error}") from None
