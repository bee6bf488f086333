"""Which models a project has: its outermost module classes, and the functions that make them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from archcheck.discovery import source_files
from archcheck.source import Function, ModuleClass, Project, SourceFile
from archcheck.source.classes import ClassDefinition
from archcheck.source.document import DocumentError

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


def candidates(files: Sequence[SourceFile]) -> Iterator[str]:
    """The targets that may be models of their own, in the order of the files.

    A class that is a part of another one is none, nor is one that cannot be made without
    arguments; a function that makes such a class without arguments is.
    """
    parts = {part for file in files for part in _parts(file)}
    for file in files:
        roots = [
            module
            for module in file.modules
            if _is_outermost(module.definition)
            and module.definition not in parts
            and module.find_method("forward") is not None
        ]
        for module in roots:
            if _needs_nothing(module):
                yield f"{file.path}:{module.name}"
        for function in file.functions:
            if _makes_a_model(function, file):
                yield f"{file.path}:{function.name}"


def _is_outermost(scope: ClassDefinition | Function) -> bool:
    return scope.qualified_name == scope.name and not scope.name.startswith("_")


def _needs_nothing(module: ModuleClass) -> bool:
    constructor = module.constructor
    return constructor is not None and constructor.bind(_NO_ARGUMENTS).fits


def _makes_a_model(function: Function, file: SourceFile) -> bool:
    """Whether a function takes nothing and returns a module that needs arguments."""
    if not _is_outermost(function) or not function.signature.bind(_NO_ARGUMENTS).fits:
        return False
    made = [file.instance_of(one.value) for one in function.returns if one.value is not None]
    return bool(made) and all(
        one == "torch.nn.Sequential"
        or (
            isinstance(one, ClassDefinition)
            and one.module is not None
            and not _needs_nothing(one.module)
        )
        for one in made
    )


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
