"""Where the code of a file may start, and the runs from there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from archcheck.python.names.scope import Function, Scope
from archcheck.python.names.unknown import UNKNOWN
from archcheck.python.program.events import Run
from archcheck.python.program.interpreter import Interpreter

if TYPE_CHECKING:
    from archcheck.python import SourceFile

# What every script has that a rule on runs could speak of.
_TRAINS: Final = re.compile(
    r"backward\(|\.step\(|\.optim\b|\bimport optim\b|\.eval\(\)|\bDataLoader\(|zero_grad\("
)
_WORDS: Final = frozenset({
    "backward", "manual_backward", "step", "zero_grad", "eval", "DataLoader", "no_grad",
    "inference_mode", "parameters",
})  # fmt: skip


def runs_of(file: SourceFile) -> Iterator[Run]:
    """The runs of a file: of its statements, and of every function that none of them calls."""
    if not _TRAINS.search(file.code) or not file.is_relevant or not _may_learn(file):
        return
    interpreter = Interpreter()
    inner = _training(file)
    if _is_relevant(file.scope, inner):
        yield interpreter.start(None, file.scope)
    waiting = [function for function in _outermost(file) if _is_relevant(function, inner)]
    called = {call.name for call in file.calls}
    # What the file itself calls has a caller, who may come later.
    for function in sorted(waiting, key=lambda function: function.name in called):
        if function not in interpreter.visited and interpreter.left_of_file > 0:
            yield interpreter.start(function, file.scope)


def _training(file: SourceFile) -> set[str]:
    """The names of the functions and classes of a file that train something, straight or through
    others of it."""
    calls: dict[str, set[str]] = {}
    for function in file.functions:
        called = {call.name for call in function.calls}
        calls.setdefault(function.name, set()).update(called)
        if function.owner is not None and function.name == "__init__":
            calls.setdefault(function.owner.name, set()).update(called)
    found: set[str] = set()
    waiting = [name for name, called in calls.items() if not called.isdisjoint(_WORDS)]
    callers: dict[str, set[str]] = {}
    for name, called in calls.items():
        for one in called:
            callers.setdefault(one, set()).add(name)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += callers.get(name, ())
    return found


def _may_learn(file: SourceFile) -> bool:
    """Whether a file, or one that it imports, computes gradients anywhere."""
    return "backward" in file.code or any("backward" in one.code for one in file.imported_files())


def _outermost(file: SourceFile) -> Iterator[Function]:
    for function in file.functions:
        parent = function.parent
        if parent is file.scope or (
            function.owner is not None and function.owner.parent is file.scope
        ):
            yield function


def _is_relevant(scope: Scope, inner: set[str]) -> bool:
    """Whether code trains or evaluates something, or calls what may.

    Args:
        inner: The names of the functions of its file that do.
    """
    scopes = scope.walk() if scope.kind == "function" else (scope,)
    calls = [call for one in scopes for call in one.calls]
    names = {call.name for call in calls}
    if not names.isdisjoint(_WORDS) or not names.isdisjoint(inner):
        return True
    return any(
        isinstance(call.target, Function) and call.target.file is not scope.file
        for call in calls
        if call.target is not UNKNOWN and not isinstance(call.target, str)
    )
