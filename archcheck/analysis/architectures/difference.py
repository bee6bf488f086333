"""What changed between two architectures, as a code review would say it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeAlias

from archcheck.analysis.architectures.alignment import Alignment, Node, align
from archcheck.evidence.architecture import Architecture, ArchitectureLayer

Kind: TypeAlias = Literal["added", "removed", "replaced", "resized", "rewired", "moved", "follows"]
State: TypeAlias = Literal["same", "changed", "added", "removed"]


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of a diff: what became of a layer with all below it, or of several alike.

    Attributes:
        kind: `added` and `removed` with all that is below; `replaced` by another type of layer;
            `resized`: built with other settings, or with other parameters; `rewired`: its forward
            computes something else, or it is called more or less often; `moved` to another
            path, as it is; `follows`: only its output or its cost is another one, because of
            another change.
        before, after: The (first) layer, None where there is none.
        places: The paths of all layers that the entry stands for, as they are named now (those
            removed: as they were named), without the layers below them.
        origins: The paths that they had before, where these are others; one for each place.
        layers: How many layers it stands for, those below included.
        parameters, macs: What it adds to the totals; less than 0 where it saves.
    """

    kind: Kind
    before: ArchitectureLayer | None
    after: ArchitectureLayer | None
    places: tuple[str, ...]
    origins: tuple[str, ...] = ()
    layers: int = 1
    parameters: int = 0
    macs: int = 0


@dataclass(frozen=True)
class ModelDifference:
    """What became of one model. `before` or `after` is None where it was or is not there.

    `changes` are in the order of the layers, those that only follow from others last; over all
    of them, `parameters` and `macs` add up to the difference of the totals.
    """

    before: Architecture | None
    after: Architecture | None
    changes: tuple[Change, ...] = ()

    @property
    def target(self) -> str:
        known = self.after or self.before
        assert known is not None, "a difference has at least one side"
        return known.target

    @cached_property
    def state(self) -> State:
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        return "same" if _agreed(self.before) == _agreed(self.after) else "changed"


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed in all models.

    Attributes:
        before, after: What the two sides are called, such as `archcheck.lock`, `main`, or
            `the working tree`.
        unknown: Sentences that say which models could not be compared, and why.
        complaints: What is wrong with single targets of the call.
    """

    before: str
    after: str
    models: tuple[ModelDifference, ...] = ()
    unknown: tuple[str, ...] = ()
    usage_errors: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether every model is as it was."""
        return all(model.state == "same" for model in self.models)

    @property
    def exit_code(self) -> int:
        """0 where nothing changed, 1 where something did or cannot be told, 2 for a wrong call."""
        return 2 if self.usage_errors else int(bool(self.unknown) or not self.is_empty)


def counterpart(architecture: Architecture, others: Iterable[Architecture]) -> Architecture | None:
    """The entry of the same model in the same mode, with the same inputs if there is one."""
    key = (architecture.target, architecture.mode)
    known = [one for one in others if (one.target, one.mode) == key]
    same = [one for one in known if one.inputs == architecture.inputs]
    return next(iter((*same, *known)), None)


def compare(before: Architecture, after: Architecture) -> ModelDifference:
    """What changed from one architecture to the other."""
    if _agreed(before) == _agreed(after):
        return ModelDifference(before, after)
    placed = sorted(_changes(align(before, after)), key=lambda one: one[0])
    folded = _folded(change for _position, change in placed)
    return ModelDifference(
        before, after, tuple(sorted(folded, key=lambda change: change.kind == "follows"))
    )


def _agreed(architecture: Architecture) -> object:
    """What a team agrees on. FLOPs and memory follow from it, and from the version of torch; the
    order in which attributes are set is none of it."""
    layers = tuple(sorted(architecture.layers, key=lambda layer: layer.path))
    # What the model takes of a checkpoint is for the rules on checkpoints to compare.
    return replace(
        architecture,
        target="",
        layers=layers,
        flops=0,
        peak_activation_bytes=0,
        weights="",
        keys=(),
    )


