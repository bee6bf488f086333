"""What ran in each module call, as a graph to draw: layers, operators, joins and shapes.

A `Body` is the inside of one call, and equal bodies are one object: what a model repeats is made,
written and laid out once. Parameters and constants are no part of it, only the data that flows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Literal, TypeAlias

from archcheck.evidence import ModuleCall, Op, Shape
from archcheck.finding import Finding, Location
from archcheck.output.marks import Marks
from archcheck.output.settings import layer_settings, operator_settings
from archcheck.report import TargetReport
from archcheck.wiring.dataflow import JOINS, indices

Kind: TypeAlias = Literal["layer", "operator", "sum", "product", "concatenation"]

# The ends of an edge that are no node: `GIVEN - n` is the body's n-th input.
RESULT = -1
GIVEN = -2

_SIGNS: Mapping[str, Kind] = {
    **dict.fromkeys(("add", "sub", "rsub", "add_n"), "sum"),
    **dict.fromkeys(("mul", "div", "true_divide"), "product"),
    **dict.fromkeys(("cat", "concat", "concatenate", "hstack", "vstack", "stack"), "concatenation"),
}
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


class Graph:
    """The graph of one target; `root` is the body of the model's own call.

    Raises:
        ValueError: The pass never started.
    """

    def __init__(self, target: TargetReport, findings: Iterable[Finding]) -> None:
        if not target.trace.calls:
            raise ValueError(f"{target.name}: the forward pass never started")
        self.target = target
        self.trace = target.trace
        self.marks = Marks(target, findings)
        self._layers = {layer.path: layer for layer in target.modules}
        self._bodies: dict[object, Body] = {}
        self._macs = list(accumulate((op.macs for op in self.trace.ops), initial=0))
        self._op_steps: dict[int, int] = {}
        self._call_steps: dict[int, int] = {}
        self.root = self._body(self.trace.calls[0])

    @property
    def bodies(self) -> tuple[Body, ...]:
        """All different bodies; those inside a body before it."""
        return tuple(self._bodies.values())

    def way_to(self, finding: Finding) -> tuple[int, ...] | None:
        """The way from the root to the node that a finding is about: an index into `nodes` for
        each body on it. None where it is about none."""
        op = self.marks.operator_at(finding)
        if op is not None:
            return self._way(op.call, self._op_steps.get(op.index))
        call = self.marks.call_of(finding)
        return None if call is None else self._way_to_call(call)

    @cached_property
    def way_to_failure(self) -> tuple[int, ...] | None:
        """The way to what failed first."""
        for failure in self.trace.failures:
            if failure.op is not None:
                return self._way(self.trace.ops[failure.op].call, self._op_steps.get(failure.op))
            if failure.call is not None:
                return self._way_to_call(self.trace.calls[failure.call])
        return None

    def _way_to_call(self, call: ModuleCall) -> tuple[int, ...] | None:
        return self._way(call.parent, self._call_steps.get(call.index))

    def _way(self, call: int | None, step: int | None) -> tuple[int, ...] | None:
        steps = [step]
        while call is not None and self.trace.calls[call].parent is not None:
            steps.append(self._call_steps.get(call))
            call = self.trace.calls[call].parent
        way: list[int] = []
        body: Body | None = self.root
        for one in reversed(steps):
            # What a layer of a single operator runs is shown as the layer.
            if body is None:
                break
            if one is None:
                return None
            way.append(one)
            body = body.nodes[one].body
        return tuple(way)

    # Bodies -------------------------------------------------------------------------------

    def _body(self, call: ModuleCall) -> Body:
        nodes: list[Node] = []
        givers: dict[int, int] = {}
        given: dict[int, int] = {}
        flows: dict[tuple[int, int], dict[int, None]] = {}

        def draw(target: int, values: Iterable[int]) -> None:
            for value in values:
                source = givers.get(value)
                if source is None:
                    source = GIVEN - given.setdefault(value, len(given))
                flows.setdefault((source, target), {})[value] = None

        for value in self._inputs(call):
            given.setdefault(value, len(given))
        for item in self._items(call):
            number = len(nodes)
            reads = self._reads(item)
            if isinstance(item, Op):
                self._op_steps[item.index] = number
                nodes.append(self._operator(item, reads))
                gives: Iterable[int] = item.outputs
            else:
                self._call_steps[item.index] = number
                nodes.append(self._layer(item, call, reads))
                gives = self._gives(item)
            draw(number, reads)
            for value in gives:
                givers[value] = number
        draw(RESULT, self._gives(call))

        names = self._argument_names(call)
        edges = tuple(self._edge(ends, values) for ends, values in flows.items())
        key = (
            tuple(nodes),
            edges,
            tuple(names.get(value, "") for value in given),
            self._idle.get(call.path, ()),
        )
        known = self._bodies.get(key)
        if known is None:
            folds = tuple(_folds(nodes, edges))
            known = self._bodies[key] = Body(key[0], edges, key[2], folds, key[3])
        return known

    def _items(self, call: ModuleCall) -> list[Op | ModuleCall]:
        """The calls and operators that ran directly in a call, in order."""
        items: list[Op | ModuleCall] = []
        position = call.first_op
        ops = self.trace.ops
        for below in self._children.get(call.index, ()):
            items += ops[position : below.first_op]
            items.append(below)
            position = max(position, below.end_op)
        items += ops[position : call.end_op]
        # An operator that ran in no module at all stands in none of the bodies.
        return [
            item
            for item in items
            if isinstance(item, ModuleCall)
            or (item.call in (call.index, None) and not self._keeps_books(item))
        ]

    @cached_property
    def _children(self) -> dict[int, list[ModuleCall]]:
        found: dict[int, list[ModuleCall]] = {}
        for call in self.trace.calls:
            if call.parent is not None:
                found.setdefault(call.parent, []).append(call)
        return found

    def _keeps_books(self, op: Op) -> bool:
        """Whether an op only writes into a buffer: a norm counts the batches that it has seen."""
        return op.in_place and len(op.inputs) == 1 and op.inputs[0] not in self._data

    @cached_property
    def _data(self) -> frozenset[int]:
        """The values that flow: neither parameters nor buffers nor constants."""
        return frozenset(
            value.index for value in self.trace.values if value.kind in ("input", "computed")
        )

    # What goes in and out -----------------------------------------------------------------

    @cached_property
    def _crossings(self) -> tuple[dict[int, dict[int, None]], dict[int, dict[int, None]]]:
        """For each call the values from outside that ops in it read, and the values from inside
        that ops after it read."""
        reads: dict[int, dict[int, None]] = {}
        gives: dict[int, dict[int, None]] = {}
        calls, ops, values, data = self.trace.calls, self.trace.ops, self.trace.values, self._data
        for op in ops:
            for value in op.inputs:
                if value not in data:
                    continue
                producer = values[value].producer
                made = -1 if producer is None else producer
                call = op.call
                while call is not None and made < calls[call].first_op:
                    reads.setdefault(call, {})[value] = None
                    call = calls[call].parent
                call = None if producer is None else ops[producer].call
                while call is not None and op.index >= calls[call].end_op:
                    gives.setdefault(call, {})[value] = None
                    call = calls[call].parent
        return reads, gives

    def _inputs(self, call: ModuleCall) -> list[int]:
        handed = (index for index in indices(dict(call.inputs)) if index in self._data)
        return list(dict.fromkeys((*handed, *self._crossings[0].get(call.index, ()))))

    def _reads(self, item: Op | ModuleCall) -> list[int]:
        if isinstance(item, ModuleCall):
            return self._inputs(item)
        return [value for value in dict.fromkeys(item.inputs) if value in self._data]

    def _gives(self, call: ModuleCall) -> list[int]:
        returned = (index for index in indices(call.outputs) if index in self._data)
        return list(dict.fromkeys((*returned, *self._crossings[1].get(call.index, ()))))

    def _argument_names(self, call: ModuleCall) -> dict[int, str]:
        names: dict[int, str] = {}
        for name, nest in call.inputs.items():
            for value in indices(nest):
                names.setdefault(value, name)
        return names

    def _edge(self, ends: tuple[int, int], values: Iterable[int]) -> Edge:
        known = [self.trace.values[value] for value in values]
        guessed = any(value.index in self.marks.after_failures for value in known)
        return Edge(*ends, tuple(value.shape for value in known), guessed)

    # Nodes --------------------------------------------------------------------------------

    def _operator(self, op: Op, reads: list[int]) -> Node:
        failure = self.marks.failure_of(op)
        return Node(
            kind=self._kind(op, reads),
            name=op.name,
            type=op.function,
            inputs=self._shapes(reads),
            outputs=self._shapes(op.outputs),
            settings=operator_settings(op),
            macs=op.macs,
            place=_readable(op.location),
            trouble=() if failure is None else self.marks.trouble(failure, None),
            follows=failure is None and not self.marks.after_failures.isdisjoint(reads),
            codes=self.marks.codes_at(op.location),
        )

    def _kind(self, op: Op, reads: list[int]) -> Kind:
        fed = [value for value in reads if value in self._fed]
        if op.name not in JOINS or len(fed) < 2:
            return "operator"
        return _SIGNS.get(op.name, "operator")

    @cached_property
    def _fed(self) -> frozenset[int]:
        return self.trace.dataflow.fed

    def _layer(self, call: ModuleCall, parent: ModuleCall, reads: list[int]) -> Node:
        module = self.trace.module(call.path)
        assert module is not None, "a call is one of a module that the trace has"
        layer = self._layers[module.path]
        body = self._body(call)
        failures = self.marks.failures_in(call)
        # The innermost call that a failure can be seen in shows it.
        is_open = len(body.nodes) > 1 or any(node.kind == "layer" for node in body.nodes)
        inside = is_open and any(node.trouble or node.holds_failure for node in body.nodes)
        prefix = f"{parent.path}." if parent.path else ""
        return Node(
            kind="layer",
            name=call.path.removeprefix(prefix),
            type=module.type,
            inputs=self._shapes(reads),
            outputs=self._shapes(self._gives(call)),
            settings=layer_settings(module),
            body=body if is_open or body.idle else None,
            absolute=not call.path.startswith(prefix),
            parameters=layer.params,
            macs=self._macs[call.end_op] - self._macs[call.first_op],
            turn=module.calls.index(call.index) + 1,
            turns=len(module.calls),
            place=_readable(call.location),
            built=self.target.places.get(module.path, _readable(module.constructed)),
            trouble=() if inside or not failures else self.marks.trouble(failures[0], module.path),
            holds_failure=inside,
            follows=not failures and not self.marks.after_failures.isdisjoint(reads),
            codes=self.marks.codes_of(module.path),
        )

    def _shapes(self, values: Iterable[int]) -> tuple[Shape, ...]:
        return tuple(self.trace.values[value].shape for value in values)

    @cached_property
    def _idle(self) -> dict[str, tuple[Idle, ...]]:
        """For each module that ran, those below it that did not, without what is below these."""
        layers = self.target.modules
        reached = {layer.path for layer in layers if layer.used}
        for path in tuple(reached):
            while path:
                path = path.rpartition(".")[0]
                reached.add(path)
        found: dict[str, tuple[Idle, ...]] = {}
        for layer in layers:
            if layer.path in reached or layer.parent not in reached:
                continue
            holder = layer.parent
            while holder and not (holder in self._layers and self._layers[holder].calls):
                holder = holder.rpartition(".")[0]
            name = layer.path.removeprefix(f"{holder}.")
            found[holder] = (*found.get(holder, ()), Idle(name, layer.type, layer.params))
        return found


def _readable(location: Location | None) -> Location | None:
    """Positions of an operator are those of compiled text: in a document they name other lines."""
    return location if location is not None and location.path.endswith(".py") else None


def _folds(nodes: Sequence[Node], edges: Sequence[Edge]) -> Iterator[tuple[int, int]]:
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
