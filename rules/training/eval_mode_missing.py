"""A model with dropout or batch norm is evaluated in train mode, or trained in eval mode.

What it does
------------
Looks for a loop that evaluates such a model (over test or validation data, or without gradients)
in a file that never calls `eval()`; and for a training loop that calls `model.eval()` to validate
and never `model.train()` to go on. The run is followed through functions, methods and files, so
that a helper's `eval()` is seen in the loop that calls it. Silent where the model may be switched
elsewhere: handed to other code, made by a function that is not known, or put into train mode on
purpose.

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
from collections.abc import Iterator

from archcheck.analysis.edits.syntax_edits import insertion, line_after, line_before
from archcheck.analysis.source.elision import is_elided
from archcheck.analysis.source.gradient_mode import is_without_gradients
from archcheck.core.finding import Edit, Finding, Fix, Location, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import Loop, SourceFile

from ._mode_runs import evaluations_in_a_run, switches_in_a_run
from ._modes import (
    EvalSwitch,
    evaluations_in_train_mode,
    switches_without_return,
)
from ._scripts import calls_in, enclosing_loops, text_of

rule = Rule("AC501", "eval-mode-missing", Severity.WARNING, fix="unsafe")


@rule.on_source
def evaluated_in_train_mode(file: SourceFile) -> Iterator[Finding]:
    found = {loop.node: (loop, model) for loop, model in evaluations_in_train_mode(file)}
    fixes = {node: _switched(file, loop, model) for node, (loop, model) in found.items()}
    for region, thing in evaluations_in_a_run(file):
        loop = Loop(region.statement)
        found.setdefault(loop.node, (loop, thing.name or "model"))
    for node, (loop, model) in found.items():
        if is_elided(loop.scope.file, node):
            continue
        yield Finding(
            f"`{model}` is evaluated in train mode: it has dropout or batch norm, and nothing "
            f"calls `{model}.eval()`",
            loop.location,
            label=f"runs {model} in train mode",
            help=f"call {model}.eval() before the loop, and {model}.train() to go on training",
            fix=fixes.get(node),
        )


@rule.on_source
def trained_in_eval_mode(file: SourceFile) -> Iterator[Finding]:
    seen: set[ast.AST] = set()
    for switch in switches_without_return(file):
        seen.add(switch.call.node)
        yield _stays(
            file.location(switch.call.node), file.location(switch.backward.node), switch.model,
            _switched_back(file, switch),
        )  # fmt: skip
    for event, backward in switches_in_a_run(file):
        if event.node not in seen:
            seen.add(event.node)
            called = event.node.func if isinstance(event.node, ast.Call) else None
            name = text_of(getattr(called, "value", None)) or event.subject.name or "model"
            yield _stays(event.location, backward.location, name, None)


def _stays(place: Location, training: Location, name: str, fix: Fix | None) -> Finding:
    return Finding(
        f"`{name}` stays in eval mode after the first turn of this loop: nothing calls "
        f"`{name}.train()`",
        place,
        label="eval mode from here on",
        related=(Related(training, "trains in eval mode from the second turn on"),),
        help=f"call {name}.train() before the training part of each turn",
        fix=fix,
    )


def _switched(file: SourceFile, loop: Loop, model: str) -> Fix | None:
    """The fix that switches before the loop, and back after it where training goes on; it switches
    gradients off as well."""
    assert isinstance(loop.node, ast.stmt)
    edits: list[Edit | None] = [*_without_gradients(file, loop, model)]
    edits = edits or [line_before(file, loop.node, f"{model}.eval()")]
    around = [c for outer in enclosing_loops(loop.statement) for c in calls_in(loop.scope, outer)]
    if any(c.name == "backward" for c in around) and not any(c.name == "train" for c in around):
        edits.append(line_after(file, loop.node, f"{model}.train()"))
    found = tuple(edit for edit in edits if edit is not None)
    return Fix("unsafe", found) if len(found) == len(edits) else None


def _without_gradients(file: SourceFile, loop: Loop, model: str) -> list[Edit]:
    """The edits that put a loop below `with torch.no_grad():` as well; none where it is there, or
    where its lines cannot be moved."""
    at = file.location(loop.node)
    inside = (loop.statement, *(call.statement for call in loop.calls))
    if any(map(is_without_gradients, inside)) or "torch" not in file.scope.bindings:
        return []
    indent = file.lines[at.line - 1][: at.column - 1]
    spans_lines = any(
        isinstance(part, ast.Constant | ast.JoinedStr) and part.end_lineno != part.lineno
        for part in ast.walk(loop.node)
    )
    if indent.strip() or spans_lines:
        return []
    first = f"{model}.eval()\n{indent}with torch.no_grad():\n{indent}    "
    lines = (line for line in range(at.line + 1, at.end_line + 1) if file.lines[line - 1].strip())
    return [
        insertion(at.path, at.line, at.column, first),
        *(insertion(at.path, line, at.column, "    ") for line in lines),
    ]


def _switched_back(file: SourceFile, switch: EvalSwitch) -> Fix | None:
    """The fix that begins each turn in train mode."""
    edit = line_before(file, switch.loop.body[0], f"{switch.model}.train()")
    return Fix("unsafe", (edit,)) if edit is not None else None
