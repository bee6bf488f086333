"""A training loop never clears the gradients.

What it does
------------
Follows the script as it runs, through functions, methods and files, and looks for loops in which
`loss.backward()` and the step of one of torch's optimizers run again and again while nothing in
the loop clears gradients: no `zero_grad()` of that optimizer or its model, no `parameter.grad =
None`, and no code that is handed the optimizer and might. Clearing every few steps is gradient
accumulation, and fine.

Why it is bad
-------------
`backward` adds to the gradients that are there. Each step then follows the sum of the gradients of
all steps before it: the loss may fall at first, and then diverges.

Example
-------
    for x, y in loader:
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()

Use instead
-----------
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from archcheck.analysis.edits.syntax_edits import line_after
from archcheck.analysis.source.elision import is_elided
from archcheck.core.finding import Finding, Fix, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import SourceFile
from archcheck.python.program import Event

from ._clearing import Pile, piles
from ._scripts import text_of

rule = Rule("AC502", "zero-grad-missing", Severity.ERROR, fix="safe")


@rule.on_source
def gradients_pile_up(file: SourceFile) -> Iterator[Finding]:
    for pile in {pile.step.location: pile for pile in piles(file)}.values():
        step = pile.step
        name = _optimizer(step)
        if _is_elided(pile):
            continue
        yield Finding(
            f"the loop never clears the gradients: each `{name}.step()` follows the sum of all "
            "gradients so far",
            step.location,
            label="steps along the sum",
            related=(Related(pile.backward.location, "adds to the gradients"),),
            help=f"call {name}.zero_grad() before backward()",
            fix=_cleared_after(step, name),
        )


def _optimizer(step: Event) -> str:
    """What the optimizer of `optimizer.step()` or `scaler.step(optimizer)` is called there."""
    node = step.node
    assert isinstance(node, ast.Call)
    by_scaler = bool(step.arguments) and step.arguments[0].role == "scaler"
    named = node.args[0] if by_scaler and node.args else getattr(node.func, "value", None)
    return text_of(named) or "optimizer"


def _is_elided(pile: Pile) -> bool:
    """Whether the loop, or a function on the way, is shown with `...` in the place of code."""
    inner = pile.step.around[pile.step.around.index(pile.loop) :]
    return any(
        is_elided(region.statement.scope.file, region.node)
        for region in inner
        if region.kind == "loop"
    )


def _cleared_after(step: Event, name: str) -> Fix | None:
    """The fix that clears the gradients right after the step, wherever they were summed up."""
    statement = step.statement.node
    if not isinstance(statement, ast.Expr) or statement.value is not step.node:
        return None
    if name == "optimizer" and "optimizer" not in step.file.text(step.node):
        return None
    edit = line_after(step.file, statement, f"{name}.zero_grad()")
    return Fix("safe", (edit,)) if edit is not None else None
