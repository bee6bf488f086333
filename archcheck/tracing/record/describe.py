"""The modules and parameters of a model as plain data."""

from __future__ import annotations

import ast
import inspect
import linecache
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import CodeType
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from archcheck.core.finding import Location
from archcheck.evidence.records import Module, Op, Parameter, Value
from archcheck.tracing.record.build import Origins
from archcheck.tracing.record.recorder import PendingCall, plain
from archcheck.tracing.record.spans import Spans

_PLAIN = (int, float, bool, str, type(None))


def parameters_of(model: nn.Module) -> tuple[Parameter, ...]:
    """Every parameter and buffer once, by its first path, with its other paths as aliases."""
    names: dict[int, list[str]] = {}
    tensors: dict[int, tuple[torch.Tensor, bool]] = {}
    for kind, found in (
        (False, model.named_parameters(remove_duplicate=False)),
        (True, model.named_buffers(remove_duplicate=False)),
    ):
        for name, tensor in found:
            names.setdefault(id(tensor), []).append(name)
            tensors.setdefault(id(tensor), (tensor, kind))
    return tuple(
        Parameter(
            name=names[key][0],
            shape=_shape(tensor),
            dtype=str(tensor.dtype).removeprefix("torch."),
            trainable=tensor.requires_grad and not is_buffer,
            buffer=is_buffer,
            aliases=tuple(names[key][1:]),
        )
        for key, (tensor, is_buffer) in tensors.items()
    )


def _shape(tensor: torch.Tensor) -> tuple[int, ...]:
    if is_lazy(tensor):
        return (0,)  # a lazy module that the pass never reached
    return tuple(tensor.shape)


def modules_of(
    model: nn.Module,
    paths: Mapping[int, Sequence[str]],
    origins: Origins,
    spans: Spans,
    calls: Sequence[PendingCall],
    ops: Sequence[Op],
    values: Sequence[Value],
) -> tuple[Module, ...]:
    """Every module of the model, whether the pass called it or not."""
    by_path: dict[str, list[int]] = {}
    for call in calls:
        by_path.setdefault(call.path, []).append(call.index)
    macs, flops, memory = _per_call(calls, ops, values)
    definitions = Definitions(spans)
    classes: dict[type, tuple[Location | None, Location | None]] = {}
    described: list[Module] = []
    for path, module in model.named_modules():
        kind = type(module)
        if kind not in classes:
            classes[kind] = (definitions.class_of(kind), definitions.forward_of(kind))
        defined, forward = classes[kind]
        own = tuple(by_path.get(path, ()))
        prefix = f"{path}." if path else ""
        described.append(
            Module(
                path=path,
                type=getattr(module, "original_name", None) or kind.__name__,
                qualified_type=f"{kind.__module__}.{kind.__qualname__}",
                bases=tuple(
                    f"{base.__module__}.{base.__qualname__}"
                    for base in kind.__mro__[1:]
                    if base not in (nn.Module, object)
                ),
                aliases=tuple(paths[id(module)][1:]),
                attributes=_attributes(module),
                children=tuple(
                    paths[id(child)][0] for child in module.children() if id(child) in paths
                ),
                parameters=tuple(
                    prefix + name
                    for tensors in (module._parameters, module._buffers)
                    for name, tensor in tensors.items()
                    if tensor is not None
                ),
                constructed=origins.of(module),
                defined=defined,
                forward=forward,
                calls=own,
                macs=sum(macs[index] for index in own),
                flops=sum(flops[index] for index in own),
                activation_bytes=sum(memory[index] for index in own),
            )
        )
    return tuple(described)


def _per_call(
    calls: Sequence[PendingCall], ops: Sequence[Op], values: Sequence[Value]
) -> tuple[list[int], list[int], list[int]]:
    """MACs, FLOPs and bytes of new memory of each call, calls below included."""
    totals = tuple([0] * len(calls) for _ in range(3))
    seen: set[int] = {value.storage for value in values if value.producer is None}
    for op in ops:
        size = 0
        for index in op.outputs:
            value = values[index]
            if value.storage not in seen:
                seen.add(value.storage)
                size += _bytes(value)
        if op.call is not None:
            for column, amount in zip(totals, (op.macs, op.flops, size), strict=True):
                column[op.call] += amount
    # A call begins after its parent, so its total is complete before the parent takes it.
    for call in reversed(calls):
        if call.parent is not None:
            for column in totals:
                column[call.parent] += column[call.index]
    return totals[0], totals[1], totals[2]


