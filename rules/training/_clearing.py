"""Gradients that are added up and never cleared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from archcheck.python import SourceFile
from archcheck.python.program.events import Event, Region, Run
from archcheck.python.program.things import Thing, related


class Pile(NamedTuple):
    """A step along the sum of all gradients so far.

    Attributes:
        step: The optimizer's step.
        backward: What adds to the gradients in each turn.
        loop: The loop that never clears them.
    """

    step: Event
    backward: Event
    loop: Region


def piles(file: SourceFile) -> Iterator[Pile]:
    """The steps in loops that call `backward` and clear the gradients nowhere."""
    for run in file.runs:
        for step in run.of("step"):
            found = _pile(run, step) if is_trusted(step) else None
            if found is not None:
                yield found


def is_trusted(step: Event) -> bool:
    """Whether a step is certainly that of one optimizer, which clears nothing by itself."""
    optimizer = step.subject
    if optimizer.kind == "optimizer":
        return isinstance(optimizer.type, str)
    # A parameter, or an attribute, that is called an optimizer.
    return optimizer.kind == "unknown" and optimizer.role == "optimizer" and len(step.arguments) < 2


def shared_loop(run: Run, step: Event, backward: Event) -> Region | None:
    """The innermost loop that both a step and a `backward` are in, and that goes on with the same
    optimizer."""
    made = [build for build in run.of("build") if build.result is step.subject]
    for loop in step.loops:
        if loop in backward.around and not is_comprehension(loop):
            return None if any(build.is_in(loop) for build in made) else loop
    return None


def is_comprehension(loop: Region) -> bool:
    """Whether a loop is a comprehension."""
    return not hasattr(loop.node, "body")


def _pile(run: Run, step: Event) -> Pile | None:
    for backward in run.of("backward"):
        loop = shared_loop(run, step, backward)
        if any(one.role == "accelerator" for one in backward.arguments):
            # Its plugins may clear by themselves.
            return None
        if loop is None or backward.excludes(step) or not may_feed(step, backward):
            continue
        if any(clears(event, step) for event in run.inside(loop)) or not run.complete:
            return None
        if run.hands_over(step.subject, loop) or _is_called_by_others(run, loop, step):
            return None
        return Pile(step, backward, loop)
    return None


def may_feed(step: Event, backward: Event) -> bool:
    """Whether what a `backward` computes may be what a step uses: some model of the loss may be
    one of the optimizer's."""
    losses, held = backward.subject.modules, step.subject.modules
    if not losses or not held:
        return True
    return any(related(one, other) for one in losses for other in held)


def clears(event: Event, step: Event) -> bool:
    """Whether an event clears the gradients that a step uses, or may."""
    if event.kind in ("gradient", "grad", "add_parameters"):
        return True
    if event.kind != "zero_grad":
        return False
    return may_share(event.subject, step.subject)


def may_share(cleared: Thing, optimizer: Thing) -> bool:
    """Whether an optimizer, or a model, may have gradients that another optimizer has."""
    if not set(cleared.alternatives()).isdisjoint(optimizer.alternatives()):
        return True
    if cleared.role == "optimizer" and cleared.kind == optimizer.kind == "optimizer":
        mine, theirs = cleared.modules, optimizer.modules
        if not mine or not theirs:
            return not (mine or theirs)
        return any(related(one, other) for one in mine for other in theirs)
    if cleared.kind == "unknown" and optimizer.kind == "unknown":
        # Two parameters of one function are two optimizers, unless one is made of the other.
        apart = cleared.holder is None and optimizer.holder is None
        return not (apart and cleared.role == optimizer.role == "optimizer")
    if cleared.kind == "module" and optimizer.modules:
        return any(related(cleared, held) for held in optimizer.modules)
    return True


def _is_called_by_others(run: Run, loop: Region, step: Event) -> bool:
    """Whether a method of a class with bases that nobody can look into stands in the loop."""
    return any(event.subject.reaches(step.subject) for event in run.inside(loop, "opaque"))
