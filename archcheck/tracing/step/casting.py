"""Casts a model and its inputs to the dtype that a precision keeps weights in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from archcheck.core.cost_request import StepRequest
from archcheck.core.precisions import precision
from archcheck.tracing.input_tensors import map_nest


def weights_dtype(request: StepRequest) -> torch.dtype | None:
    """The dtype that the model is cast to; None leaves it as it is built."""
    name = precision(request.precision).weights
    return None if name is None else getattr(torch, name)


def autocast_dtype(request: StepRequest) -> torch.dtype | None:
    """The dtype that autocast computes in, None where it is off."""
    name = precision(request.precision).autocast
    return None if name is None else getattr(torch, name)


def cast_model(model: nn.Module, request: StepRequest) -> None:
    """Cast floating parameters and buffers, as `model.to(dtype)` does."""
    dtype = weights_dtype(request)
    if dtype is not None:
        model.to(dtype)


def cast_inputs(
    given: tuple[Sequence[Any], Mapping[str, Any]], request: StepRequest
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of forward with their floating tensors in that dtype."""
    dtype = weights_dtype(request)
    if dtype is None:
        return list(given[0]), dict(given[1])

    def cast(leaf: Any) -> Any:
        floating = isinstance(leaf, torch.Tensor) and leaf.is_floating_point()
        return leaf.detach().to(dtype).requires_grad_(leaf.requires_grad) if floating else leaf

    return map_nest(list(given[0]), cast), map_nest(dict(given[1]), cast)
