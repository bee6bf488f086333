"""Runs the loss and the backward pass of a forward pass that was recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from archcheck.tracing.costs.counts import kernel_costs
from archcheck.tracing.patching.patches import without_slow_imports
from archcheck.tracing.patching.shortcuts import answer
from archcheck.tracing.patching.step_shortcuts import step_answer
from archcheck.tracing.record.recorder import tensors_in
from archcheck.tracing.step.recorder import StepRecorder


class StepMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Takes down the kernels that run outside of the recorded forward pass."""

    def __init__(self, step: StepRecorder, shortcuts: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._step = step
        self._shortcuts = shortcuts
        self._paused = False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Kernels in this block are the tool's own."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._paused:
            return func(*args, **kwargs)
        result = None
        if self._shortcuts:
            result = answer(func, args, kwargs)
            if result is None:
                result = step_answer(func, args, kwargs)
        if result is None:
            result = func(*args, **kwargs)
        flops = kernel_costs(func, args, kwargs, result).flops
        self._step.kernel(func, args, kwargs, result, None, flops)
        return result


def run_backward(
    model: nn.Module,
    result: Any,
    step: StepRecorder,
    *,
    loss: str | None,
    shortcuts: bool,
    around: AbstractContextManager[Any] | None = None,
) -> tuple[str, str | None]:
    """Differentiate the result of a forward pass; the gradients are taken down and dropped.

    Args:
        loss: One of the names of `--loss`.
        around: What the tensors need around them.

    Returns:
        What was differentiated, and why nothing was, each in words.

    Raises:
        Exception: Whatever the backward pass raises.
    """
    text, outputs = _differentiable(result)
    if not outputs:
        return "", "no output of the model depends on a parameter that takes a gradient"
    try:
        with ExitStack() as stack:
            stack.enter_context(without_slow_imports())
            stack.enter_context(around or nullcontext())
            stack.enter_context(StepMode(step, shortcuts))
            step.phase = "loss"
            text, value = _loss(text, outputs, loss)
            step.phase = "backward"
            torch.autograd.backward(value)
        step.end(_gradients(model))
        return text, None
    finally:
        for parameter in model.parameters():
            parameter.grad = None


def _gradients(model: nn.Module) -> Mapping[str, torch.Tensor]:
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def _differentiable(result: Any) -> tuple[str, list[torch.Tensor]]:
    """The tensors of a result that a training loop would differentiate."""
    own = _own_loss(result)
    if own is not None and own.requires_grad:
        return "the loss that the model returns", [own]
    found = [
        tensor
        for tensor in tensors_in(_without_caches(result))
        if tensor.requires_grad and (tensor.is_floating_point() or tensor.is_complex())
    ]
    what = "output" if len(found) == 1 else f"{len(found)} outputs"
    return f"the sum of the model's {what}", found


def _own_loss(result: Any) -> torch.Tensor | None:
    loss = result.get("loss") if isinstance(result, Mapping) else getattr(result, "loss", None)
    return loss if isinstance(loss, torch.Tensor) else None


def _without_caches(result: Any) -> Any:
    """A mapping's entries but for what the next call is to be given."""
    if not isinstance(result, Mapping):
        return result
    return [value for key, value in result.items() if "past" not in str(key)]


def _loss(text: str, outputs: Sequence[torch.Tensor], name: str | None) -> tuple[str, torch.Tensor]:
    first = outputs[0]
    if name is not None and first.dim() > 0 and not first.is_complex():
        return f"{name} of the first output", _named_loss(name, first)
    sums = [tensor.abs().sum() if tensor.is_complex() else tensor.sum() for tensor in outputs]
    total = sums[0]
    for one in sums[1:]:
        total = total + one
    return text, total


def _named_loss(name: str, output: torch.Tensor) -> torch.Tensor:
    if name in ("cross_entropy", "nll"):
        if output.dim() == 3 and output.shape[1] < output.shape[2]:
            output = output.flatten(0, 1)  # a language model's logits: a class for each token
        shape = (*output.shape[:1], *output.shape[2:])
        target = torch.zeros(shape, dtype=torch.int64, device=output.device)
        return F.cross_entropy(output, target) if name == "cross_entropy" else F.nll_loss(
            output, target
        )  # fmt: skip
    target = torch.zeros(output.shape, dtype=output.dtype, device=output.device)
    functions: Mapping[str, Callable[..., torch.Tensor]] = {
        "bce": F.binary_cross_entropy,
        "bce_with_logits": F.binary_cross_entropy_with_logits,
        "mse": F.mse_loss,
    }
    return functions[name](output, target)
