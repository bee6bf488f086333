"""Which models a project has: its outermost module classes, and the functions that make them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from archcheck.core.discovery import source_files
from archcheck.python import Function, ModuleClass, Project, SourceFile
from archcheck.python.modules.classes import ClassDefinition
from archcheck.python.text.document import DocumentError

# Models in these are examples of something else.
_ASIDE = re.compile(r"(?:^|/)(?:tests?|docs?|benchmarks?)/|(?:^|/)(?:test_|conftest|setup)|_test\.")
_NO_ARGUMENTS = ast.Call(func=ast.Name("it"), args=[], keywords=[])


def model_files(root: Path) -> list[SourceFile]:
    """The Python files of a project that define modules, tests and documents left out."""
    project = Project(root)
    found = []
    for path in source_files([root]):
        shown = path.relative_to(root).as_posix()
        if path.suffix == ".py" and not _ASIDE.search(shown):
            try:
                file = project.file(path, shown=shown)
            except (DocumentError, OSError):
                continue
            if file.modules:
                found.append(file)
    return found


@dataclass(frozen=True, slots=True)
class Candidate:
    """A target that may be a model of its own; `layers` is how many its source shows."""

    target: str
    layers: int


def candidates(files: Sequence[SourceFile]) -> Iterator[Candidate]:
    """What may be models of their own, in the order of the files.

    A class that is a part of another one is none, nor is one that has no layers or cannot be made
    without arguments; a function that makes such a class without arguments is.
    """
    parts = {part for file in files for part in _parts(file)}
    for file in files:
        for module in file.modules:
            if (
                _is_outermost(module.definition)
                and module.definition not in parts
                and module.find_method("forward") is not None
                and _needs_nothing(module)
                and _layers(module)
            ):
                yield Candidate(f"{file.path}:{module.name}", _layers(module))
        for function in file.functions:
            layers = _layers_made(function, file)
            if layers:
                yield Candidate(f"{file.path}:{function.name}", layers)


def _is_outermost(scope: ClassDefinition | Function) -> bool:
    return scope.qualified_name == scope.name and not scope.name.startswith("_")


def _needs_nothing(module: ModuleClass) -> bool:
    constructor = module.constructor
    return constructor is not None and constructor.bind(_NO_ARGUMENTS).fits


def _layers(module: ModuleClass) -> int:
    """How many attributes of it hold layers, and how many are in those."""
    own = [one.module for one in module.lineage]
    return sum(len(one.submodules) for one in own if one is not None) + len(module.all_layers())


def _layers_made(function: Function, file: SourceFile) -> int:
    """How many layers a function returns that takes nothing and makes a module that does; 0 for
    any other function."""
    if not _is_outermost(function) or not function.signature.bind(_NO_ARGUMENTS).fits:
        return 0
    counts = [
        _layers_of(file.instance_of(one.value)) for one in function.returns if one.value is not None
    ]
    return min(counts, default=0)


def _layers_of(made: object) -> int:
    if made == "torch.nn.Sequential":
        return 1
    module = made.module if isinstance(made, ClassDefinition) else None
    return 0 if module is None or _needs_nothing(module) else _layers(module)


def _parts(file: SourceFile) -> Iterator[ClassDefinition]:
    """The classes that others are made of: what they name in their bodies, and what is handed to
    them."""
    for module in file.modules:
        for statement in module.node.body:
            yield from _named(statement, file, besides=module.definition)
    for call in file.calls:
        for argument in (*call.node.args, *(keyword.value for keyword in call.node.keywords)):
            if isinstance(argument, ast.Name | ast.Attribute):
                yield from _named(argument, file)


def _named(
    node: ast.AST, file: SourceFile, besides: ClassDefinition | None = None
) -> Iterator[ClassDefinition]:
    for one in ast.walk(node):
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load):
            meant = file.resolve(one)
            if isinstance(meant, ClassDefinition) and meant is not besides:
                yield meant
