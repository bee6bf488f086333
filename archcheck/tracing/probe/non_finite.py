"""Where numbers that are none come from, in the forward pass and in its derivative."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import nn

from archcheck.evidence.probe import NonFinite
from archcheck.tracing.input_tensors import leaves
from archcheck.tracing.probe.nodes import Nodes, nodes_behind
from archcheck.tracing.probe.watch import SeenCall, Watch, is_float, storage_of
from archcheck.tracing.record.spans import Spans

# What writes an infinity that the code wrote down itself, or copies it: a mask.
_WRITES_CONSTANTS = frozenset(
    "masked_fill full full_like new_full fill setitem triu tril tensor where index_fill".split()
)


def first_non_finite(outputs: Sequence[torch.Tensor], model: nn.Module) -> NonFinite | None:
    """Return the first output, or else gradient, that holds a NaN or an infinity."""
    named = [(f"output {place}", t, False) for place, t in enumerate(outputs)]
    gradients = ((n, p.grad, True) for n, p in model.named_parameters() if p.grad is not None)
    for name, tensor, is_gradient in (*named, *gradients):
        kind = non_finite_kind(tensor)
        if kind is not None:
            return NonFinite(kind, "gradient" if is_gradient else "output", name)
    return None


def non_finite_kind(tensor: torch.Tensor) -> Literal["nan", "inf"] | None:
    """Return the worst that a tensor holds, None where all of it is finite."""
    if not is_float(tensor) or tensor.numel() == 0:
        return None
    values = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    if math.isfinite(float(values.detach().sum())):
        return None
    if bool(values.isnan().any()):
        return "nan"
    return "inf" if bool(values.isinf().any()) else None


class FiniteWatch(Watch):
    """Finds the first op that makes a NaN or an infinity of finite numbers.

    Attributes:
        nan, infinity: What it made, and where; an infinity that the code wrote down is none.
        tainted: The memory that depends on that infinity.
    """

    def __init__(self, spans: Spans) -> None:
        super().__init__(spans)
        self.nodes = Nodes()
        self.nan: NonFinite | None = None
        self.infinity: NonFinite | None = None
        self.tainted: set[int] = set()
        self._alive: list[Any] = []

    def saw(self, call: SeenCall) -> None:
        with torch.no_grad(), torch._C.DisableTorchFunction():
            self._alive.append(call.outputs)
            self.nodes.enter(call.outputs, call.place())
            given = {non_finite_kind(tensor) for tensor in call.tensors}
            made = {non_finite_kind(tensor) for tensor in call.outputs}
            if self.nan is None and "nan" in made and "nan" not in given:
                self.nan = _described(call, "nan")
            if "inf" in made and given <= {None} and not _is_written_down(call):
                self.infinity = self.infinity or _described(call, "inf")
                self.tainted.update(map(storage_of, call.outputs))
            elif any(storage_of(tensor) in self.tainted for tensor in call.tensors):
                self.tainted.update(map(storage_of, call.outputs))

    def origin(self, outputs: Sequence[torch.Tensor]) -> NonFinite | None:
        """Return what is wrong with the outputs of the pass, and where it began."""
        held = {non_finite_kind(tensor) for tensor in outputs}
        tainted = any(
            storage_of(tensor) in self.tainted and non_finite_kind(tensor) for tensor in outputs
        )
        if "nan" in held:
            # The infinity came first, and was the cause.
            return self.infinity if tainted and self.infinity is not None else self.nan
        return self.infinity if tainted else None


def _described(call: SeenCall, kind: Literal["nan", "inf"]) -> NonFinite:
    bad = [t.isnan() if kind == "nan" else t.isinf() for t in call.outputs if is_float(t)]
    finite = [
        tensor[tensor.isfinite()].double()
        for tensor in call.tensors
        if tensor.is_floating_point() and tensor.numel()
    ]
    finite = [values for values in finite if values.numel()]
    return NonFinite(
        kind,
        "output",
        "",
        call.place(),
        count=sum(int(mask.sum()) for mask in bad),
        total=sum(mask.numel() for mask in bad),
        least=min((float(values.min()) for values in finite), default=None),
        greatest=max((float(values.max()) for values in finite), default=None),
        all_masked="softmax" in call.name and _has_masked_row(call),
    )


def _has_masked_row(call: SeenCall) -> bool:
    """Whether all that a softmax is taken over is -inf, somewhere."""
    dim = call.arguments().get("dim")
    scores = call.tensors[0]
    return isinstance(dim, int) and bool((scores == -math.inf).all(dim).any())


def _is_written_down(call: SeenCall) -> bool:
    """Whether the infinity stands in the code, or marks what a mask of zeros and ones hides."""
    if call.name in _WRITES_CONSTANTS:
        return True
    arguments: Mapping[str, Any] = call.arguments()
    if any(isinstance(leaf, float) and math.isinf(leaf) for leaf in leaves(dict(arguments))):
        return True
    if call.name == "log" and call.tensors:
        mask = call.tensors[0]
        return not mask.requires_grad and bool(((mask == 0) | (mask == 1)).all())
    return False


def origin_in_backward(
    outputs: Sequence[torch.Tensor], cotangents: Sequence[torch.Tensor], nodes: Nodes
) -> NonFinite | None:
    """Run the backward pass and return the first op whose derivative is not finite."""
    found: list[Any] = []
    with _hooked(outputs, found):
        torch.autograd.backward(list(outputs), list(cotangents))
    for node, kind in found:
        place = nodes.place_of(node)
        if place is not None:
            return NonFinite(kind, "gradient", "", place, backward=True)
    return None


class _hooked:
    """Notes the nodes that make something else of finite gradients, in the order of running."""

    def __init__(self, outputs: Sequence[torch.Tensor], found: list[Any]) -> None:
        self._outputs = outputs
        self._found = found
        self._handles: list[Any] = []

    def __enter__(self) -> None:
        for node in nodes_behind(self._outputs):
            if not hasattr(node, "variable"):
                self._handles.append(node.register_hook(self._noting(node)))

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _noting(self, node: Any) -> Any:
        def note(made: Sequence[Any], given: Sequence[Any]) -> None:
            kinds = {non_finite_kind(one) for one in _tensors(made)}
            if kinds - {None} and not any(map(non_finite_kind, _tensors(given))):
                self._found.append((node, "nan" if "nan" in kinds else "inf"))

        return note


def _tensors(values: Sequence[Any]) -> Iterator[torch.Tensor]:
    return (value for value in values if isinstance(value, torch.Tensor))


def with_end(origin: NonFinite, end: NonFinite) -> NonFinite:
    """Return what began there, with where it is seen at the end."""
    return replace(origin, seen=end.seen, name=end.name)
