"""What the modules of a model are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn


def module_paths(model: nn.Module) -> dict[int, list[str]]:
    """The paths of each module by `id`, its first name first.

    Modules that are kept in plain lists and dicts, where torch doesn't see them, are named too:
    `blocks[0]`, after all that are registered.
    """
    paths: dict[int, list[str]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        paths.setdefault(id(module), []).append(path)
    return paths


def hidden_modules(
    model: nn.Module, known: Mapping[int, Sequence[str]]
) -> dict[int, tuple[nn.Module, str]]:
    """Modules in plain lists, tuples and dicts of the model's modules, with paths, by `id`."""
    found: dict[int, tuple[nn.Module, str]] = {}
    for path, module in model.named_modules():
        for name, value in list(vars(module).items()):
            if name.startswith("_") or not isinstance(value, list | tuple | dict):
                continue
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for key, item in items:
                if isinstance(item, nn.Module) and id(item) not in known:
                    base = f"{path}.{name}[{key!r}]".lstrip(".")
                    for inner, below in item.named_modules():
                        found.setdefault(id(below), (below, f"{base}.{inner}".rstrip(".")))
    return found
