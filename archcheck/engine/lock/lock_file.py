"""`archcheck.lock`: JSON with a line for each layer, so that a pull request shows what changed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from archcheck.analysis.architectures.read_trace import inputs_of
from archcheck.core.target import UsageError, parse_target
from archcheck.evidence.architecture import Architecture, ArchitectureLayer
from archcheck.evidence.trace import Trace

_VERSION = 1
_ANEW = "write it anew with `archcheck lock`"
_CONFLICT = re.compile(r"^(?:<{7}|={7}|>{7})(?: |$)", re.MULTILINE)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock file that was read.

    Attributes:
        path: Where it is.
        architectures: By target, mode and inputs. Their targets are relative to its folder.
    """

    path: Path
    architectures: tuple[Architecture, ...] = ()

    def named(self, target: str) -> str:
        """A target as the lock names it: its file relative to the lock's folder."""
        parsed = parse_target(target)
        if parsed is None or not parsed.is_file:
            return target
        place = os.path.relpath(parsed.place, self.path.parent).replace(os.sep, "/")
        return place + target[len(parsed.place) :]

    def entries(self, target: str) -> tuple[Architecture, ...]:
        """What is locked of this target."""
        name = self.named(target)
        return tuple(one for one in self.architectures if one.target == name)

    def find(self, trace: Trace) -> Architecture | None:
        """What is locked of the traced model, with the same inputs and in the same mode."""
        sizes = tuple(map(_unnamed, inputs_of(trace)))
        for one in self.entries(trace.target):
            if one.mode == trace.mode and tuple(map(_unnamed, one.inputs)) == sizes:
                return one
        return None

    def passed_over(self, traces: Iterable[Trace]) -> Iterator[str]:
        """Sentences about the traces that are locked with other inputs or in the other mode."""
        for trace in traces:
            known = self.entries(trace.target)
            if trace.complete and known and self.find(trace) is None:
                with_what = "; ".join(f"{' '.join(one.inputs)}, {one.mode} mode" for one in known)
                yield (
                    f"{trace.target}: not compared with {self.path}, which has it with {with_what}"
                )


def _unnamed(text: str) -> str:
    """An input without its name: who renames a parameter of forward still means the same."""
    return re.sub(r"^\w+=", "", text)


def lock_text(architectures: Iterable[Architecture]) -> str:
    """The text of a lock file; the same architectures give the same bytes."""
    ordered = sorted(architectures, key=lambda one: (one.target, one.mode, one.inputs))
    models = ",\n".join("\n".join(_model_lines(one)) for one in ordered)
    return f'{{\n"version": {_VERSION},\n"models": [\n{models}\n]\n}}\n'


def _model_lines(architecture: Architecture) -> Iterator[str]:
    yield " {"
    for field in fields(Architecture):
        if field.name == "keys" and architecture.keys:
            yield '  "keys": ['
            yield ",\n".join(f"   {_json(key)}" for key in architecture.keys)
            yield "  ],"
        elif field.name != "layers" and getattr(architecture, field.name) != field.default:
            yield f'  "{field.name}": {_json(getattr(architecture, field.name))},'
    yield '  "layers": ['
    yield ",\n".join(f"   {_json(_without_usual(layer))}" for layer in architecture.layers)
    yield "  ]"
    yield " }"


def _without_usual(layer: ArchitectureLayer) -> Mapping[str, object]:
    usual = {field.name: field.default for field in fields(ArchitectureLayer)}
    return {name: value for name, value in asdict(layer).items() if value != usual[name]}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def read_lock(path: Path) -> Lock:
    """Read a lock file.

    Raises:
        UsageError: It cannot be read, is broken, or of another version.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({(error.strerror or '').lower()})") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no UTF-8 text: {_ANEW}") from None
    conflict = _CONFLICT.search(text)
    if conflict is not None:
        line = text.count("\n", 0, conflict.start()) + 1
        raise UsageError(
            f"{path}:{line} has the marks of a merge conflict: settle it in the models' code, "
            f"and {_ANEW}"
        )
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{path}:{error.lineno} is no JSON, or cut short ({error.msg}): {_ANEW}"
        ) from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is no lock file: {_ANEW}") from None
    try:
        return Lock(path, _models(document))
    except _Broken as error:
        raise UsageError(f"{path}: {error}: {_ANEW}") from None
    except _Newer as error:
        raise UsageError(f"{path}: {error}") from None


class _Broken(Exception):
    """The content is not what a lock file has."""


class _Newer(Exception):
    """The content is of a version that is not known yet."""


def _models(document: Any) -> tuple[Architecture, ...]:
    version = document.get("version") if isinstance(document, dict) else None
    if isinstance(version, int) and version > _VERSION:
        raise _Newer(
            f"version {version} is of a newer archcheck, and this one knows version {_VERSION}: "
            "install the archcheck that wrote it"
        )
    if version != _VERSION or isinstance(version, bool):
        raise _Broken(f"it has no version {_VERSION}")
    unknown = set(document) - {"version", "models"}
    if unknown or not isinstance(document.get("models"), list):
        raise _Broken("it must have a version and models, and nothing else")
    return tuple(
        _record(Architecture, entry, f"model {number}")
        for number, entry in enumerate(document["models"], start=1)
    )


def _record(kind: type[T], entry: Any, where: str) -> T:
    """An instance of a dataclass from a table that has its fields and no others."""
    if not isinstance(entry, dict):
        raise _Broken(f"{where} is no table")
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    for name in entry:
        if name not in known:
            raise _Broken(f"{where} has an unknown key {name!r}")
    values: dict[str, Any] = {}
    for name, field in known.items():
        if name in entry:
            values[name] = _READERS[field.type](entry[name], f"{where}: {name}")
        elif field.default is MISSING:
            raise _Broken(f"{where} lacks {name!r}")
    return kind(**values)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise _Broken(f"{where} is no text")
    return value


def _count(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _Broken(f"{where} is no count")
    return value


def _texts(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _Broken(f"{where} is no list")
    return tuple(_text(one, where) for one in value)


def _layers(value: Any, where: str) -> tuple[ArchitectureLayer, ...]:
    if not isinstance(value, list) or not value:
        raise _Broken(f"{where} is no list of layers")
    layers = tuple(
        _record(ArchitectureLayer, one, f"{where}, number {number}")
        for number, one in enumerate(value, start=1)
    )
    if len({layer.path for layer in layers}) < len(layers):
        raise _Broken(f"{where} has a path twice")
    return layers


# By the annotation of a field.
_READERS: Mapping[Any, Callable[[Any, str], Any]] = {
    "str": _text,
    "int": _count,
    "tuple[str, ...]": _texts,
    "tuple[ArchitectureLayer, ...]": _layers,
}