def _changes(alignment: Alignment) -> Iterator[tuple[float, Change]]:
    """Every change by itself, with its place in the order of the layers as they are now."""
    told: set[Node] = set()  # what an entry for a layer above speaks of
    for new in alignment.after:
        old = new.partner
        if new in told:
            continue
        if old is None:
            parts = _parts(new)
            told.update(parts)
            yield new.index, _entry("added", (), parts)
            continue
        if _has_moved(old, new):
            moved = _entry("moved", (old,), (new,))
            size = sum(1 for _ in new.walk())
            yield new.index, replace(moved, layers=size, parameters=0, macs=0)
        kind = kind_of(old.layer, new.layer)
        if kind is not None:
            gone, come = ((old,), (new,)) if kind != "replaced" else (_parts(old), _parts(new))
            told.update(gone, come)
            yield new.index, _entry(kind, gone, come)
    position = -1.0
    for old in alignment.before:
        if old.partner is not None:
            position = old.partner.index + 0.5
        elif old not in told:
            parts = _parts(old)
            told.update(parts)
            yield position, _entry("removed", parts, ())


def _parts(node: Node) -> tuple[Node, ...]:
    """What one entry can speak of: all below the node, unless some of it is known elsewhere."""
    below = [one for child in node.children for one in child.walk()]
    return (node,) if any(one.partner is not None for one in below) else (node, *below)


def _entry(kind: Kind, old: Sequence[Node], new: Sequence[Node]) -> Change:
    before = old[0].layer if old else None
    after = new[0].layer if new else None
    place = after or before
    assert place is not None, "an entry speaks of something"
    return Change(
        kind,
        before,
        after,
        (place.path,),
        (before.path,) if before is not None and before.path != place.path else (),
        max(len(old), len(new)),
        sum(one.layer.parameters for one in new) - sum(one.layer.parameters for one in old),
        sum(one.layer.macs for one in new) - sum(one.layer.macs for one in old),
    )


def _has_moved(old: Node, new: Node) -> bool:
    """Whether a layer has another path, and not only because one above it has."""
    if old.parent is None or new.parent is None:
        return False
    return old.parent.partner is not new.parent or old.name != new.name


def kind_of(before: ArchitectureLayer, after: ArchitectureLayer) -> Kind | None:
    """What became of a layer by itself; None where it is as it was."""
    if before.type != after.type:
        return "replaced"
    if (before.settings, before.parameters) != (after.settings, after.parameters):
        return "resized"
    if (before.operators, before.calls) != (after.operators, after.calls):
        return "rewired"
    return "follows" if (before.output, before.macs) != (after.output, after.macs) else None


def _folded(changes: Iterable[Change]) -> Iterable[Change]:
    """The same change in each of several blocks becomes one entry, where the first one stood."""
    folded: dict[object, Change] = {}
    for change in changes:
        key = _sameness(change)
        first = folded.get(key)
        folded[key] = (
            change
            if first is None
            else replace(
                first,
                places=first.places + change.places,
                origins=first.origins + change.origins,
                layers=first.layers + change.layers,
                parameters=first.parameters + change.parameters,
                macs=first.macs + change.macs,
            )
        )
    return folded.values()


def _sameness(change: Change) -> object:
    """Equal for changes that differ in nothing but the numbers in the layers' paths."""
    before, after = change.before, change.after
    if change.kind == "moved" and before is not None and after is not None:
        numbered = before.name.isdecimal() and after.name.isdecimal()
        by = int(after.name) - int(before.name) if numbered else (before.name, after.name)
        return "moved", _unnumbered(before.parent), _unnumbered(after.parent), by
    return (
        change.kind,
        *(_unnumbered(path) for path in (*change.places, *change.origins)),
        before and replace(before, path=""),
        after and replace(after, path=""),
        change.layers,
        change.parameters,
        change.macs,
    )


def _unnumbered(path: str) -> str:
    return ".".join("#" if name.isdecimal() else name for name in path.split("."))
