"""A model with dropout or batch norm is evaluated in train mode, or trained in eval mode.

What it does
------------
Looks for a loop that evaluates such a model (over test or validation data, or without gradients)
in a file that never calls `eval()`; and for a training loop that calls `model.eval()` to validate
and never `model.train()` to go on. Silent where the model may be switched elsewhere: handed to
other code, made by a function that is not known, or put into train mode on purpose.

Why it is bad
-------------
In train mode dropout drops and batch norm uses the batch's own statistics, and changes its running
ones: the test result is random, depends on the batch size, and the test data leaks into the model.
In eval mode, all further epochs train without dropout and with frozen statistics.

Example
-------
    with torch.no_grad():
        for x, y in test_loader:
            correct += (model(x).argmax(1) == y).sum().item()

Use instead
-----------
    model.eval()
    with torch.no_grad():
        for x, y in test_loader:
            correct += (model(x).argmax(1) == y).sum().item()
    model.train()
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from archcheck.finding import Finding, Fix, Related, Severity
from archcheck.rule import Rule
from archcheck.source import Call, Function, Loop, SourceFile, Statement
from archcheck.source.edits import line_after, line_before
from archcheck.source.elision import is_elided
from archcheck.source.training import (
    LoopStatement,
    calls_in,
    depends_on_mode,
    enclosing_loops,
    functions_called,
    given_to,
    is_given,
    is_optimizer_class,
    is_without_gradients,
    managers_of,
    names_of,
)

rule = Rule("AC501", "eval-mode-missing", Severity.WARNING, fix="unsafe")

_EVALUATION = re.compile(r"test|valid|eval|(^|_)val(_|$|l|d)|(^|_)dev(_|$)", re.IGNORECASE)
_TRAINING = re.compile(r"train", re.IGNORECASE)
_LEARN = frozenset({"backward", "step", "fit"})


@rule.on_source
def evaluated_in_train_mode(file: SourceFile) -> Iterator[Finding]:
    if any(_switches(call) for call in file.calls_named("eval", "train")):
        return
    for loop in file.loops:
        model = _evaluated(file, loop)
        if model is None or is_elided(file, loop.node):
            continue
        yield Finding(
            f"`{model}` is evaluated in train mode: it has dropout or batch norm, and nothing "
            f"calls `{model}.eval()`",
            loop.location,
            label=f"runs {model} in train mode",
            help=f"call {model}.eval() before the loop, and {model}.train() to go on training",
            fix=_switched(file, loop, model),
        )


@rule.on_source
def trained_in_eval_mode(file: SourceFile) -> Iterator[Finding]:
    for call in file.calls_named("eval"):
        loops = enclosing_loops(call.statement)
        if len(call.parts) != 2 or not loops or call.node.args:
            continue
        loop = loops[-1]
        name = call.parts[0]
        inside = calls_in(call.scope, loop)
        trained = next((c for c in inside if c.name == "backward"), None)
        if trained is None or not _goes_on(call, loop):
            continue
        if not _is_optimized(call, name) or _returns_to_training(inside, name):
            continue
        receiver = call.receiver
        if receiver is None or not depends_on_mode(file, receiver, call.statement):
            continue
        yield Finding(
            f"`{name}` stays in eval mode after the first turn of this loop: nothing calls "
            f"`{name}.train()`",
            file.location(call.node),
            label="eval mode from here on",
            related=(Related(file.location(trained.node), "trains in eval mode from the second "
                             "turn on"),),
            help=f"call {name}.train() before the training part of each turn",
            fix=_switched_back(file, loop, name),
        )  # fmt: skip


def _switched(file: SourceFile, loop: Loop, model: str) -> Fix | None:
    """The fix that switches before the loop, and back after it where training goes on."""
    assert isinstance(loop.node, ast.stmt)
    edits = [line_before(file, loop.node, f"{model}.eval()")]
    around = [c for outer in enclosing_loops(loop.statement) for c in calls_in(loop.scope, outer)]
    if any(c.name == "backward" for c in around) and not any(c.name == "train" for c in around):
        edits.append(line_after(file, loop.node, f"{model}.train()"))
    found = tuple(edit for edit in edits if edit is not None)
    return Fix("unsafe", found) if len(found) == len(edits) else None


def _switched_back(file: SourceFile, loop: LoopStatement, model: str) -> Fix | None:
    """The fix that begins each turn in train mode."""
    edit = line_before(file, loop.body[0], f"{model}.train()")
    return Fix("unsafe", (edit,)) if edit is not None else None


def _switches(call: Call) -> bool:
    """`model.eval()` or `model.train(False)`, of whatever model."""
    if call.receiver is None or (call.dotted or "").startswith("torch."):
        return False
    return call.name == "eval" or bool(given_to(call))


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
        models = (name, *_given_as(file, call, scope))
        for other in scope.calls:
            if not is_given(other, *models):
                continue
            if isinstance(other.target, Function):
                if any(_names_a_mode(function) for function in functions_called([other])):
                    return True
            elif not _is_harmless(other):
                return True
    return False


def _names_a_mode(function: Function) -> bool:
    return any(call.name in ("eval", "train") for call in function.calls)


def _is_harmless(call: Call) -> bool:
    dotted = call.dotted or ""
    return dotted.startswith("torch.") or dotted in ("print", "len", "type", "str", "repr")


def _given_as(file: SourceFile, call: Call, scope: object) -> Iterator[str]:
    """The names that the callers give for a parameter."""
    function = call.scope.function
    if function is None or scope is function:
        return
    for other in file.calls_of(function):
        if other.scope is scope:
            yield from (item.id for item in given_to(other) if isinstance(item, ast.Name))


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
