"""Asks torch itself: would this call fail on real tensors too?

A failure on tensors without memory may be the meta kernel's own. The call is made once more on
real tensors of the same kinds; what eager rejects, it rejects before it computes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._mode_utils import no_dispatch

# Real tensors cost memory, and a call that works after all costs time.
MOST_ELEMENTS = 1 << 26


class TooLarge(Exception):
    """The tensors would take too much memory to ask."""


def eager_error(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Exception | None:
    """The exception that the call raises on real tensors, None if it works.

    Raises:
        TooLarge: The answer would be too dear.
    """
    total = sum(_elements(value) for value in (*args, *kwargs.values()))
    if total > MOST_ELEMENTS:
        raise TooLarge
    made: dict[int, torch.Tensor] = {}
    with no_dispatch():
        try:
            real_args = [_real(value, made) for value in args]
            real_kwargs = {name: _real(value, made) for name, value in kwargs.items()}
        except (RuntimeError, NotImplementedError, TypeError) as error:
            raise TooLarge from error
        try:
            func(*real_args, **real_kwargs)
        except Exception as error:
            return error
    return None


def _elements(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel()
    if isinstance(value, list | tuple):
        return sum(map(_elements, value))
    return 0


def _real(value: Any, made: dict[int, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        if id(value) not in made:
            made[id(value)] = _real_tensor(value)
        return made[id(value)]
    if isinstance(value, torch.device):
        return torch.device("cpu") if value.type == "meta" else value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_real(item, made) for item in value))
    if isinstance(value, list | tuple):
        return type(value)([_real(item, made) for item in value])
    return value


def _real_tensor(tensor: torch.Tensor) -> torch.Tensor:
    if not tensor.is_meta and type(tensor) in (torch.Tensor, torch.nn.Parameter):
        real = tensor.detach().clone()
    else:
        with torch.no_grad():
            real = torch.empty_strided(
                tuple(tensor.shape), tensor.stride(), dtype=tensor.dtype, device="cpu"
            )
            if not (tensor.dtype.is_floating_point or tensor.dtype.is_complex):
                real.zero_()
    if tensor.requires_grad and not tensor.is_leaf:
        # A result of earlier work: writing into it is allowed, as it is not into a leaf.
        root = torch.zeros((), dtype=tensor.dtype, requires_grad=True)
        with torch.enable_grad():
            (real.narrow(0, 0, 0) if real.dim() else real).add_(root)
        return real
    return real.requires_grad_(tensor.requires_grad)
