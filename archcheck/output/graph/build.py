"""A trace as a graph to draw: the body of each module call, from the model's own inwards.

Equal bodies are one object: what a model repeats is made, written and laid out once. Parameters
and constants are no part of it, only the data that flows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from archcheck.core.finding import Finding, Location
from archcheck.evidence.dataflow import JOINS, indices
from archcheck.evidence.records import ModuleCall, Op
from archcheck.evidence.target_summary import TargetReport
from archcheck.output.graph.bodies import GIVEN, RESULT, Body, Edge, Idle, Kind, Node, folds
from archcheck.output.graph.captions import layer_settings, operator_settings
from archcheck.output.graph.marks import Marks
from archcheck.output.graph.same_calls import Likeness

if TYPE_CHECKING:
    from archcheck.core.target import Shape
    from archcheck.evidence.records import Module

_SIGNS: Mapping[str, Kind] = {
    **dict.fromkeys(("add", "sub", "rsub", "add_n"), "sum"),
    **dict.fromkeys(("mul", "div", "true_divide"), "product"),
    **dict.fromkeys(("cat", "concat", "concatenate", "hstack", "vstack", "stack"), "concatenation"),
}


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
        self._body_of_call: dict[int, Body] = {}
        self._macs = list(accumulate((op.macs for op in self.trace.ops), initial=0))
        self._likeness = Likeness(self.trace, self._inside, self._said, self._flow)
        self.root = self._body(self.trace.calls[0])

    @property
    def bodies(self) -> tuple[Body, ...]:
        """All different bodies; those inside a body before it."""
        return tuple(self._bodies.values())

    def way_to(self, finding: Finding) -> tuple[int, ...] | None:
        """The way from the root to the node that a finding is about: an index into `nodes` for
        each body on it. None where it is about none."""
        item = self.marks.operator_at(finding) or self.marks.call_of(finding)
        return None if item is None else self._way(item)

    @cached_property
    def way_to_failure(self) -> tuple[int, ...] | None:
        """The way to what failed first."""
        for failure in self.trace.failures:
            if failure.op is not None:
                return self._way(self.trace.ops[failure.op])
            if failure.call is not None:
                return self._way(self.trace.calls[failure.call])
        return None

    def _way(self, item: Op | ModuleCall) -> tuple[int, ...] | None:
        steps: list[int] = []
        holder = item.call if isinstance(item, Op) else item.parent
        while holder is not None:
            call = self.trace.calls[holder]
            items = self._items(call)
            if item not in items:
                return None
            steps.append(items.index(item))
            item, holder = call, call.parent
        way: list[int] = []
        body: Body | None = self.root
        for step in reversed(steps):
            # What a layer of a single operator runs is shown as the layer.
            if body is None:
                break
            way.append(step)
            body = body.nodes[step].body
        return tuple(way)

    # Bodies -------------------------------------------------------------------------------

    def _body(self, call: ModuleCall) -> Body:
        original = self._likeness.original(call)
        if original.index not in self._body_of_call:
            self._body_of_call[original.index] = self._made(original)
        return self._body_of_call[original.index]

    def _made(self, call: ModuleCall) -> Body:
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
                nodes.append(self._operator(item, reads))
                gives: Iterable[int] = item.outputs
            else:
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
            runs = tuple(folds(nodes, edges))
            known = self._bodies[key] = Body(key[0], edges, key[2], runs, key[3])
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
        return [
            item for item in items if isinstance(item, ModuleCall) or not self._keeps_books(item)
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
        body = self._body(call)
        failures = self.marks.failures_in(call)
        # The innermost call that a failure can be seen in shows it.
        is_open = len(body.nodes) > 1 or any(node.kind == "layer" for node in body.nodes)
        inside = is_open and any(node.trouble or node.holds_failure for node in body.nodes)
        prefix = f"{parent.path}." if parent.path else ""
        path = self._module(call).path
        return Node(
            kind="layer",
            name=call.path.removeprefix(prefix),
            inputs=self._shapes(reads),
            outputs=self._shapes(self._gives(call)),
            body=body if is_open or body.idle else None,
            absolute=not call.path.startswith(prefix),
            trouble=() if inside or not failures else self.marks.trouble(failures[0], path),
            holds_failure=inside,
            follows=not failures and not self.marks.after_failures.isdisjoint(reads),
            **self._said(call),
        )

    def _said(self, call: ModuleCall) -> dict[str, Any]:
        """What the node of a call says that does not hang on what ran around it."""
        module = self._module(call)
        return {
            "type": module.type,
            "settings": layer_settings(module),
            "parameters": self._layers[module.path].params,
            "macs": self._macs[call.end_op] - self._macs[call.first_op],
            "tied": tuple(
                f"{name.rpartition('.')[2]} is {self._first_names[name]}"
                for name in module.parameters
                if name in self._first_names
            ),
            "turn": module.calls.index(call.index) + 1,
            "turns": len(module.calls),
            "place": _readable(call.location),
            "built": self.target.places.get(module.path, _readable(module.constructed)),
            "codes": self.marks.codes_of(module.path),
        }

    @cached_property
    def _first_names(self) -> dict[str, str]:
        """The names of parameters that have another name before."""
        return {alias: one.name for one in self.trace.parameters for alias in one.aliases}

    def _inside(self, call: ModuleCall) -> object:
        return self._module(call).qualified_type, self._idle.get(call.path)

    def _flow(self, call: ModuleCall) -> list[int]:
        return [*self._inputs(call), *self._gives(call)]

    def _module(self, call: ModuleCall) -> Module:
        module = self.trace.module(call.path)
        assert module is not None, "a call is one of a module that the trace has"
        return module

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