def _bytes(value: Value) -> int:
    count = 1
    for size in value.shape:
        count *= size
    return count * int(getattr(torch, value.dtype).itemsize)


def _attributes(module: nn.Module) -> dict[str, Any]:
    if isinstance(module, torch.jit.ScriptModule):
        return {"training": module.training}
    found: dict[str, Any] = {}
    for name, value in vars(module).items():
        if not name.startswith("_") and _is_plain(value):
            if isinstance(value, tuple | list):
                kind = list if isinstance(value, list) else tuple
                found[name] = kind(map(plain, value))
            else:
                found[name] = plain(value)
    return found


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return len(value) <= 64 and all(isinstance(item, _PLAIN) for item in value)
    return isinstance(value, _PLAIN)


class Definitions:
    """Finds classes and functions of the user's files; each file is parsed once."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans
        self._files: dict[str, Mapping[str, Sequence[Location]]] = {}

    def forward_of(self, kind: type) -> Location | None:
        """The `def forward` that objects of this type run, where it is the user's."""
        forward = inspect.unwrap(getattr(kind, "forward", None))  # type: ignore[arg-type]
        code = getattr(forward, "__code__", None)
        if code is None or not self._spans.is_user(code):
            return None
        return self._of(code.co_filename, code.co_qualname, code.co_firstlineno) or Location(
            code.co_filename, code.co_firstlineno
        )

    def class_of(self, kind: type) -> Location | None:
        """The class statement, where it is the user's."""
        for code in self._codes(vars(kind)):
            if code.co_qualname.startswith(f"{kind.__qualname__}."):
                return self._of(code.co_filename, kind.__qualname__, code.co_firstlineno)
        # A class without functions of its own: its file is that of its neighbours.
        neighbours = {
            name: value
            for name, value in vars(sys.modules.get(kind.__module__, object)).items()
            if getattr(value, "__module__", None) == kind.__module__
        }
        classes = [value for value in neighbours.values() if isinstance(value, type)]
        for namespace in (neighbours, *map(vars, classes)):
            for code in self._codes(namespace):
                place = self._of(code.co_filename, kind.__qualname__, sys.maxsize)
                if place is not None:
                    return place
        return None

    def _codes(self, namespace: Mapping[str, Any]) -> Iterator[CodeType]:
        """The user's code among the functions in a namespace."""
        for value in tuple(namespace.values()):
            code = getattr(inspect.unwrap(value) if callable(value) else value, "__code__", None)
            if isinstance(code, CodeType) and self._spans.is_user(code):
                yield code

    def _of(self, path: str, name: str, line: int) -> Location | None:
        """Of several definitions of one name, the last that begins at or before a line."""
        if path not in self._files:
            self._files[path] = _definitions(path)
        found = self._files[path].get(name, ())
        # A decorator stands above the statement, and Python counts a function from there.
        before = [place for place in found if place.line <= line] or [
            place for place in found if place.line <= line + 8
        ]
        return before[-1] if before else None


def _definitions(path: str) -> Mapping[str, Sequence[Location]]:
    """Every class and function of a file by qualified name, in order."""
    found: dict[str, list[Location]] = {}
    lines = linecache.getlines(path)
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError):
        return found

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                visit(child, prefix)
                continue
            name = prefix + child.name
            end_line = child.end_lineno or child.lineno
            found.setdefault(name, []).append(
                Location(
                    path,
                    child.lineno,
                    _characters(lines, child.lineno, child.col_offset),
                    end_line,
                    _characters(lines, end_line, child.end_col_offset or 0),
                )
            )
            is_class = isinstance(child, ast.ClassDef)
            visit(child, f"{name}." if is_class else f"{name}.<locals>.")

    visit(tree, "")
    return found


def _characters(lines: Sequence[str], line: int, column: int) -> int:
    text = lines[line - 1] if line <= len(lines) else ""
    return len(text.encode()[:column].decode(errors="ignore")) + 1
