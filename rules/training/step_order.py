"""The steps of a training loop stand in an order in which one of them does nothing, or harm.

What it does
------------
Follows the run of a script, through functions, methods and files, and looks for gradients that are
clipped after the optimizer has used them, or while a gradient scaler still holds them scaled; for
`zero_grad()` between `backward()` and `step()`; for a scheduler that steps before its optimizer
ever did; and for a scaler that scales and steps, and never updates.

Why it is bad
-------------
Clipping after the step changes nothing. Clipping scaled gradients cuts them to a threshold that is
some 65,536 times too small. Clearing before the step leaves the optimizer nothing to learn from. A
scheduler that steps first skips the first value of the learning rate. A scaler that is not updated
refuses its second step.

Example
-------
    scaler.scale(loss).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()

Use instead
-----------
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from archcheck.analysis.source.elision import is_elided
from archcheck.core.finding import Finding, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import SourceFile

from ._order import (
    Misplaced,
    cleared_before_the_step,
    clipped_after_the_step,
    clipped_while_scaled,
    loop_of,
    scaled_without_update,
    scheduled_before_the_first_step,
)

rule = Rule("AC511", "step-order", Severity.ERROR)

# What is looked for, the message, the label, what the other place is, and the help.
_KINDS: tuple[tuple[Callable[[SourceFile], Iterable[Misplaced]], str, str, str, str], ...] = (
    (
        clipped_after_the_step,
        "the gradients are clipped after the step has used them: the clipping does nothing",
        "clips too late",
        "the step that uses them",
        "clip between backward() and step()",
    ),
    (
        clipped_while_scaled,
        "the gradients are clipped while they are scaled: the threshold means something else",
        "clips scaled gradients",
        "scaled here",
        "call scaler.unscale_(optimizer) before clipping",
    ),
    (
        cleared_before_the_step,
        "the gradients are cleared between backward() and step(): the step learns nothing",
        "throws the gradients away",
        "steps without gradients",
        "clear before backward(), or after step()",
    ),
    (
        scheduled_before_the_first_step,
        "the scheduler steps before its optimizer: the first learning rate is never used",
        "too early",
        "the first step of the optimizer",
        "call scheduler.step() after optimizer.step()",
    ),
    (
        scaled_without_update,
        "the scaler steps and is never updated: its second step raises",
        "no update() after it",
        "scales here",
        "call scaler.update() after scaler.step(optimizer)",
    ),
)


@rule.on_source
def out_of_order(file: SourceFile) -> Iterator[Finding]:
    for search, message, label, other, help in _KINDS:
        for found in {one.event.location: one for one in search(file)}.values():
            loop = loop_of(found.event)
            if loop is None or not is_elided(loop.statement.scope.file, loop.node):
                yield Finding(
                    message,
                    found.event.location,
                    label=label,
                    related=(Related(found.other.location, other),),
                    help=help,
                )
