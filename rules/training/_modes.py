"""Train mode and eval mode: which code evaluates or trains a model in the wrong one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from archcheck.analysis.source.gradient_mode import is_without_gradients, managers_of
from archcheck.python import Call, ClassDefinition, Function, Loop, SourceFile, Statement

from ._optimizers import is_optimizer_class
from ._scripts import (
    LoopStatement,
    calls_in,
    enclosing_loops,
    functions_called,
    given_to,
    is_given,
    names_of,
)
from ._things import TORCHVISION, differs

_EVALUATION = re.compile(r"test|valid|eval|(^|_)val(_|$|l|d)|(^|_)dev(_|$)", re.IGNORECASE)
_TRAINING = re.compile(r"train", re.IGNORECASE)
_LEARN = frozenset({"backward", "step", "fit"})


class EvalSwitch(NamedTuple):
    """A `model.eval()` in a training loop that never goes back to train mode.

    Attributes:
        model: The name of the model.
        loop: The outermost loop around the call, which trains the model.
        backward: What trains it there.
    """

    call: Call
    model: str
    loop: LoopStatement
    backward: Call


def evaluations_in_train_mode(file: SourceFile) -> Iterator[tuple[Loop, str]]:
    """The loops that only evaluate a model with dropout or batch norm, with its name.

    None where anything in the file switches a model: which one, and when, is hard to tell.
    """
    if any(_switches(call) for call in file.calls_named("eval", "train")):
        return
    for loop in file.loops:
        model = _evaluated(file, loop)
        if model is not None:
            yield loop, model


def switches_without_return(file: SourceFile) -> Iterator[EvalSwitch]:
    """The switches to eval mode in the loop that trains the same model, with none back."""
    for call in file.calls_named("eval"):
        loops = enclosing_loops(call.statement)
        if len(call.parts) != 2 or not loops or call.node.args:
            continue
        model, loop = call.parts[0], loops[-1]
        inside = calls_in(call.scope, loop)
        backward = next((other for other in inside if other.name == "backward"), None)
        if backward is None or not _goes_on(call, loop):
            continue
        if not _is_optimized(call, model) or _returns_to_training(inside, model):
            continue
        receiver = call.receiver
        if receiver is not None and depends_on_mode(file, receiver, call.statement):
            yield EvalSwitch(call, model, loop, backward)


def depends_on_mode(file: SourceFile, node: ast.expr, at: Statement) -> bool:
    """Whether an expression certainly is a model with dropout or batch norm in it."""
    made = file.instance_of(node, at)
    if isinstance(made, ClassDefinition):
        if made.module is None or "eval" in made.methods or "train" in made.methods:
            return False
        return any(differs(layer) for layer in made.module.all_layers())
    if isinstance(made, str) and made.startswith("torchvision.models."):
        return made.rpartition(".")[2].startswith(TORCHVISION)
    layers = file.layers(node, at)
    return bool(layers) and all(any(map(differs, layer.walk())) for layer in layers)


def _switches(call: Call) -> bool:
    """`model.eval()` or `model.train(False)`, of whatever model."""
    if call.receiver is None or (call.dotted or "").startswith("torch."):
        return False
    return call.name == "eval" or (call.name == "train" and bool(given_to(call)))


def _evaluated(file: SourceFile, loop: Loop) -> str | None:
    """The model that a loop only evaluates, by its name."""
    if not isinstance(loop.node, ast.For | ast.AsyncFor):
        return None
    over = list(names_of(loop.node.iter))
    if any(_TRAINING.search(name) for name in over):
        return None
    if any(call.name in _LEARN for call in loop.calls):
        return None
    quiet = is_without_gradients(loop.statement) or any(
        is_without_gradients(call.statement) for call in loop.calls
    )
    if not quiet and not any(_EVALUATION.search(name) for name in over):
        return None
    if _is_managed(file, loop.statement):
        return None
    for call in loop.calls:
        if len(call.parts) != 1 or not call.node.args or call.loop is not loop.node:
            continue
        name = call.node.func
        if (
            isinstance(name, ast.Name)
            and depends_on_mode(file, name, call.statement)
            and not _trains_on_purpose(loop, name.id)
            and not _is_handed_on(file, call, name.id)
        ):
            return name.id
    return None


def _trains_on_purpose(loop: Loop, name: str) -> bool:
    """Whether the model is put into train mode for this very loop: no training stands between."""
    switch = [
        call
        for call in loop.scope.calls
        if call.parts == (name, "train") and call.statement.index < loop.statement.index
    ]
    return bool(switch) and not any(
        call.name == "backward"
        and switch[-1].statement.index < call.statement.index < loop.statement.index
        for call in loop.scope.calls
    )


def _is_managed(file: SourceFile, statement: Statement) -> bool:
    """Whether a context manager that is not torch's stands around it."""
    known = (file.dotted(manager, statement) for manager in managers_of(statement))
    return not all(name and name.startswith(("torch.", "contextlib.", "open")) for name in known)


