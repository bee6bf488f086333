"""Gradients that are accumulated over several batches: by how much, and whether at all."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from archcheck.python import SourceFile
from archcheck.python.program.events import Event, Region, Run
from archcheck.python.program.things import Thing

from ._clearing import is_trusted, may_feed, may_share
from ._scripts import names_of
from ._things import sources_of, statement_loops, written_by_hand

_ACCUMULATES = re.compile(r"accum", re.IGNORECASE)


class Accumulation(NamedTuple):
    """A loop that accumulates wrongly, or says that it accumulates.

    Attributes:
        node: What is to be looked at: the `backward`, the `if`, the `zero_grad`.
        place: An event in its file.
        step: The optimizer's step.
    """

    node: ast.AST
    place: Event
    step: Event


def undivided(file: SourceFile) -> Iterator[Accumulation]:
    """The losses that are summed up over the batches between two steps, each at full size."""
    for run, step, loop in _loops_that_step(file):
        test = _periodic_branch(step, loop)
        if test is None or not _goes_over_batches(loop, test):
            continue
        for backward in run.inside(loop, "backward"):
            inner = backward.branches(loop)
            if test.node in [branch.node for branch in inner] or not may_feed(step, backward):
                continue
            if _is_cleared_each_turn(run, step, loop, test) or _is_scaled(run, backward, loop):
                continue
            yield Accumulation(backward.node, backward, step)


def stepped_each_turn(file: SourceFile) -> Iterator[Accumulation]:
    """The tests of an accumulation counter that guard no step, where each batch steps."""
    for run, step, loop in _loops_that_step(file):
        if step.branches(loop) or not any(run.inside(loop, "backward")):
            continue
        for test, event in _tests_in(run, loop):
            steps = any(one.kind in ("step", "opaque") and test in
                        [branch.node for branch in one.branches(loop)]
                        for one in run.inside(loop))  # fmt: skip
            if _is_periodic(test) and _names_accumulation(test) and not steps:
                yield Accumulation(test, event, step)


def cleared_each_turn(file: SourceFile) -> Iterator[Accumulation]:
    """The clearings on every batch of a loop that steps only every few batches."""
    for run, step, loop in _loops_that_step(file):
        test = _periodic_branch(step, loop)
        if test is None or not _names_accumulation(test.node):
            continue
        for clear in run.inside(loop, "zero_grad"):
            if not clear.branches(loop) and may_share(clear.subject, step.subject):
                yield Accumulation(clear.node, clear, step)


def _loops_that_step(file: SourceFile) -> Iterator[tuple[Run, Event, Region]]:
    for run in file.runs:
        managed = any(one.role == "accelerator" for event in run.of("backward", "step")
                      for one in event.arguments)  # fmt: skip
        if managed or not run.complete:
            # Accelerate and Fabric divide, and skip steps, by themselves.
            continue
        for step in written_by_hand(run, "step"):
            loops = statement_loops(step)
            if loops and is_trusted(step) and not _is_managed(step):
                yield run, step, loops[0]


def _is_managed(step: Event) -> bool:
    return any(
        region.kind == "with" and region.over is not None and "accumulate" in region.over.marks
        for region in step.around
    )


def _periodic_branch(step: Event, loop: Region) -> Region | None:
    """The side of an `if step % n == 0:` that a step stands in."""
    for branch in step.branches(loop):
        if isinstance(branch.node, ast.If) and branch.side == "if" and _is_periodic(branch.node):
            return branch
    return None


def _is_periodic(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and any(
        isinstance(part, ast.BinOp) and isinstance(part.op, ast.Mod) for part in ast.walk(node.test)
    )


def _names_accumulation(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and any(
        _ACCUMULATES.search(name) for name in names_of(node.test)
    )


def _goes_over_batches(loop: Region, test: Region) -> bool:
    """Whether a loop certainly goes over batches, and not over the episodes of a game."""
    if _names_accumulation(test.node):
        return True
    return any(thing.role == "loader" for thing in sources_of(loop.over))


def _is_cleared_each_turn(run: Run, step: Event, loop: Region, test: Region) -> bool:
    """Whether the gradients go in each turn, so that none are summed up."""
    return any(
        test.node not in [branch.node for branch in clear.branches(loop)]
        for clear in run.inside(loop, "zero_grad")
        if may_share(clear.subject, step.subject)
    )


def _is_scaled(run: Run, backward: Event, loop: Region) -> bool:
    """Whether a loss, or its gradient, is or may be divided or weighted before the step."""
    if any(run.inside(loop, "gradient", "grad")) or backward.arguments:
        return True
    subject = backward.subject
    for scale in run.inside(loop, "scale"):
        if scale.node is subject.node and scale.arguments:
            subject = scale.arguments[0]
    return not _is_plain_loss(run, subject)


def _is_plain_loss(run: Run, thing: Thing) -> bool:
    """Whether a tensor certainly is what a loss gives, as it is: a mean over its batch."""
    if thing.kind != "tensor" or "divided" in thing.marks:
        return False
    for call in run.of("call"):
        if call.result is thing and call.subject.role == "loss":
            reduction = call.subject.fields.get("reduction")
            given = getattr(call.node, "keywords", [])
            return reduction is None and not any(one.arg == "reduction" for one in given)
    return False


def _tests_in(run: Run, loop: Region) -> Iterator[tuple[ast.If, Event]]:
    """The `if` statements in a loop, each with an event in it."""
    seen: set[ast.AST] = set()
    for event in run.inside(loop):
        for branch in event.branches(loop):
            if isinstance(branch.node, ast.If) and branch.node not in seen:
                seen.add(branch.node)
                yield branch.node, event
