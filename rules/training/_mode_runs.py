"""Train mode and eval mode along a run: which mode a model is in when it evaluates and learns."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from archcheck.python import SourceFile
from archcheck.python.program.events import Event, Region, Run
from archcheck.python.program.things import Thing

from ._things import has_modes, is_loop, is_or_holds, learns, sources_of, statement_loops

_EVALUATION = re.compile(r"test|valid|eval|(^|_)val(_|$|l|d)|(^|_)dev(_|$)", re.IGNORECASE)
_TRAINING = re.compile(r"train", re.IGNORECASE)


def evaluations_in_a_run(file: SourceFile) -> Iterator[tuple[Region, Thing]]:
    """The loops that evaluate a model with dropout or batch norm that is in train mode."""
    for run in file.runs:
        for event in run.of("iterate"):
            loop = event.around[-1]
            if is_loop(loop) and run.complete and not _learns_at_all(run, loop):
                for model in _evaluated_in(run, loop):
                    if _is_in_train_mode(run, event, loop, model):
                        yield loop, model


def switches_in_a_run(file: SourceFile) -> Iterator[tuple[Event, Event]]:
    """The switches to eval mode that the loop which trains never undoes, with what trains."""
    for run in file.runs:
        for switch in run.of("eval") if run.complete else ():
            backward = _trained_next(run, switch)
            if backward is not None:
                yield switch, backward


def _learns_at_all(run: Run, loop: Region) -> bool:
    return any(run.inside(loop, "backward", "step", "grad", "schedule"))


def _evaluated_in(run: Run, loop: Region) -> Iterator[Thing]:
    """The models that a loop certainly evaluates: without gradients, or on validation data."""
    names = [thing.name for thing in sources_of(loop.over)]
    if any(_TRAINING.search(name) for name in names):
        return
    on_held_out = any(_EVALUATION.search(name) for name in names)
    for event in run.inside(loop, "call"):
        if (on_held_out or event.is_without_gradients) and has_modes(event.subject):
            yield event.subject


def _is_in_train_mode(run: Run, start: Event, loop: Region, model: Thing) -> bool:
    """Whether a model certainly is in train mode in a loop, and not for this loop's own sake."""
    switches = [one for one in run.of("eval", "train") if _may_switch(one, model)]
    if any(one.kind == "eval" and _shares_a_loop(one, start) for one in switches):
        # What comes later in the loop around comes before it in the next turn.
        return False
    before = [one for one in switches if one.index < start.index and not one.excludes(start)]
    if before and (before[-1].kind == "eval" or not _trains_between(run, before[-1], start)):
        return False
    if not before and not _is_built_here(run, model, start):
        return False
    return not _is_managed(start, loop) and not run.hands_over(model)


def _may_switch(event: Event, model: Thing) -> bool:
    subject = event.subject
    return subject.kind in ("unknown", "choice") or is_or_holds(subject, model)


def _shares_a_loop(one: Event, other: Event) -> bool:
    return any(loop in one.around for loop in statement_loops(other)[1:])


def _trains_between(run: Run, first: Event, second: Event) -> bool:
    return any(first.index < one.index < second.index for one in run.of("backward"))


def _is_built_here(run: Run, model: Thing, start: Event) -> bool:
    """Whether the run itself makes a model: it begins in train mode."""
    roots = set(model.roots()) | set(model.items)
    builds = [one for one in run.of("build") if one.index < start.index]
    return any(build.result in roots for build in builds)


def _is_managed(start: Event, loop: Region) -> bool:
    """Whether a context manager that is not torch's stands around a loop."""
    known = ("torch.", "contextlib.", "tqdm")
    return any(
        region.kind == "with"
        and not (region.over is not None and region.over.dotted.startswith(known))
        for region in start.around
        if region is not loop
    )


def _trained_next(run: Run, switch: Event) -> Event | None:
    """What trains the model of a switch in the next turn of the loop around, still in eval mode."""
    model = switch.subject
    if model.kind not in ("module", "unknown"):
        return None
    for loop in reversed(statement_loops(switch)):
        if not learns(run, loop) or _leaves(switch, loop):
            continue
        backward = [one for one in run.inside(loop, "backward") if _trains(one, model)]
        if not backward or backward[-1].index > switch.index or not _steps(run, loop, model):
            continue
        if any(_may_switch(one, model) for one in run.inside(loop, "train")):
            return None
        if not (has_modes(model) or _was_set_to_train(run, loop, model)):
            return None
        if run.hands_over(model) or _is_new_each_turn(run, loop, model):
            return None
        return backward[0]
    return None


def _trains(backward: Event, model: Thing) -> bool:
    return any(is_or_holds(one, model) for one in backward.subject.modules)


def _steps(run: Run, loop: Region, model: Thing) -> bool:
    """Whether an optimizer that may have the model's parameters steps in a loop."""
    return any(
        not step.subject.modules or any(is_or_holds(one, model) for one in step.subject.modules)
        for step in run.inside(loop, "step")
    )


def _leaves(event: Event, loop: Region) -> bool:
    """Whether the loop ends after an event."""
    inner = event.around[event.around.index(loop) :]
    body = getattr(loop.node, "body", ())
    return any(region.leaves for region in inner) or any(
        isinstance(node, ast.Return | ast.Break) for node in body
    )


def _was_set_to_train(run: Run, loop: Region, model: Thing) -> bool:
    """Whether the script itself puts the model into train mode, before the loop."""
    return any(one.subject is model and not one.is_in(loop) for one in run.of("train"))


def _is_new_each_turn(run: Run, loop: Region, model: Thing) -> bool:
    roots = set(model.roots())
    return any(build.result in roots for build in run.inside(loop, "build"))
