"""Which parameters get a gradient of exactly nothing, and the op that keeps it from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from archcheck.evidence.probe import NoGradient, ProbedOp
from archcheck.tracing.probe.nodes import Nodes, nodes_behind
from archcheck.tracing.probe.watch import SeenCall, Watch, storage_of
from archcheck.tracing.record.spans import Spans


def without_gradient(model: nn.Module) -> dict[str, bool]:
    """Return the trainable parameters without a gradient; True where there is none at all."""
    found: dict[str, bool] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad or parameter.numel() == 0:
            continue
        if parameter.grad is None:
            found[name] = True
        elif not bool(parameter.grad.count_nonzero()):
            found[name] = False
    return found


def nudge(model: nn.Module, generator: torch.Generator) -> None:
    """Move every number that gets a gradient a little, as a step of training would.

    What a zero-initialised gate or last layer holds back gets its gradient from then on.
    """
    with torch.no_grad():
        for parameter in model.parameters():
            gradient = parameter.grad
            if gradient is None or not parameter.is_floating_point() or gradient.is_sparse:
                continue
            noise = torch.randn(parameter.shape, generator=generator).to(parameter)
            size = max(0.02, 0.1 * float(parameter.double().square().mean().sqrt()))
            parameter.add_(size * noise * (gradient != 0))


def differentiable(outputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return the outputs that a gradient can start from."""
    return [t for t in outputs if t.requires_grad and (t.is_floating_point() or t.is_complex())]


def cotangents(outputs: Sequence[torch.Tensor], seed: int) -> list[torch.Tensor]:
    """Return the derivative of a random projection by each output."""
    generator = torch.Generator().manual_seed(1000 + seed)
    return [
        torch.randn(tensor.shape, generator=generator).to(tensor.dtype).reshape(tensor.shape)
        for tensor in outputs
    ]


class GradientWatch(Watch):
    """Follows candidate parameters through a pass, by the memory that depends on them.

    Args:
        candidates: The parameters that got no gradient, by name.
    """

    def __init__(self, spans: Spans, candidates: Mapping[str, nn.Parameter]) -> None:
        super().__init__(spans)
        self.nodes = Nodes()
        self._names = list(candidates)
        self._bits = {storage_of(p): 1 << place for place, p in enumerate(candidates.values())}
        self._alive: list[Any] = []
        # Memory read and written by each op, the candidates that a gradient would have gone to.
        self._ops: list[tuple[list[int], list[int], int]] = []

    def saw(self, call: SeenCall) -> None:
        self._alive.append((call.tensors, call.outputs))
        self.nodes.enter(call.outputs, call.place())
        read = [storage_of(tensor) for tensor in call.tensors]
        written = [storage_of(tensor) for tensor in call.outputs]
        # What an expert that got no sample gives is empty, and depends on nothing.
        empty = any(tensor.numel() == 0 for tensor in (*call.tensors, *call.outputs))
        bits = 0 if empty else self._of(read)
        cut = 0
        if not any(tensor.requires_grad for tensor in call.outputs):
            cut = self._of(s for s, t in zip(read, call.tensors, strict=True) if t.requires_grad)
        for storage in written:
            self._bits[storage] = self._bits.get(storage, 0) | bits
        self._ops.append((read, written, cut))

    def _of(self, storages: Any) -> int:
        bits = 0
        for storage in storages:
            bits |= self._bits.get(storage, 0)
        return bits

    def reaching(self, outputs: Sequence[torch.Tensor]) -> set[str]:
        """Return the candidates that these outputs were computed from."""
        bits = self._of(map(storage_of, outputs))
        return {name for place, name in enumerate(self._names) if bits >> place & 1}

    def cuts(self, outputs: Sequence[torch.Tensor]) -> dict[str, ProbedOp]:
        """Return the first op on the way to these outputs that no gradient passes, for each."""
        live = set(map(storage_of, outputs))
        on_the_way: list[int] = []
        for index in range(len(self._ops) - 1, -1, -1):
            read, written, _ = self._ops[index]
            if not live.isdisjoint(written):
                live.update(read)
                on_the_way.append(index)
        found: dict[str, ProbedOp] = {}
        for index in reversed(on_the_way):
            cut = self._ops[index][2]
            for place, name in enumerate(self._names):
                if cut >> place & 1:
                    found.setdefault(name, self.nodes.places[index])
        return found


class ZeroBarriers:
    """The nodes that get a gradient and hand only zeros down, noted while a backward pass runs."""

    def __init__(self, outputs: Sequence[torch.Tensor]) -> None:
        self._outputs = outputs
        self._handles: list[Any] = []
        # For each node that got a gradient, the edges that it handed nothing down.
        self._closed: dict[Any, frozenset[int]] = {}

    def __enter__(self) -> ZeroBarriers:
        for node in nodes_behind(self._outputs):
            if not hasattr(node, "variable"):
                self._handles.append(node.register_hook(self._noting(node)))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _noting(self, node: Any) -> Any:
        def note(made: Sequence[Any], given: Sequence[Any]) -> None:
            if any(map(_is_something, given)):
                closed = (place for place, one in enumerate(made) if not _is_something(one))
                self._closed[node] = frozenset(closed)

        return note

    def of(self, nodes: Nodes) -> Iterator[tuple[nn.Parameter, ProbedOp]]:
        """Yield each parameter behind a closed edge with the op, the last ops first."""
        for node in sorted(self._closed, key=nodes.index_of, reverse=True):
            place = nodes.place_of(node)
            edges = node.next_functions
            behind = [edges[edge][0] for edge in self._closed[node] if edge < len(edges)]
            if place is not None and any(behind):
                for parameter in _parameters_behind(behind):
                    yield parameter, place


def _is_something(gradient: Any) -> bool:
    return isinstance(gradient, torch.Tensor) and bool(gradient.count_nonzero())


def _parameters_behind(nodes: Sequence[Any]) -> Iterator[nn.Parameter]:
    waiting, seen = list(nodes), set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        waiting += [below for below, _ in node.next_functions]


def described(
    survivors: Mapping[str, bool],
    watch: GradientWatch,
    outputs: Sequence[torch.Tensor],
    barriers: Mapping[int, ProbedOp],
    parameters: Mapping[str, nn.Parameter],
) -> tuple[NoGradient, ...]:
    """Return what was found of each parameter without a gradient.

    Args:
        barriers: The op that hands nothing down, by the `id` of the parameter.
    """
    reaching, cuts = watch.reaching(outputs), watch.cuts(outputs)
    return tuple(
        NoGradient(
            name,
            missing,
            name in reaching,
            cuts.get(name) if missing else barriers.get(id(parameters[name])),
        )
        for name, missing in survivors.items()
    )
