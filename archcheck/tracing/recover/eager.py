"""Asks torch itself: would this call fail on real tensors too?

A failure on tensors without memory may be the meta kernel's own, and what a meta kernel takes may
fail for real. The call is made once more on real tensors of the same kinds; what eager rejects, it
rejects before it computes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._mode_utils import no_dispatch

# Real tensors cost memory, and a call that works after all costs time.
MOST_ELEMENTS = 1 << 26
# A call on so few elements takes no longer than asking about it in a cleverer way.
FEW_ELEMENTS = 1 << 14
# What all calls of a pass that only dtypes make doubtful may take together.
MOST_FOR_DTYPES = 1 << 22
# What tensors are filled with: values that are legal for one call are not for another.
_FILLS = (0, 1)
_ABOUT_DTYPES = re.compile(
    r"not implemented for|dtype|scalar type|data ?type|same type|without overflow|bool|integ"
    r"|floating|result type|[Cc]omplex|primitive descriptor|itensor"
    r"|\b(?:Float|Double|Half|BFloat16|Long|Int|Byte|Char|Short)(?:Tensor)?\b"
)


class TooLarge(Exception):
    """The tensors would take too much memory to ask."""


def eager_error(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Exception | None:
    """The exception that the call raises on real tensors, None if it works.

    Raises:
        TooLarge: The answer would be too dear.
    """
    if elements(args, kwargs) > MOST_ELEMENTS:
        raise TooLarge
    first: Exception | None = None
    for fill in _FILLS:
        error = _error(func, args, kwargs, fill)
        if error is None or type(error).__name__ == "_LinAlgError":
            return None  # a matrix of other numbers may have an inverse
        first = first or error
    return first


def dtype_error(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Exception | None:
    """The exception of a call whose dtypes are what is wrong, None if they are right.

    Raises:
        TooLarge: The answer would be too dear.
    """
    if elements(args, kwargs) > FEW_ELEMENTS:
        smaller = _smaller(func, args, kwargs)
        if smaller is not None:
            args, kwargs = smaller
    error = eager_error(func, args, kwargs)
    return error if error is not None and _ABOUT_DTYPES.search(str(error)) else None


def _unwatched() -> saved_tensors_hooks:
    """What a question saves for its backward is nothing that the model saves.

    Of several such hooks, torch calls those that were set last.
    """
    return saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor)


def elements(args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """How many elements the tensors of a call have."""
    return sum(_elements(value) for value in (*args, *kwargs.values()))


def _error(
    func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], fill: int
) -> Exception | None:
    made: dict[int, torch.Tensor] = {}
    with no_dispatch(), _unwatched():
        try:
            real_args = [_real(value, made, fill) for value in args]
            real_kwargs = {name: _real(value, made, fill) for name, value in kwargs.items()}
        except (RuntimeError, NotImplementedError, TypeError) as error:
            raise TooLarge from error
        try:
            func(*real_args, **real_kwargs)
        except Exception as error:
            return error
    return None


def _smaller(
    func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Sequence[Any], Mapping[str, Any]] | None:
    """The same call with tensors of sizes up to two, where that is a call at all."""
    made: dict[int, torch.Tensor] = {}
    with no_dispatch(), _unwatched():
        try:
            small = [_cut(value, made) for value in args]
            small_kwargs = {name: _cut(value, made) for name, value in kwargs.items()}
            func(*small, **small_kwargs)
        except Exception:
            return None
    return small, small_kwargs


def _cut(value: Any, made: dict[int, torch.Tensor]) -> Any:
    """Tensors without memory, and with few elements."""
    if isinstance(value, torch.Tensor):
        if id(value) not in made:
            sizes = [min(size, 2) for size in value.shape]
            made[id(value)] = torch.empty(sizes, dtype=value.dtype, device="meta")
        return made[id(value)]
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)([_cut(item, made) for item in value])
    return value


def _elements(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel()
    if isinstance(value, list | tuple):
        return sum(map(_elements, value))
    return 0


def _real(value: Any, made: dict[int, torch.Tensor], fill: int) -> Any:
    if isinstance(value, torch.Tensor):
        if id(value) not in made:
            made[id(value)] = _real_tensor(value, fill)
        return made[id(value)]
    if isinstance(value, torch.device):
        return torch.device("cpu") if value.type == "meta" else value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_real(item, made, fill) for item in value))
    if isinstance(value, list | tuple):
        return type(value)([_real(item, made, fill) for item in value])
    return value


def _real_tensor(tensor: torch.Tensor, fill: int) -> torch.Tensor:
    if not tensor.is_meta and type(tensor) in (torch.Tensor, torch.nn.Parameter):
        real = tensor.detach().clone()
    else:
        with torch.no_grad():
            real = torch.empty_strided(
                tuple(tensor.shape), tensor.stride(), dtype=tensor.dtype, device="cpu"
            ).fill_(fill)
    if tensor.requires_grad and not tensor.is_leaf:
        # A result of earlier work: writing into it is allowed, as it is not into a leaf.
        root = torch.zeros((), dtype=tensor.dtype, requires_grad=True)
        with torch.enable_grad():
            (real.narrow(0, 0, 0) if real.dim() else real).add_(root)
        return real
    return real.requires_grad_(tensor.requires_grad)
