"""The order of the steps of a training loop, along a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from archcheck.python import SourceFile
from archcheck.python.program.events import Event, Region, Run
from archcheck.python.program.things import Thing

from ._clearing import is_trusted, may_feed
from ._things import is_or_holds, statement_loops, written_by_hand


class Misplaced(NamedTuple):
    """A step that comes too late, too early or never.

    Attributes:
        event: What stands in the wrong place.
        other: What it should come before or after.
    """

    event: Event
    other: Event


def clipped_after_the_step(file: SourceFile) -> Iterator[Misplaced]:
    """The clippings of gradients that the optimizer has used already."""
    for run in file.runs:
        for clip in written_by_hand(run, "clip"):
            turn = _turn(run, clip)
            steps = [one for one in turn if one.kind == "step" and _is_clipped(clip, one, turn)]
            before = [one for one in steps if one.index < clip.index]
            if not before or any(one.index > clip.index for one in steps):
                continue
            step = before[-1]
            between = [one for one in turn if step.index < one.index < clip.index]
            if any(one.kind in ("backward", "grad", "gradient") for one in between):
                continue
            fed = any(one.kind == "backward" and one.index < step.index for one in turn)
            if fed and _always_with(step, clip):
                yield Misplaced(clip, step)


def clipped_while_scaled(file: SourceFile) -> Iterator[Misplaced]:
    """The clippings of gradients that a scaler has scaled and not unscaled."""
    for run in file.runs:
        for clip in written_by_hand(run, "clip"):
            turn = _turn(run, clip)
            step = next((one for one in turn if one.index > clip.index and _by_scaler(one)), None)
            if step is None or clip.excludes(step) or not _is_clipped(clip, step, turn):
                continue
            before = [one for one in turn if one.index < clip.index and not one.excludes(clip)]
            scaled = [one for one in before if one.kind == "backward" and _is_scaled(run, one)]
            plain = [one for one in before if one.kind == "backward" and one not in scaled]
            unscaled = any(one.kind == "unscale" for one in before)
            if not scaled or plain or unscaled or not _knows_the_scaler(step):
                continue
            if not run.hands_over(step.arguments[0]):
                yield Misplaced(clip, scaled[-1])


def scheduled_before_the_first_step(file: SourceFile) -> Iterator[Misplaced]:
    """The schedulers that step before their optimizer ever did."""
    for run in file.runs:
        for schedule in written_by_hand(run, "schedule"):
            optimizer = schedule.subject.fields.get("optimizer")
            torch_made = schedule.subject.dotted.startswith(("torch.optim.lr_scheduler.",
                                                             "transformers."))  # fmt: skip
            if optimizer is None or not torch_made or schedule.arguments or not run.complete:
                continue
            steps = [one for one in run.of("step") if _same(one.subject, optimizer)]
            loops = statement_loops(schedule)
            if not steps or not loops or steps[0].index < schedule.index:
                continue
            step = next((one for one in steps if one.is_in(loops[0])), None)
            if step is None or schedule.branches(loops[0]):
                continue
            if not run.hands_over(optimizer):
                yield Misplaced(schedule, step)


def scaled_without_update(file: SourceFile) -> Iterator[Misplaced]:
    """The steps in a loop by scalers that never update."""
    for run in file.runs:
        for step in written_by_hand(run, "step"):
            if not _by_scaler(step) or not statement_loops(step) or not run.complete:
                continue
            scaler = step.arguments[0]
            if not _knows_the_scaler(step) or any(
                not _are_two(one.subject, scaler) for one in run.of("update")
            ):
                continue
            scales = [one for one in run.of("scale") if one.subject is scaler]
            if scales and not run.hands_over(scaler):
                yield Misplaced(step, scales[-1])


def cleared_before_the_step(file: SourceFile) -> Iterator[Misplaced]:
    """The clearings that throw away what the step should use: after `backward` and before it."""
    for run in file.runs:
        for step in written_by_hand(run, "step"):
            found = _thrown_away(run, step) if is_trusted(step) and run.complete else None
            if found is not None:
                yield found


def _thrown_away(run: Run, step: Event) -> Misplaced | None:
    turn = _turn(run, step)
    loops = bool(statement_loops(step))
    later = [one for one in turn if one.index > step.index] if loops else []
    cycle = [*later, *(one for one in turn if one.index < step.index)]
    cycle = [one for one in cycle if not one.excludes(step)]
    clears = [one for one in cycle if one.kind == "zero_grad" and _clears_all(one, step)]
    feeds = [one for one in cycle if one.kind == "backward" and may_feed(step, one)]
    if not clears or not feeds:
        return None
    clear = clears[-1]
    after = cycle[cycle.index(clear) + 1 :]
    if not _always_with(clear, step) or any(one in after for one in feeds):
        return None
    if any(one.kind in ("grad", "gradient", "opaque", "step") for one in after):
        return None
    if run.hands_over(step.subject):
        return None
    return Misplaced(clear, step)


def _turn(run: Run, event: Event) -> Sequence[Event]:
    """The events of one turn of the innermost loop around an event, or of its run outside loops."""
    loops = statement_loops(event)
    return list(run.inside(loops[0])) if loops else run.events


def _is_clipped(clip: Event, step: Event, turn: Sequence[Event]) -> bool:
    """Whether a clipping is certainly of the gradients that a step uses."""
    held = step.subject.modules
    if clip.subject.modules and held:
        return any(is_or_holds(one, other) for one in clip.subject.modules for other in held)
    return len({one.subject for one in turn if one.kind == "step"}) == 1


def _by_scaler(event: Event) -> bool:
    return event.kind == "step" and bool(event.arguments) and event.arguments[0].role == "scaler"


def _knows_the_scaler(step: Event) -> bool:
    """Whether the scaler of a step is torch's, as far as one can tell."""
    scaler = step.arguments[0]
    return scaler.kind in ("scaler", "unknown") and (scaler.type is None or bool(scaler.dotted))


def _is_scaled(run: Run, backward: Event) -> bool:
    return any(scale.node is backward.subject.node for scale in run.of("scale"))


def _always_with(first: Event, second: Event) -> bool:
    """Whether the first happens whenever the second does: it stands under no other condition."""
    return not first.excludes(second) and all(
        region in second.around for region in first.around if region.kind in ("branch", "try")
    )


def _same(first: Thing, second: Thing) -> bool:
    return first is second or (first.kind == "choice" and second in first.items)


def _are_two(first: Thing, second: Thing) -> bool:
    """Whether two scalers are certainly different ones."""
    return first is not second and first.kind == second.kind == "scaler"


def _clears_all(clear: Event, step: Event) -> bool:
    """Whether a clearing certainly takes all gradients of an optimizer's step."""
    if clear.subject is step.subject:
        return True
    held = step.subject.modules
    return bool(held) and held == {clear.subject}


def loop_of(event: Event) -> Region | None:
    """The innermost statement loop around an event."""
    return next(iter(statement_loops(event)), None)
