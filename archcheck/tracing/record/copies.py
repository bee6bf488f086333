"""Copies of a model that somebody holds, so that a pass cannot change it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from archcheck.tracing.record.build import may_stay, meta_copy


def copied(model: nn.Module, on_meta: bool) -> nn.Module:
    """A copy of the model; on meta, its weights are made anew and never copied."""
    memo: dict[int, Any] = {}
    if on_meta:
        for module in model.modules():
            for tensor in (*module._parameters.values(), *module._buffers.values()):
                if tensor is None or id(tensor) in memo or may_stay(tensor) or is_lazy(tensor):
                    continue
                memo[id(tensor)] = meta_copy(tensor)
    for module in model.modules():
        for value in vars(module).values():
            # Results of earlier work that a module holds cannot be copied with their history.
            if isinstance(value, torch.Tensor) and not value.is_leaf and id(value) not in memo:
                memo[id(value)] = value.detach().clone()
    try:
        return copy.deepcopy(model, dict(memo))
    except Exception:
        # Something that it holds (a generator, a lock, a file) cannot be copied: that is shared,
        # the modules themselves are not.
        return _piecewise(model, memo)


def _piecewise(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    known = memo.get(id(module))
    if known is not None:
        found: nn.Module = known
        return found
    made = type(module).__new__(type(module))
    memo[id(module)] = made
    attributes = vars(made)
    for name, value in vars(module).items():
        if name == "_modules":
            attributes[name] = {
                key: None if child is None else _piecewise(child, memo)
                for key, child in value.items()
            }
        else:
            attributes[name] = _copy_or_share(value, memo)
    return made


def _copy_or_share(value: Any, memo: dict[int, Any]) -> Any:
    if isinstance(value, nn.Module):
        return _piecewise(value, memo)
    attempt = dict(memo)
    try:
        made = copy.deepcopy(value, attempt)
    except Exception:
        return copy.copy(value) if isinstance(value, list | dict | set) else value
    memo.update(attempt)
    return made
