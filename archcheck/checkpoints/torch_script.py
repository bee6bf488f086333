"""The state dict of a TorchScript archive: its classes say which attributes are saved."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from archcheck.checkpoints.pickle_opcodes import Call
from archcheck.checkpoints.torch_tensors import tensor_of
from archcheck.evidence.checkpoint import StateDict, Tensor

DEEPEST = 100
MOST_MODULES = 200_000
_CLASS = re.compile(r"^class (\w+)\(.*\):$", re.MULTILINE)
_SAVED = re.compile(r"^  __(?:parameters|buffers)__ = \[(.*)\]$", re.MULTILINE)

# Reads a member of the archive as text, "" where there is none.
Code = Callable[[str], str]


class ScriptedModules:
    """Walks the modules of an archive, whose classes stand as text under `code/`."""

    def __init__(self, code: Code) -> None:
        self._code = code
        self._saved: dict[str, frozenset[str]] = {}
        self._modules = 0

    def state_dict(self, root: Any) -> StateDict:
        """Return the parameters and buffers below the root object."""
        return StateDict((), tuple(self._tensors(root, "", 0)))

    def _tensors(self, module: Any, prefix: str, depth: int) -> Iterator[Tensor]:
        self._modules += 1
        state = module.state if isinstance(module, Call) else None
        if depth > DEEPEST or self._modules > MOST_MODULES or not isinstance(state, dict):
            return
        saved = self._saved_by(module.name)
        children: dict[str, Any] = {}
        for name, value in state.items():
            tensor = tensor_of(value)
            if tensor is not None and name in saved:
                yield replace(tensor, name=f"{prefix}{name}")
            elif isinstance(value, Call) and value.name.startswith("__torch__."):
                children[str(name)] = value
        for name, child in children.items():
            yield from self._tensors(child, f"{prefix}{name}.", depth + 1)

    def _saved_by(self, kind: str) -> frozenset[str]:
        """Return the names of the parameters and buffers of a class."""
        if kind not in self._saved:
            module, _, _ = kind.rpartition(".")
            self._saved.update(_saved_in(self._code(f"code/{module.replace('.', '/')}.py"), module))
            self._saved.setdefault(kind, frozenset())
        return self._saved[kind]


def _saved_in(text: str, module: str) -> Mapping[str, frozenset[str]]:
    """Return, for each class of a file, the names that it lists."""
    starts = list(_CLASS.finditer(text))
    found: dict[str, frozenset[str]] = {}
    for number, start in enumerate(starts):
        end = starts[number + 1].start() if number + 1 < len(starts) else len(text)
        names = [
            name.strip(' "')
            for listed in _SAVED.finditer(text, start.end(), end)
            for name in listed[1].split(",")
        ]
        found[f"{module}.{start[1]}"] = frozenset(filter(None, names))
    return found
