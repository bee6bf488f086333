"""Which op each node of autograd's graph belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from archcheck.evidence.probe import ProbedOp


class Nodes:
    """The nodes of a graph, by the op that made them; held alive, so that none takes another's
    place."""

    def __init__(self) -> None:
        self._op_of: dict[Any, int] = {}
        self.places: list[ProbedOp] = []

    def enter(self, outputs: Sequence[torch.Tensor], place: ProbedOp) -> None:
        """Take the nodes behind these tensors that no earlier op has made for this op's."""
        index = len(self.places)
        self.places.append(place)
        waiting: list[Any] = [t.grad_fn for t in outputs if t.grad_fn is not None]
        while waiting:
            node = waiting.pop()
            if node is None or node in self._op_of or hasattr(node, "variable"):
                continue
            self._op_of[node] = index
            waiting += [below for below, _ in node.next_functions]

    def index_of(self, node: Any) -> int:
        """Return how far in the pass the op of a node is; -1 where it belongs to none."""
        return self._op_of.get(node, -1)

    def place_of(self, node: Any) -> ProbedOp | None:
        """Return the op of a node."""
        index = self._op_of.get(node)
        return None if index is None else self.places[index]


def nodes_behind(outputs: Sequence[torch.Tensor]) -> Iterator[Any]:
    """Yield every node of the graph behind these tensors once."""
    waiting: list[Any] = [t.grad_fn for t in outputs if t.grad_fn is not None]
    seen: set[Any] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting += [below for below, _ in node.next_functions]
