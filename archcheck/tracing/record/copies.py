"""Copies of a model that somebody holds, so that a pass cannot change it."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Container, Iterator
from contextlib import contextmanager
from types import CellType, FunctionType
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
    with _functions_follow(model, {*memo, *map(id, model.modules()), *map(id, model.parameters())}):
        try:
            return copy.deepcopy(model, dict(memo))
        except Exception:
            # Something that it holds (a generator, a lock, a file) cannot be copied: that is
            # shared, the modules themselves are not.
            return _piecewise(model, memo)


@contextmanager
def _functions_follow(model: nn.Module, own: Container[int]) -> Iterator[None]:
    """In this block a copied closure or weak reference points into the copy.

    `copy` takes both for constants, so that a hook would go on writing into the original.

    Args:
        own: The `id` of everything that belongs to the model.
    """

    def is_to_be_copied(content: Any) -> bool:
        return id(content) in own or isinstance(content, list | dict | set)

    def function(original: FunctionType, memo: dict[int, Any]) -> FunctionType:
        cells = original.__closure__ or ()
        if not any(is_to_be_copied(content) for cell in cells for content in _content(cell)):
            return original
        made = FunctionType(
            original.__code__,
            original.__globals__,
            original.__name__,
            original.__defaults__,
            tuple(CellType() for _ in cells),
        )
        made.__kwdefaults__, made.__qualname__ = original.__kwdefaults__, original.__qualname__
        made.__dict__.update(original.__dict__)
        memo[id(original)] = made
        for cell, place in zip(cells, made.__closure__ or (), strict=True):
            for content in _content(cell):
                kept = not is_to_be_copied(content)
                place.cell_contents = content if kept else copy.deepcopy(content, memo)
        return made

    def reference(original: Any, memo: dict[int, Any]) -> Any:
        referent = original()
        return weakref.ref(copy.deepcopy(referent, memo)) if id(referent) in own else original

    table: dict[Any, Any] = copy._deepcopy_dispatch  # type: ignore[attr-defined]
    copied = {FunctionType: function, weakref.ref: reference}
    before = {kind: table[kind] for kind in copied if kind in table}
    # From Python 3.14 on, these kinds stand in a set of what is its own copy.
    atomic: frozenset[type] = getattr(copy, "_atomic_types", frozenset())
    table.update(copied)
    if atomic:
        vars(copy)["_atomic_types"] = atomic - copied.keys()
    try:
        yield
    finally:
        for kind in copied:
            del table[kind]
        table.update(before)
        if atomic:
            vars(copy)["_atomic_types"] = atomic


def _content(cell: CellType) -> Iterator[Any]:
    """What a cell holds; nothing where it is still empty."""
    try:
        yield cell.cell_contents
    except ValueError:
        return


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
