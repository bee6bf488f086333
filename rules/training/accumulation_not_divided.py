"""Gradients are accumulated over several batches, each at full size, or not accumulated at all.

What it does
------------
Follows the run of a script and looks for loops that step every N batches while `backward()` runs
through the plain mean loss of each; for loops whose test of an accumulation counter guards no step,
so that every batch steps; and for those that clear the gradients on every batch between two steps.
Accelerate, Fabric and the like divide by themselves, and are left alone, as are sums.

Why it is bad
-------------
The sum over N batches is N times the gradient of one large batch: the learning rate is in effect N
times what it says, and clipping cuts N times as much. Where every batch steps, or clears, nothing
is accumulated, and the batch is smaller than it is believed to be.

Example
-------
    for step, (x, y) in enumerate(loader):
        criterion(model(x), y).backward()
        if (step + 1) % accumulation_steps == 0:
            optimizer.step()
            optimizer.zero_grad()

Use instead
-----------
    for step, (x, y) in enumerate(loader):
        (criterion(model(x), y) / accumulation_steps).backward()
        if (step + 1) % accumulation_steps == 0:
            optimizer.step()
            optimizer.zero_grad()
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from archcheck.core.finding import Finding, Location, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import SourceFile

from ._accumulation import Accumulation, cleared_each_turn, stepped_each_turn, undivided

rule = Rule("AC510", "accumulation-not-divided", Severity.WARNING)


@rule.on_source
def summed_at_full_size(file: SourceFile) -> Iterator[Finding]:
    for found in _once(undivided(file)):
        yield Finding(
            "the gradients of several batches are summed up, and the loss is never divided by "
            "their number",
            _place(found),
            label="adds a full gradient for every batch",
            related=(Related(found.step.location, "steps every few batches"),),
            help="divide the loss by the number of batches between two steps",
        )


@rule.on_source
def steps_on_every_batch(file: SourceFile) -> Iterator[Finding]:
    for found in _once(stepped_each_turn(file)):
        yield Finding(
            "the accumulation counter guards no step: every batch steps, and nothing is "
            "accumulated",
            _place(found),
            label="holds no optimizer step",
            related=(Related(found.step.location, "steps on every batch"),),
            help="step, and clear the gradients, inside of this test",
        )


@rule.on_source
def clears_on_every_batch(file: SourceFile) -> Iterator[Finding]:
    for found in _once(cleared_each_turn(file)):
        yield Finding(
            "every batch clears the gradients, and only every few batches step: the others are "
            "thrown away",
            _place(found),
            label="clears what should be accumulated",
            related=(Related(found.step.location, "steps every few batches"),),
            help="clear the gradients where the optimizer steps",
        )


def _once(found: Iterable[Accumulation]) -> Iterable[Accumulation]:
    return {one.node: one for one in found}.values()


def _place(found: Accumulation) -> Location:
    """The line that opens an `if`, or all of a call."""
    file = found.place.file
    place = file.location(found.node)
    if not isinstance(found.node, ast.If):
        return place
    end = len(file.lines[place.line - 1].rstrip()) + 1
    return Location(place.path, place.line, place.column, place.line, end)
