"""What a model saves and loads: the entries of its `state_dict()` as plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from archcheck.evidence.records import StateEntry


def state_dict_of(model: nn.Module) -> tuple[StateEntry, ...]:
    """Return the entries of the state dict; none where the model's own code for it fails."""
    try:
        state = model.state_dict(keep_vars=True)
    except Exception:
        return ()
    if not isinstance(state, dict):
        return ()
    modules = dict(model.named_modules(remove_duplicate=False))
    named = {name: value for name, value in state.items() if isinstance(name, str)}
    ties = _ties(named)
    entries = (replace(_entry(name, v, modules), tie=ties[name]) for name, v in named.items())
    return (*entries, *_unsaved(modules, set(named)))


def _ties(state: Mapping[str, Any]) -> Mapping[str, int]:
    """Return a number for each name, equal and not 0 where several names are one tensor."""
    counts = Counter(map(id, state.values()))
    numbers: dict[int, int] = {}
    return {
        name: numbers.setdefault(id(value), len(numbers) + 1) if counts[id(value)] > 1 else 0
        for name, value in state.items()
    }


def _entry(name: str, value: Any, modules: dict[str, nn.Module]) -> StateEntry:
    path, _, last = name.rpartition(".")
    owner = modules.get(path)
    kind = type(owner).__name__ if owner is not None else ""
    if not isinstance(value, torch.Tensor):
        return StateEntry(name, None, "", "extra", kind)
    return StateEntry(
        name,
        None if is_lazy(value) else tuple(value.shape),
        str(value.dtype).removeprefix("torch."),
        "parameter" if isinstance(value, nn.Parameter) else "buffer",
        kind,
        optional=last == "num_batches_tracked",
    )


def _unsaved(modules: dict[str, nn.Module], saved: set[str]) -> Iterator[StateEntry]:
    for path, module in modules.items():
        for name, value in module._buffers.items():
            full = f"{path}.{name}" if path else name
            if value is not None and full not in saved:
                dtype = str(value.dtype).removeprefix("torch.")
                yield StateEntry(full, tuple(value.shape), dtype, "unsaved", type(module).__name__)


def renaming_modules(model: nn.Module) -> tuple[str, ...]:
    """Return the paths of modules that change keys on loading, by code that is not torch's."""
    return tuple(path for path, module in model.named_modules() if _renames(module))


def _renames(module: nn.Module) -> bool:
    methods = ("_load_from_state_dict", "load_state_dict")
    defined = (getattr(type(module), name).__module__ for name in methods)
    hooks = getattr(module, "_load_state_dict_pre_hooks", {}).values()
    places = (getattr(getattr(hook, "hook", hook), "__module__", "") or "" for hook in hooks)
    # While a target is loaded, this package stands in for torch's own `load_state_dict`.
    known = ("torch.", "archcheck.")
    return any(not place.startswith(known) for place in (*defined, *places))