def _is_handed_on(file: SourceFile, call: Call, name: str) -> bool:
    """Whether the model is given to code that may switch it, where it is made or where it runs."""
    scopes = {call.scope}
    for binding in call.scope.reaching(name, call.statement):
        scopes.add(binding.statement.scope)
        if binding.kind == "parameter":
            function = binding.statement.scope
            if isinstance(function, Function):
                scopes |= {other.scope for other in file.calls_of(function)}
    for scope in scopes:
        models = (name, *_given_as(file, call, name, scope))
        for other in scope.calls:
            if not is_given(other, *models):
                continue
            if isinstance(other.target, Function):
                if any(map(_sets_a_mode, functions_called([other]))):
                    return True
            elif not _is_harmless(other):
                return True
    return False


def _sets_a_mode(function: Function) -> bool:
    """Whether a function switches a model for others; `model.train()` before a training is for
    that alone."""
    names = {call.name for call in function.calls}
    return any(map(_switches, function.calls)) or ("train" in names and "backward" not in names)


def _is_harmless(call: Call) -> bool:
    dotted = call.dotted or ""
    return dotted.startswith("torch.") or dotted in ("print", "len", "type", "str", "repr")


def _given_as(file: SourceFile, call: Call, name: str, scope: object) -> Iterator[str]:
    """The names that the callers give for a parameter; all that they give where that is open."""
    function = call.scope.function
    if function is None or scope is function:
        return
    for other in file.calls_of(function):
        if other.scope is scope:
            given = function.signature.bind(other.node).values.get(name)
            items = [given] if given is not None else given_to(other)
            yield from (item.id for item in items if isinstance(item, ast.Name))


def _goes_on(call: Call, loop: LoopStatement) -> bool:
    """Whether the loop comes round again after the call."""
    for suite in call.statement.suite.outward():
        if suite.owner is loop:
            break
        if isinstance(suite.owner, ast.If) and any(
            isinstance(node, ast.Return | ast.Break | ast.Raise) for node in suite.owner.body
        ):
            return False
    return not any(isinstance(node, ast.Return | ast.Break) for node in loop.body)


def _is_optimized(call: Call, name: str) -> bool:
    """Whether an optimizer in sight has the model's parameters."""
    return any(
        is_optimizer_class(other.dotted) and name in names_of(other.node.args[0])
        for scope in (call.scope, call.scope.file.scope)
        for other in scope.calls
        if other.node.args
    )


def _returns_to_training(inside: tuple[Call, ...], name: str) -> bool:
    """Whether something in the loop puts the model back, or may."""
    if any(
        call.name == "train"
        or (
            is_given(call, name)
            and not isinstance(call.target, Function)
            and not _is_harmless(call)
        )
        for call in inside
    ):
        return True
    return any(
        call.name == "train" for function in functions_called(inside) for call in function.calls
    )
