"""What a model does when it is really run: outputs, parameters, gradients, or the exception."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from archcheck.core.config import Model


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One run of a model, as text: what two runs are held against each other by.

    Attributes:
        error: The exception, if the run raised.
        outputs: Shapes and values.
        state: Parameters and buffers, with whether they are trained.
        gradients: After a backward pass from the sum of the outputs.
    """

    error: str = ""
    outputs: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    gradients: tuple[str, ...] = ()

    def differs_by(self, other: Behaviour) -> str:
        """In which respect it is another one; nothing where it is the same."""
        if self.error != other.error:
            return f"raises {self.error}" if self.error else f"raises no {other.error}"
        for name in ("state", "outputs", "gradients"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                changed = [one for one in (*mine, *theirs) if one not in mine or one not in theirs]
                first = changed[0].partition(":")[0] if changed else "their order"
                return f"other {name}: {first}" + (" …" if len(changed) > 1 else "")
        return ""


def behaviour(text: str, model: Model, name: str) -> Behaviour:
    """Run a model of a file's text on fixed random numbers, weights included."""
    namespace: dict[str, Any] = {"__name__": "mutant"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(text, "<mutant>", "exec"), namespace)
            return _run(namespace[name], model)
    except Exception as error:
        return Behaviour(f"{type(error).__name__}: {' '.join(str(error).split())[:90]}")


def _run(make: Any, model: Model) -> Behaviour:
    torch.manual_seed(1)
    net = make()
    net.train(model.mode == "train")
    torch.manual_seed(2)
    given, named = _inputs(model)
    torch.manual_seed(3)
    outputs = net(*given, **named)
    tensors = list(_tensors(outputs))
    if not tensors:
        return Behaviour(f"TypeError: the output is {type(outputs).__name__}")
    total = sum(_weighed(one) for one in tensors if one.is_floating_point())
    if isinstance(total, torch.Tensor) and total.requires_grad:
        total.backward()
    return Behaviour(
        outputs=tuple(f"{tuple(one.shape)}: {_rounded(one)}" for one in tensors),
        state=(
            *(f"{key}: {tuple(p.shape)} {p.requires_grad}" for key, p in net.named_parameters()),
            *(f"{key}: {tuple(buffer.shape)}" for key, buffer in net.named_buffers()),
        ),
        gradients=tuple(
            f"{key}: {None if p.grad is None else _rounded(p.grad)}"
            for key, p in net.named_parameters()
        ),
    )


def _inputs(model: Model) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    given, named = [], {}
    for text in model.inputs:
        name, _, rest = text.rpartition("=")
        sizes, _, dtype = rest.partition(":")
        shape = [int(size) for size in sizes.split(",")]
        tensor = torch.randint(0, 10, shape) if dtype else torch.randn(shape)
        if name:
            named[name] = tensor
        else:
            given.append(tensor)
    return given, named


def _tensors(nest: Any) -> Iterator[torch.Tensor]:
    if isinstance(nest, torch.Tensor):
        yield nest
    elif isinstance(nest, dict):
        for item in nest.values():
            yield from _tensors(item)
    elif isinstance(nest, list | tuple):
        for item in nest:
            yield from _tensors(item)


def _weighed(output: torch.Tensor) -> torch.Tensor:
    """A sum in which every entry counts differently: those of a softmax add up to a constant."""
    return (output * torch.linspace(0.5, 1.5, output.numel()).view(output.shape)).sum()


def _rounded(tensor: torch.Tensor) -> list[float]:
    return [round(value, 4) for value in tensor.detach().double().flatten()[:64].tolist()]
