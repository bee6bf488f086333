"""Events: what a run does, in order, and the loops and conditions around it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

from archcheck.python.program.things import Thing

if TYPE_CHECKING:
    from archcheck.core.finding import Location
    from archcheck.python import Function, SourceFile, Statement

RegionKind: TypeAlias = Literal["loop", "branch", "call", "no_grad", "grad", "with", "try"]
EventKind: TypeAlias = Literal[
    "build",  # an object is constructed: result
    "call",  # a model, a loss or something unknown is called: subject
    "method",  # a method of a model that nobody can look into: subject the model
    "backward",  # through a loss: subject
    "grad",  # torch.autograd.grad and the like
    "step", "zero_grad", "add_parameters",  # of an optimizer: subject
    "schedule",  # a scheduler's step: subject
    "clip",  # of gradients: subject, the model or its parameters
    "unscale", "scale", "update",  # of a scaler: subject; `unscale` has the optimizer as argument
    "eval", "train",  # of a model: subject
    "freeze",  # requires_grad of a model: subject
    "replace",  # a part of a model is set: subject the model, result the part
    "load",  # weights into a model: subject
    "reset",  # the initialisation of a model or of a tensor: subject
    "iterate",  # a loop over something: subject
    "set_epoch",  # of a sampler: subject
    "keep",  # something is added to a total or to a list: subject the container, result the value
    "difference",  # a column minus a row, or one of them: arguments both
    "gradient",  # gradients are touched by hand
    "opaque",  # code that cannot be looked into: arguments
]  # fmt: skip


class Region:
    """A part of a run: the turns of a loop, a side of a branch, the body of a called function.

    Attributes:
        node: The loop, the `if`, the `with`, the call.
        statement: Where it stands.
        over: What a loop goes over.
        function: The function that a call runs.
        side: Of a branch, which: two regions of one node with other sides exclude each other.
        leaves: Whether it ends with `return`, `break` or `raise`.
    """

    __slots__ = ("function", "kind", "leaves", "node", "over", "side", "statement")

    def __init__(
        self,
        kind: RegionKind,
        node: ast.AST,
        statement: Statement,
        *,
        over: Thing | None = None,
        function: Function | None = None,
        side: str = "",
        leaves: bool = False,
    ) -> None:
        self.kind: RegionKind = kind
        self.node = node
        self.statement = statement
        self.over = over
        self.function = function
        self.side = side
        self.leaves = leaves

    def __repr__(self) -> str:
        return f"Region({self.kind} {getattr(self.node, 'lineno', 0)})"


class Event:
    """Something that a run does.

    Attributes:
        subject: Whom it is done to.
        arguments: What is handed over.
        result: What comes out of it.
        around: The regions around it, outermost first.
        index: Its place in the run.
    """

    __slots__ = ("arguments", "around", "index", "kind", "node", "result", "statement", "subject")

    def __init__(
        self,
        kind: EventKind,
        node: ast.AST,
        statement: Statement,
        subject: Thing,
        around: tuple[Region, ...],
        index: int,
        arguments: tuple[Thing, ...] = (),
        result: Thing | None = None,
    ) -> None:
        self.kind: EventKind = kind
        self.node = node
        self.statement = statement
        self.subject = subject
        self.arguments = arguments
        self.result = result
        self.around = around
        self.index = index

    def __repr__(self) -> str:
        return f"Event({self.kind} {self.subject.name} {getattr(self.node, 'lineno', 0)})"

    @property
    def file(self) -> SourceFile:
        """The file that it is written in."""
        return self.statement.scope.file

    @property
    def location(self) -> Location:
        return self.file.location(self.node)

    @property
    def loops(self) -> tuple[Region, ...]:
        """The loops around it, innermost first."""
        return tuple(region for region in reversed(self.around) if region.kind == "loop")

    @property
    def is_without_gradients(self) -> bool:
        """Whether no graph is built there; False where that is not certain."""
        switches = [region.kind for region in self.around if region.kind in ("no_grad", "grad")]
        return switches[-1:] == ["no_grad"]

    def is_in(self, region: Region) -> bool:
        return region in self.around

    def branches(self, within: Region | None = None) -> tuple[Region, ...]:
        """The branches around it, in a region or in all of the run."""
        around = self.around
        if within is not None and within in around:
            around = around[around.index(within) + 1 :]
        return tuple(region for region in around if region.kind == "branch")

    def excludes(self, other: Event) -> bool:
        """Whether the two stand on different sides of one branch."""
        ours = {region.node: region.side for region in self.around if region.kind == "branch"}
        return any(
            region.kind == "branch" and ours.get(region.node, region.side) != region.side
            for region in other.around
        )


class Run:
    """The events from one place where code may start.

    Attributes:
        start: The function that is called, None for the statements of a file.
        events: In order; the body of a loop once, both sides of a branch.
        complete: Whether all of it was followed: none of the limits on depth and size was met.
    """

    def __init__(self, start: Function | None) -> None:
        self.start = start
        self.events: list[Event] = []
        self.complete = True

    def of(self, *kinds: EventKind) -> tuple[Event, ...]:
        """The events of these kinds, in order."""
        if len(kinds) == 1:
            return self._by_kind.get(kinds[0], ())
        return tuple(event for event in self.events if event.kind in kinds)

    @cached_property
    def _by_kind(self) -> dict[str, tuple[Event, ...]]:
        found: dict[str, list[Event]] = {}
        for event in self.events:
            found.setdefault(event.kind, []).append(event)
        return {kind: tuple(events) for kind, events in found.items()}

    def inside(self, region: Region, *kinds: EventKind) -> Iterator[Event]:
        """The events of these kinds in a region, in order."""
        for event in self.of(*kinds) if kinds else self.events:
            if region in event.around:
                yield event

    def hands_over(self, thing: Thing, region: Region | None = None) -> bool:
        """Whether code that cannot be looked into gets hold of a thing, in a region or at all."""
        return any(
            argument.reaches(thing)
            for event in self.of("opaque")
            if region is None or region in event.around
            for argument in event.arguments
        )
