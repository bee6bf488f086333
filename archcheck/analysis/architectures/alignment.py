"""Which layer of one architecture is which layer of another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from archcheck.evidence.architecture import Architecture, ArchitectureLayer

# The neighbours of one layer, before times after, among which the best pairs are looked for.
_MOST_PAIRS = 250_000


@dataclass(eq=False)
class Node:
    """A layer with those below it.

    Attributes:
        index: Its place among all layers of its architecture.
        kind: Equal for nodes that are built alike, all below them included, wherever they are.
        partner: Which node of the other architecture it is.
    """

    index: int
    layer: ArchitectureLayer
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)
    kind: int = -1
    partner: Node | None = None

    @property
    def name(self) -> str:
        return self.layer.name

    def walk(self) -> Iterator[Node]:
        """The node and all below it, in the order of the layers."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, slots=True)
class Alignment:
    """Two architectures as lists of nodes, partners found."""

    before: tuple[Node, ...]
    after: tuple[Node, ...]


def align(before: Architecture, after: Architecture) -> Alignment:
    """Find for each layer what it was before: by name, by place among its neighbours, and for
    what was taken to another place, by how it is built."""
    kinds: dict[object, int] = {}
    old, new = _nodes(before.layers, kinds), _nodes(after.layers, kinds)
    if old and new:
        _pair(old[0], new[0])
        _find_moved(old, new)
    return Alignment(tuple(old), tuple(new))


def _nodes(layers: Sequence[ArchitectureLayer], kinds: dict[object, int]) -> list[Node]:
    nodes: dict[str, Node] = {}
    for index, layer in enumerate(layers):
        node = nodes[layer.path] = Node(index, layer)
        if index:
            node.parent = _nearest(nodes, layer.parent)
            node.parent.children.append(node)
    for node in reversed(nodes.values()):
        layer = node.layer
        below = tuple((child.name, child.kind) for child in node.children)
        built = (layer.type, layer.settings, layer.parameters, layer.operators, below)
        node.kind = kinds.setdefault(built, len(kinds))
    return list(nodes.values())


def _nearest(nodes: Mapping[str, Node], path: str) -> Node:
    """The node at this path, or the nearest one above; the first of all is above everything."""
    while path not in nodes and path:
        path = path.rpartition(".")[0]
    return nodes[path] if path in nodes else next(iter(nodes.values()))


def _pair(old: Node, new: Node) -> None:
    """Make two nodes partners, and then those of their children that are the same layer."""
    old.partner, new.partner = new, old
    if old.kind == new.kind:
        for one, other in zip(old.walk(), new.walk(), strict=True):
            one.partner, other.partner = other, one
        return
    # An attribute is what its name says, wherever among the others it stands now. A number is
    # but a place, which one more layer in front of it changes.
    named = {child.name: child for child in new.children if not child.name.isdecimal()}
    for child in old.children:
        if child.name in named:
            _pair(child, named[child.name])
    rest_old = [child for child in old.children if child.partner is None]
    rest_new = [child for child in new.children if child.partner is None]
    for one, other in _in_order(rest_old, rest_new):
        _pair(one, other)


def _in_order(old: Sequence[Node], new: Sequence[Node]) -> Iterator[tuple[Node, Node]]:
    """The pairs, in the order of both lists, that are most alike in all."""
    start = 0
    while start < min(len(old), len(new)) and _is_unchanged(old[start], new[start]):
        yield old[start], new[start]
        start += 1
    old, new = old[start:], new[start:]
    while old and new and old[-1].kind == new[-1].kind:
        yield old[-1], new[-1]
        old, new = old[:-1], new[:-1]
    if len(old) * len(new) > _MOST_PAIRS:
        # So many at once are not looked through: a number is then as good as a name.
        named = {node.name: node for node in new}
        yield from ((node, named[node.name]) for node in old if node.name in named)
        return
    # best[i][j]: how alike the pairs among old[i:] and new[j:] are at most.
    best = [[0.0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for i in range(len(old) - 1, -1, -1):
        row, below = best[i], best[i + 1]
        for j in range(len(new) - 1, -1, -1):
            row[j] = max(below[j + 1] + _likeness(old[i], new[j]), below[j], row[j + 1])
    i = j = 0
    while i < len(old) and j < len(new):
        likeness = _likeness(old[i], new[j])
        if likeness and best[i][j] == best[i + 1][j + 1] + likeness:
            yield old[i], new[j]
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1


def _is_unchanged(old: Node, new: Node) -> bool:
    return old.kind == new.kind and old.name == new.name


def _likeness(old: Node, new: Node) -> float:
    """How much speaks for two neighbours' being the same layer; 0 for nothing."""
    same_name = old.name == new.name
    if old.kind == new.kind:
        return 8 if same_name else 6
    if old.layer.type == new.layer.type:
        both_numbered = old.name.isdecimal() and new.name.isdecimal()
        return 4.5 if same_name else 4 if both_numbered else 1
    return 1.5 if same_name else 0


def _find_moved(old: Sequence[Node], new: Sequence[Node]) -> None:
    """Pair what disappeared in one place with what appeared, built alike, in another."""
    appeared: dict[int, list[Node]] = {}
    for node in new:
        if node.partner is None and all(one.partner is None for one in node.walk()):
            appeared.setdefault(node.kind, []).append(node)
    for node in old:
        if node.partner is None and all(one.partner is None for one in node.walk()):
            places = [one for one in appeared.get(node.kind, ()) if one.partner is None]
            # One activation is as good as another: only what has weights is recognised.
            if places and any(one.layer.parameters for one in node.walk()):
                named = [one for one in places if one.name == node.name]
                _pair(node, (named or places)[0])
