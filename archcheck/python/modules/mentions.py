"""Which names a file reads, sets and changes, whatever the objects are."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from archcheck.python.names.fold import MUTATORS
from archcheck.python.names.scope import Call, Function

if TYPE_CHECKING:
    from archcheck.python.file import SourceFile
    from archcheck.python.names.scope import Scope


def read_of_others(file: SourceFile) -> Iterator[str]:
    """See `SourceFile.names_read_of_others`."""
    for scope in file.scopes:
        own = _instance_name(scope)
        for reference in scope.references:
            parts = reference.parts
            # What stands behind `self.name` is read from what that holds.
            start = 2 if parts[0] == own else 1
            end = None if reference.kind in ("load", "call") else -1
            yield from parts[start:end]
    for call in file.calls_named("getattr", "hasattr", "attrgetter", "get_submodule"):
        for name in _literals(call.node.args):
            yield from name.split(".")


def set_on_others(file: SourceFile) -> Iterator[str]:
    """See `SourceFile.names_set_on_others`."""
    for scope in file.scopes:
        own = _instance_name(scope)
        for reference in scope.references:
            parts = reference.parts
            if reference.kind == "store" and (parts[0] != own or len(parts) > 2):
                yield parts[-1]
    for call in file.calls_named("setattr", "register_buffer", "register_parameter"):
        if not _is_on_self(call):
            yield from _literals(call.node.args)


def declared_global(file: SourceFile) -> Iterator[str]:
    """See `SourceFile.global_names`."""
    if "global " in file.code:
        for scope in file.scope.walk():
            for node, _ in scope.nodes(ast.Global):
                assert isinstance(node, ast.Global)
                yield from node.names


def mutated(file: SourceFile) -> Iterator[str]:
    """See `SourceFile.mutated_names`."""
    for scope in file.scope.walk():
        for call in scope.calls:
            if len(call.parts) == 2 and call.name in MUTATORS:
                yield call.parts[0]
        for node, _ in scope.nodes(ast.Subscript):
            assert isinstance(node, ast.Subscript)
            if not isinstance(node.ctx, ast.Load) and isinstance(node.value, ast.Name):
                yield node.value.id


def _literals(arguments: Iterable[ast.expr]) -> Iterator[str]:
    for argument in arguments:
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            yield argument.value


def _is_on_self(call: Call) -> bool:
    own = _instance_name(call.scope)
    if own is None:
        return False
    if call.parts == ("setattr",) and call.node.args:
        first = call.node.args[0]
        return isinstance(first, ast.Name) and first.id == own
    return call.parts[:-1] == (own,)


def _instance_name(scope: Scope) -> str | None:
    """What a method, or a function nested in one, calls the instance."""
    around: Scope | None = scope
    while around is not None:
        if isinstance(around, Function) and around.owner is not None:
            return around.self_name
        around = around.parent
    return None
