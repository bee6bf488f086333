"""What a training pass shows of units and signal: rectifiers that let nothing through, and how
strong the signal is from block to block."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from archcheck.evidence.probe import DeadUnits, ProbedOp, Series
from archcheck.tracing.probe.watch import SeenCall, Watch
from archcheck.tracing.record.recorder import tensors_in
from archcheck.tracing.record.spans import Spans

RECTIFIERS = frozenset(("relu", "relu6"))
_LEAST_BLOCKS = 4


class ActivityWatch(Watch):
    """Counts the units of every rectifier that ever let something through."""

    def __init__(self, spans: Spans) -> None:
        super().__init__(spans)
        self._places: dict[Any, ProbedOp] = {}
        self._alive: dict[Any, torch.Tensor] = {}
        self._seen: dict[Any, int] = {}
        self._greatest: dict[Any, float] = {}
        self._turn: dict[str, int] = {}

    def begin(self) -> None:
        """Start another pass: what lets something through in one pass is alive."""
        self._turn.clear()

    def saw(self, call: SeenCall) -> None:
        if call.name not in RECTIFIERS:
            return
        with torch.no_grad(), torch._C.DisableTorchFunction():
            output = call.outputs[0].detach()
            if output.dim() < 2 or output.numel() == 0:
                return
            # Channels are dimension 1 of images; elsewhere features are last.
            axis = 1 if output.dim() > 3 else output.dim() - 1
            others = [dim for dim in range(output.dim()) if dim != axis]
            most = output.amax(others)
            path = self.open[-1] if self.open else ""
            turn = self._turn[path] = self._turn.get(path, -1) + 1
            key = (path, turn, output.shape[axis])
            if key not in self._places:
                self._places[key] = call.place()
                self._alive[key] = most > 0
                self._seen[key] = 0
                self._greatest[key] = -float("inf")
            self._alive[key] |= most > 0
            self._seen[key] += output.numel() // output.shape[axis]
            if not bool(self._alive[key].all()):
                written = call.tensors[0] is call.outputs[0] or output is call.tensors[0]
                top = float(most.max()) if written else float(call.tensors[0].detach().max())
                self._greatest[key] = max(self._greatest[key], top)

    def dead(self) -> tuple[DeadUnits, ...]:
        """Return the rectifiers with units that let nothing through in any pass."""
        found = []
        for key, alive in self._alive.items():
            units = alive.numel()
            dead = units - int(alive.sum())
            if dead:
                found.append(
                    DeadUnits(self._places[key], units, dead, self._seen[key], self._greatest[key])
                )
        return tuple(found)


class SignalHooks:
    """Measures the signal behind each block of every chain of like modules of a model."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._handles: list[Any] = []
        self._forward: dict[str, float] = {}
        self._backward: dict[str, float] = {}
        self._chains = _chains(model)

    def __enter__(self) -> SignalHooks:
        modules = dict(self._model.named_modules())
        for path in (path for chain in self._chains.values() for path in chain):
            hook = modules[path].register_forward_hook(self._noting(path))
            self._handles.append(hook)
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _noting(self, path: str) -> Any:
        def note(module: nn.Module, args: Any, result: Any) -> None:
            tensor = next(tensors_in(result), None)
            if path in self._forward or tensor is None or not tensor.is_floating_point():
                return
            if tensor.dim() < 2 or tensor.shape[0] < 2 or tensor.numel() == 0:
                return
            with torch.no_grad(), torch._C.DisableTorchFunction():
                self._forward[path] = _deviation(tensor.detach())
            if tensor.requires_grad:
                hook = partial(self._gradient, path)
                tensor.register_hook(hook)  # type: ignore[no-untyped-call]

        return note

    def _gradient(self, path: str, gradient: torch.Tensor) -> None:
        self._backward[path] = float(gradient.detach().float().square().mean().sqrt())

    def series(self) -> tuple[Series, ...]:
        """Return the chains whose blocks were measured, in the order of their calls."""
        order = {path: place for place, path in enumerate(self._forward)}
        found = []
        for pattern, chain in self._chains.items():
            paths = sorted(
                (path for path in chain if path in self._backward), key=order.__getitem__
            )
            if len(paths) >= _LEAST_BLOCKS:
                forward = tuple(self._forward[path] for path in paths)
                backward = tuple(self._backward[path] for path in paths)
                found.append(Series(pattern, tuple(paths), forward, backward))
        return tuple(found)


def _deviation(tensor: torch.Tensor) -> float:
    """Return how far samples differ: the standard deviation over the first dimension."""
    return float(tensor.float().var(0).mean().sqrt())


def _chains(model: nn.Module) -> Mapping[str, list[str]]:
    """Return the modules of one class whose paths differ in numbers alone, with weights below."""
    chains: dict[tuple[str, type], list[str]] = {}
    for path, module in model.named_modules():
        pattern = re.sub(r"\d+", "*", path)
        weighted = next(module.parameters(), None) is not None
        if pattern != path and weighted and not isinstance(module, torch.jit.ScriptModule):
            chains.setdefault((pattern, type(module)), []).append(path)
    return {pattern: paths for (pattern, _), paths in chains.items() if len(paths) >= _LEAST_BLOCKS}
