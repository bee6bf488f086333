"""The inside of a module call as a graph to draw: layers, operators, joins and shapes.

A `Body` is made once however often it ran: equal bodies are one object. `graph` makes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from archcheck.core.finding import Location

if TYPE_CHECKING:
    from archcheck.core.target import Shape

Kind: TypeAlias = Literal["layer", "operator", "sum", "product", "concatenation"]

# The ends of an edge that are no node: `GIVEN - n` is the body's n-th input.
RESULT = -1
GIVEN = -2

_NUMBERED = re.compile(r"(.*?)(\d+)")


@dataclass(frozen=True, slots=True)
class Edge:
    """Values that go from one node to another; `RESULT` and `GIVEN - n` are the body's ends."""

    source: int
    target: int
    shapes: tuple[Shape, ...]
    guessed: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """A module call, an operator or a join in the body of a call.

    Attributes:
        name: A layer's name under that of the call it is in; an operator's own name.
        type: A layer's class; of an operator the function as it was called.
        settings: What it was built or called with, in a few words.
        body: What ran inside; None where that is a single operator, or nothing.
        absolute: The name is the layer's whole path: it is no child of what calls it.
        parameters: Of a layer with all below it.
        tied: Which of its parameters bear another one's name first: `weight is emb.weight`.
        turn, turns: This is the layer's first, second… call of so many.
        place: Where it was called, in the user's source.
        built: Where a layer was constructed.
        trouble: Of the call that failed: what arrived and what was expected, or the message.
        holds_failure: Something below it failed.
        follows: It only ran on what recovery put in the place of a missing result.
        codes: The findings on it.
    """

    kind: Kind
    name: str
    type: str
    inputs: tuple[Shape, ...] = ()
    outputs: tuple[Shape, ...] = ()
    settings: str = ""
    body: Body | None = None
    absolute: bool = False
    parameters: int = 0
    macs: int = 0
    tied: tuple[str, ...] = ()
    turn: int = 1
    turns: int = 1
    place: Location | None = None
    built: Location | None = None
    trouble: tuple[str, ...] = ()
    holds_failure: bool = False
    follows: bool = False
    codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Idle:
    """A layer that the pass never called, drawn apart from the others."""

    name: str
    type: str
    parameters: int


@dataclass(frozen=True, eq=False, slots=True)
class Body:
    """What ran in one call of a module, in order; compared by identity, equal ones being one.

    Attributes:
        given: The names of the values that come in.
        folds: Runs of nodes that are equal but for a number in their names: (first, how many).
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    given: tuple[str, ...]
    folds: tuple[tuple[int, int], ...]
    idle: tuple[Idle, ...]

    def folded(self) -> tuple[list[tuple[int, int]], list[Edge]]:
        """The nodes that are left when each fold is one, with how many each stands for, and the
        edges between them."""
        stands = list(range(len(self.nodes)))
        counts = dict.fromkeys(stands, 1)
        for first, count in self.folds:
            counts[first] = count
            for step in range(first + 1, first + count):
                stands[step] = first
                del counts[step]
        edges: dict[tuple[int, int], Edge] = {}
        for edge in self.edges:
            ends = tuple(end if end < 0 else stands[end] for end in (edge.source, edge.target))
            if ends[0] != ends[1]:
                edges.setdefault((ends[0], ends[1]), replace(edge, source=ends[0], target=ends[1]))
        return list(counts.items()), list(edges.values())


def folds(nodes: Sequence[Node], edges: Sequence[Edge]) -> Iterator[tuple[int, int]]:
    """Runs of numbered layers that are equal, each fed by the one before and by what all share."""
    sources: dict[int, set[int]] = {}
    targets: dict[int, set[int]] = {}
    for edge in edges:
        sources.setdefault(edge.target, set()).add(edge.source)
        targets.setdefault(edge.source, set()).add(edge.target)

    def continues(first: int, second: int) -> bool:
        shared = sources.get(second, set()) - {first}
        return (
            _repeats(nodes[first], nodes[second])
            and targets.get(first) == {second}
            and shared <= sources.get(first, set())
        )

    start = 0
    for number in range(1, len(nodes) + 1):
        if number < len(nodes) and continues(number - 1, number):
            continue
        if number - start > 1:
            yield start, number - start
        start = number


def _repeats(first: Node, second: Node) -> bool:
    """Whether two layers have consecutive numbers in their names and are otherwise equal."""
    if first.body is not second.body or first.type != second.type:
        return False
    one, two = _NUMBERED.fullmatch(first.name), _NUMBERED.fullmatch(second.name)
    if one is None or two is None or one[1] != two[1] or int(two[2]) != int(one[2]) + 1:
        return False
    # `conv1` and `conv2` are two layers to their author, `block1` and `block2` a repetition.
    if first.body is None and one[1] and not one[1].endswith("."):
        return False
    return replace(first, name="") == replace(second, name="")
