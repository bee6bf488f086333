"""What rules see, as text or JSON: a file's classes and layers, or the records of a traced pass."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from archcheck.core.finding import Location
from archcheck.evidence.records import Op, ValueIndex
from archcheck.evidence.trace import Trace
from archcheck.python import ModuleClass, SourceFile

VERSION = 1


def render_trace(trace: Trace, *, as_json: bool) -> str:
    """Return a trace as text (a line for each module, operator and failure) or as JSON."""
    if as_json:
        return _json({"version": VERSION, "trace": _plain(trace)})
    return "\n".join(_trace_lines(trace)) + "\n"


def render_source(file: SourceFile, *, as_json: bool) -> str:
    """Return what a source file shows: its modules, their submodules, methods and losses."""
    document = _source(file)
    if as_json:
        return _json({"version": VERSION, "source": document})
    return "\n".join(_source_lines(document)) + "\n"


def _json(document: Any) -> str:
    return json.dumps(document, indent=2, default=str) + "\n"


def _plain(value: Any) -> Any:
    """Evidence as lists, dicts, numbers and strings; a tensor in a nest as {"value": index}."""
    if isinstance(value, ValueIndex):
        return {"value": value.index}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, Enum):
        return value.value
    # Subclasses of int carry where a size was read; JSON has the number.
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _place(location: Location | None) -> str:
    return "" if location is None else f"{location.path}:{location.line}:{location.column}"


def _trace_lines(trace: Trace) -> Iterator[str]:
    yield f"trace of {trace.target} ({trace.mode}, {trace.rung or 'never started'})"
    yield f"complete: {trace.complete}   macs: {trace.macs}   flops: {trace.flops}"
    yield "\nmodules"
    for module in trace.modules:
        yield f"  {module.path or '(model)'}  {module.type}  {_place(module.constructed)}".rstrip()
    yield "\noperators"
    for op in trace.ops:
        yield f"  {_op_line(trace, op)}"
    if trace.failures:
        yield "\nfailures"
        for failure in trace.failures:
            yield f"  {failure.stage}: {failure.error}: {failure.message.splitlines()[:1]}"


def _op_line(trace: Trace, op: Op) -> str:
    given = ", ".join(_value_text(trace, index) for index in op.inputs)
    made = ", ".join(_value_text(trace, index) for index in op.outputs)
    return f"#{op.index} {op.name}({given}) -> {made}  {_place(op.location)}".rstrip()


def _value_text(trace: Trace, index: int) -> str:
    value = trace.values[index]
    name = f"{value.name}: " if value.name else ""
    return f"{name}%{index} {list(map(int, value.shape))}"


def _source(file: SourceFile) -> dict[str, Any]:
    return {
        "path": file.path,
        "problems": [problem.message for problem in file.problems],
        "modules": [_module(module) for module in file.modules],
        "losses": [{"loss": str(loss.loss), "line": loss.location.line} for loss in file.losses],
        "loops": [loop.location.line for loop in file.loops],
    }


def _module(module: ModuleClass) -> dict[str, Any]:
    return {
        "name": module.name,
        "line": module.location.line,
        "bases": [getattr(base, "name", None) or str(base) for base in module.bases],
        "methods": sorted(module.methods),
        "submodules": [
            {
                "attribute": one.attribute,
                "type": one.layer.type,
                "line": getattr(one.write.node, "lineno", 1),
            }
            for one in module.submodules
        ],
        "attributes": sorted(module.attributes),
    }


def _source_lines(document: Mapping[str, Any]) -> Iterator[str]:
    yield f"source of {document['path']}"
    for problem in document["problems"]:
        yield f"  does not parse: {problem}"
    for module in document["modules"]:
        yield f"\nclass {module['name']} (line {module['line']})"
        yield f"  methods     {', '.join(module['methods']) or 'none'}"
        for one in module["submodules"]:
            yield f"  self.{one['attribute']}  {one['type'] or 'unknown'}  line {one['line']}"
    for loss in document["losses"]:
        yield f"\nloss {loss['loss']} (line {loss['line']})"
