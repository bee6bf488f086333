"""Two architectures as one list of layers, what belongs together side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeAlias

from archcheck.analysis.architectures.alignment import Node, align
from archcheck.analysis.architectures.difference import Kind, kind_of
from archcheck.evidence.architecture import Architecture, ArchitectureLayer

# `gone`: it stands elsewhere now, where it is `moved`.
Fate: TypeAlias = Kind | Literal["same", "gone"]


@dataclass(frozen=True)
class Pair:
    """A layer before and after, with those below it.

    Attributes:
        times: How many equal neighbours it stands for.
    """

    fate: Fate
    before: ArchitectureLayer | None
    after: ArchitectureLayer | None
    below: tuple[Pair, ...] = ()
    times: int = 1

    @property
    def name(self) -> str:
        layer = self.after or self.before
        return layer.name if layer else ""

    @cached_property
    def untouched(self) -> bool:
        """Whether nothing changed in it and below it."""
        return self.fate == "same" and all(one.untouched for one in self.below)

    @cached_property
    def layers(self) -> int:
        """The layer and all below it, of one of those that it stands for."""
        return 1 + sum(one.layers * one.times for one in self.below)

    @cached_property
    def likeness(self) -> object:
        """Equal for pairs that differ in nothing but the numbers in their paths."""
        return (
            self.fate,
            self.times,
            *(side and replace(side, path="") for side in (self.before, self.after)),
            tuple((one.name, one.likeness) for one in self.below),
        )


def pairs(before: Architecture, after: Architecture) -> Pair:
    """The two models themselves, with all below them."""
    alignment = align(before, after)
    return _pair(alignment.before[0], alignment.after[0])


def one_sided(architecture: Architecture, fate: Literal["added", "removed"]) -> Pair:
    """A model that has no other side."""
    return _alone(align(architecture, replace(architecture, layers=())).before[0], fate)


def _pair(old: Node, new: Node) -> Pair:
    moved = old.parent is not None and (
        new.parent is not old.parent.partner or old.name != new.name
    )
    fate: Fate = kind_of(old.layer, new.layer) or ("moved" if moved else "same")
    return Pair(fate, old.layer, new.layer, _folded(_below(old, new)))


def _below(old: Node, new: Node) -> Iterator[Pair]:
    """The children of both in the order of the new ones; what is gone, where it was."""
    waiting = list(old.children)
    for child in new.children:
        partner = child.partner
        if partner is None:
            yield _alone(child, "added")
        elif partner in waiting:
            place = waiting.index(partner)
            earlier = [one for one in waiting[:place] if one.partner not in new.children]
            yield from map(_left, earlier)
            waiting = [one for one in waiting if one is not partner and one not in earlier]
            yield _pair(partner, child)
        else:
            yield _pair(partner, child)
    yield from map(_left, (one for one in waiting if one.partner not in new.children))


def _left(node: Node) -> Pair:
    """A layer that is not in the new list of children."""
    if node.partner is None:
        return _alone(node, "removed")
    return Pair("gone", node.layer, None)


def _alone(node: Node, fate: Literal["added", "removed"]) -> Pair:
    below = _folded(
        _alone(child, fate) if child.partner is None else _elsewhere(child, fate)
        for child in node.children
    )
    if fate == "added":
        return Pair("added", None, node.layer, below)
    return Pair("removed", node.layer, None, below)


def _elsewhere(child: Node, fate: Literal["added", "removed"]) -> Pair:
    """A layer below a new or a removed one that is known from another place."""
    assert child.partner is not None
    return _pair(child.partner, child) if fate == "added" else _left(child)


def _folded(found: Iterable[Pair]) -> tuple[Pair, ...]:
    """The pairs, equal numbered neighbours in one."""
    folded: list[Pair] = []
    for pair in found:
        last = folded[-1] if folded else None
        if last is not None and _continues(last, pair):
            folded[-1] = replace(last, times=last.times + 1)
        else:
            folded.append(pair)
    return tuple(folded)


def _continues(first: Pair, second: Pair) -> bool:
    if not (first.name.isdecimal() and second.name.isdecimal()):
        return False
    consecutive = int(second.name) == int(first.name) + first.times
    return consecutive and replace(first, times=1).likeness == second.likeness


def effects(pair: Pair) -> tuple[int, int]:
    """What one of the layers adds to the parameters and MACs of the model; less than 0 where it
    saves. What only stands elsewhere counts there."""
    if pair.fate == "gone":
        return 0, 0
    sides = [
        (0, 0) if side is None else (side.parameters, side.macs)
        for side in (pair.before, pair.after)
    ]
    return sides[1][0] - sides[0][0], sides[1][1] - sides[0][1]


def numbered(pair: Pair, side: ArchitectureLayer) -> str:
    """The name of a side's layer, of several the first and the last: `0–125`."""
    return side.name if pair.times == 1 else f"{side.name}–{int(side.name) + pair.times - 1}"


def shown(pair: Pair, depth: int = 0, times: int = 1) -> Iterator[tuple[int, int, Pair]]:
    """The pairs to show: below an untouched one nothing is. Each with its depth, and with how
    many layers it stands for, as those above it stand for several, too."""
    times *= pair.times
    yield depth, times, pair
    if not pair.untouched or not depth:
        for below in pair.below:
            yield from shown(below, depth + 1, times)
