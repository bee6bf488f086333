"""What a model's settings ask about costs, as requests."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING

from archcheck.core.config import Model
from archcheck.core.cost_request import CostRequest, StepRequest
from archcheck.core.target import UsageError

if TYPE_CHECKING:
    from archcheck.python.file import SourceFile
    from archcheck.python.names.scope import Call

DEFAULT_OPTIMIZER, DEFAULT_PRECISION = "adamw", "fp32"


def step_request(model: Model) -> StepRequest | None:
    """How a step is to be recorded; None where nobody asks for one."""
    asked = (model.optimizer, model.precision, model.device, model.max_training_memory)
    if model.mode == "eval" or not any(asked):
        return None
    return StepRequest(model.precision or DEFAULT_PRECISION, model.loss)


def cost_request(model: Model, file: SourceFile | None = None) -> CostRequest | None:
    """What is to be told of costs; None where nobody asks.

    Args:
        file: That of the model: an optimizer that is built in it is the one to count with, where
            none is asked for.

    Raises:
        UsageError: The configuration names an optimizer or device that is not known.
    """
    if step_request(model) is None and model.generate is None:
        return None
    found = _built_optimizer(file) if file is not None and model.optimizer is None else None
    return CostRequest(
        optimizer=_known(model, "optimizer") or (found[0] if found else DEFAULT_OPTIMIZER),
        precision=model.precision or DEFAULT_PRECISION,
        device=_known(model, "device"),
        limit=model.max_training_memory,
        tokens=model.generate,
        sources=(found[1],) if found else (),
    )


def _built_optimizer(file: SourceFile) -> tuple[str, str] | None:
    """The one optimizer that a file builds, and a sentence that says where; None for several."""
    found = [
        (name, call.node)
        for call in file.calls
        if call.dotted and call.dotted.startswith("torch.optim.")
        for name in [_of_class(call)]
        if name is not None
    ]
    if len({name for name, _ in found}) != 1:
        return None
    name, node = found[0]
    return name, f"{name} as in {file.path}, line {node.lineno}"


def _of_class(call: Call) -> str | None:
    """The name of torch's optimizer that a call builds, if it is known."""
    from archcheck.analysis.costs.optimizers import OPTIMIZERS

    name = str(call.dotted).rpartition(".")[2].lower()
    if name == "sgd" and _is_set(call, "momentum"):
        return "sgd-momentum"
    if name in ("adam", "adamw") and _is_set(call, "fused"):
        return f"{name}-fused"
    return name if name in OPTIMIZERS else None


def _is_set(call: Call, argument: str) -> bool:
    """Whether an argument is given, and is nothing that is plainly off."""
    return any(
        keyword.arg == argument
        and not (isinstance(keyword.value, ast.Constant) and not keyword.value.value)
        for keyword in call.node.keywords
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
