"""Chains: layers and functions that pass one value on to the next."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING, Any, Literal

from archcheck.core.finding import Location
from archcheck.python.flow.flow import Flow
from archcheck.python.flow.steps import Step, operation_of
from archcheck.python.modules.layer import Layer
from archcheck.python.modules.layers import build, build_bound
from archcheck.python.names.unknown import UNKNOWN, Unknown

if TYPE_CHECKING:
    from archcheck.python.file import SourceFile
    from archcheck.python.modules.module_class import ModuleClass

_LINKED = frozenset({"layer", "function", "method"})


class Link:
    """One member of a chain: a layer, or a function or method that is applied.

    Attributes:
        layer: The layer; None for a function, a method, or what is not known.
        step: Where it is applied, in a forward; of what a Sequential holds, where that is called.
            None in a chain that is no forward.
        contained: Whether it stands in a Sequential.
    """

    __slots__ = ("contained", "layer", "step")

    def __init__(self, layer: Layer | None, step: Step | None, contained: bool = False) -> None:
        self.layer = layer
        self.step = step
        self.contained = contained

    def __repr__(self) -> str:
        return f"Link({self.operation or self.name})"

    @property
    def operation(self) -> str:
        """What it computes: `linear`, `relu`, `softmax`… (see `Step.operation`); "" if unknown."""
        if self.layer is not None:
            return operation_of(self.layer)
        return self.step.operation if self.step is not None else ""

    @property
    def name(self) -> str:
        """As a message should call it: `bn1`, `Linear`, `F.softmax`."""
        if self.layer is not None:
            contained = self.contained or self.step is None
            attribute = self.layer.name if contained else self.step.attribute  # type: ignore[union-attr]
            return attribute if attribute and not attribute.isdigit() else self.layer.class_name
        if self.step is None:
            return ""
        return self.step.name.replace("torch.nn.functional.", "F.")

    def is_a(self, *names: str) -> bool:
        """See `Layer.is_a`."""
        return self.layer is not None and self.layer.is_a(*names)

    def argument(self, name: str, position: int | None = None) -> Any | Unknown | None:
        """A folded argument: of the layer's constructor, or of the call of the function."""
        if self.layer is not None:
            return self.layer.argument(name)
        return self.step.argument(name, position) if self.step is not None else UNKNOWN

    @property
    def location(self) -> Location:
        """Where it is applied: the call in forward, or the constructor in a container."""
        if self.layer is not None and (self.contained or self.step is None):
            return self.layer.location
        assert self.step is not None
        return self.step.location


class Chain:
    """Links in the order in which one value goes through them.

    A value that several read ends one chain and begins the next ones, so that each pair of
    neighbours is in one chain only.

    Attributes:
        links: At least one.
        origin: `container` (a Sequential, nested ones taken apart) or `forward`.
        module: The class whose forward it is, or that holds the container, if any.
        returned: Whether what comes out at its end is what forward (or the container) returns.
    """

    def __init__(
        self,
        links: tuple[Link, ...],
        origin: Literal["container", "forward"],
        module: ModuleClass | None,
        returned: bool,
    ) -> None:
        self.links = links
        self.origin = origin
        self.module = module
        self.returned = returned

    def __repr__(self) -> str:
        return f"Chain({' -> '.join(link.operation or '?' for link in self.links)})"

    def pairs(self) -> Iterator[tuple[Link, Link]]:
        """Each link with the next one."""
        return pairwise(self.links)


def chains_of(file: SourceFile) -> Iterator[Chain]:
    """See `SourceFile.chains`."""
    claimed: set[ast.expr] = set()
    for module in file.modules:
        for method in module.computing:
            if method.owner is module.definition:
                flow = module.flow(method)
                if flow is not None:
                    yield from _flow_chains(module, flow, claimed)
    for layer, holder in _containers(file):
        # What a forward calls is part of the forward's chain.
        if layer.node not in claimed and layer.file is file:
            for inner in layer.walk(0 if layer.children is UNKNOWN else 8):
                claimed.add(inner.node)
            yield from _container_chains(layer, holder)


def _containers(file: SourceFile) -> Iterator[tuple[Layer, ModuleClass | None]]:
    """Every Sequential of a file, the ones that know their additions first."""
    for module in file.modules:
        for submodule in module.submodules:
            for layer in submodule.alternatives:
                if layer.is_sequential:
                    yield layer, module
    calls = file.calls_to("torch.nn.Sequential")
    for call in calls:
        node = call.statement.node
        if isinstance(node, ast.Assign) and node.value is call.node:
            for target in node.targets:
                name = target.id if isinstance(target, ast.Name) else ""
                for binding in call.scope.bindings.get(name, ()):
                    if binding.node is target:
                        for layer in build_bound(binding):
                            yield layer, None
    for call in calls:
        for layer in build(call.node, call.statement):
            yield layer, None


def _container_chains(layer: Layer, module: ModuleClass | None) -> Iterator[Chain]:
    """The chain of a Sequential, broken where a child is not known."""
    links: list[Link] = []
    for child in _flattened(layer):
        if child is None:
            if links:
                yield Chain(tuple(links), "container", module, False)
            links = []
        else:
            links.append(Link(child, None, True))
    if links:
        yield Chain(tuple(links), "container", module, True)


def _flattened(layer: Layer) -> Iterator[Layer | None]:
    """What a Sequential applies, one after another; None where that is not known."""
    if layer.children is UNKNOWN:
        yield None
        return
    for child, following in zip_longest(layer.children, layer.children[1:]):
        if child.is_sequential:
            yield from _flattened(child)
        else:
            yield child if child.is_known else None
        # After the last layer of a loop's turn comes the first of the next turn, or what follows
        # the loop: no neighbour is certain.
        in_turn = child.turn is not None and following is not None and following.turn is child.turn
        if child.repeated and not in_turn:
            yield None


def _flow_chains(module: ModuleClass, flow: Flow, claimed: set[ast.expr]) -> Iterator[Chain]:
    returned = {step for step, _ in flow.returns}
    for step in flow.steps:
        source = step.source
        linked = source is not None and source.kind in _LINKED
        begins = source is None or not linked or len(source.readers) > 1
        if step.kind not in _LINKED or step.describes or not begins:
            continue
        path = [source, step] if linked and source is not None else [step]
        while len(path[-1].readers) == 1 and path[-1] not in returned:
            following = path[-1].readers[0]
            if following.source is not path[-1]:
                break
            path.append(following)
        links = [link for item in path for link in _links(item, claimed)]
        yield Chain(tuple(links), "forward", module, path[-1] in returned)


def _links(step: Step, claimed: set[ast.expr]) -> Iterator[Link]:
    layer = step.layer
    if layer is not None and layer.is_sequential:
        claimed.add(layer.node)
        for child in _flattened(layer):
            if child is not None:
                claimed.add(child.node)
            yield Link(child, step, True)
    else:
        yield Link(layer, step)
