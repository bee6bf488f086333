"""Calls of `load_state_dict` with a file that the source names: `torch.load("x.pt")`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from archcheck.core.finding import Location
from archcheck.python import SourceFile
from archcheck.python.names.resolve import reaching
from archcheck.python.names.scope import Call
from archcheck.python.names.sites import Statement

LOADERS = ("torch.load", "safetensors.torch.load_file")
DEEPEST = 8


class SourceLoad(NamedTuple):
    """A call that loads a file whose name is certain.

    Attributes:
        path: As the code has it.
        keys: What is taken of the file: `("state_dict",)`.
        model: The name of the class of the model that loads it.
        strict: Whether names have to match; None where that is not certain.
    """

    location: Location
    path: str
    keys: tuple[str, ...]
    model: str
    strict: bool | None


def loads_in(file: SourceFile) -> Iterator[SourceLoad]:
    """Yield the loads of a file into models of classes that are certain."""
    for call in file.calls_named("load_state_dict"):
        given = call.argument("state_dict", 0)
        if call.receiver is None or given is None or call.has_star:
            continue
        kind = file.instance_of(call.receiver)
        source = _source(file, given, call.statement, ())
        name = getattr(kind, "name", None)
        if source is not None and isinstance(name, str):
            path, keys = source
            yield SourceLoad(file.location(call.node), path, keys, name, _strict(file, call))


def _strict(file: SourceFile, call: Call) -> bool | None:
    given = call.argument("strict", 1)
    if given is None:
        return True
    value = file.value(given)
    return value if isinstance(value, bool) else None


def _source(
    file: SourceFile, value: ast.expr, at: Statement, keys: tuple[str, ...], depth: int = 0
) -> tuple[str, tuple[str, ...]] | None:
    """Return the file that a value comes from, and the keys that lead to it inside."""
    if depth > DEEPEST:
        return None
    if isinstance(value, ast.Subscript):
        key = file.value(value.slice, at)
        inner = (key, *keys) if isinstance(key, str) else None
        return None if inner is None else _source(file, value.value, at, inner, depth + 1)
    if isinstance(value, ast.Name):
        bindings = [] if value.id in file.mutated_names else list(reaching(value.id, at))
        if len(bindings) != 1 or bindings[0].path or bindings[0].value is None:
            return None
        (binding,) = bindings
        assert binding.value is not None
        return _source(file, binding.value, binding.statement, keys, depth + 1)
    if not isinstance(value, ast.Call) or file.dotted(value.func, at) not in LOADERS:
        return None
    path = file.value(value.args[0], at) if value.args else None
    return (path, keys) if isinstance(path, str) else None
