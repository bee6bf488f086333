"""Measures the training step of one attempt: around its forward pass, and after it."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from archcheck.core.cost_request import StepRequest
from archcheck.evidence.training_step import TrainingStep
from archcheck.tracing.costs.memory import ActivationMemory
from archcheck.tracing.input_tensors import leaves, map_nest
from archcheck.tracing.patching.patches import without_slow_imports
from archcheck.tracing.record.functions import Functions
from archcheck.tracing.record.placed import OutOfTime, PlacedMode
from archcheck.tracing.record.placement import LeaveRung, MetaPlacement, Placement
from archcheck.tracing.record.recorder import Recorder
from archcheck.tracing.record.substitutes import fused_attention
from archcheck.tracing.step.accelerator import AcceleratorMode
from archcheck.tracing.step.casting import autocast_dtype
from archcheck.tracing.step.measure import StepMode, run_backward
from archcheck.tracing.step.recorder import StepRecorder

if TYPE_CHECKING:
    from archcheck.evidence.records import Rung
    from archcheck.tracing.record.kernels import KernelMode
    from archcheck.tracing.recover.failures import Failures


class ForwardPass(Protocol):
    """What a step is measured around; `Attempt` is one.

    Attributes:
        given: The arguments of the pass.
    """

    model: nn.Module
    rung: Rung
    given: tuple[Sequence[Any], Mapping[str, Any]]
    recorder: Recorder
    kernels: KernelMode
    failures: Failures
    fake_mode: AbstractContextManager[Any] | None


# The second pass takes no longer; without it nothing is said of other batches.
_SECONDS = 20.0


class StepMeasurement:
    """Records the step that belongs to an attempt's forward pass.

    Attributes:
        peak: The activations' peak in the forward pass alone.
    """

    def __init__(self, attempt: ForwardPass, request: StepRequest) -> None:
        self._attempt = attempt
        self._request = request
        self._recorder = attempt.recorder
        self._step = StepRecorder(self._recorder.memory)
        self._mode = self._accelerator(self._step)
        self._result = TrainingStep(request.precision, unknown="the pass did not reach its end")

    @property
    def peak(self) -> int:
        return self._peak if self._peak is not None else self._recorder.memory.peak

    _peak: int | None = None

    def begin(self) -> None:
        """The inputs are there, and nothing else."""
        self._recorder.step = self._step
        self._step.begin()

    @contextmanager
    def forward(self) -> Iterator[None]:
        """The forward pass runs in this block."""
        with (
            self._mode or nullcontext(),
            self._step.noting_saved(self._recorder, self._attempt.kernels),
        ):
            yield
        if self._mode is not None:
            self._mode.forget()

    def finish(self, result: Any) -> None:
        """Run the backward pass from what the forward pass gave."""
        self._peak = self._recorder.memory.peak
        self._recorder.step = None
        if self._attempt.failures.found:
            self._result = self._unknown("the model has mistakes that end a real pass")
            return
        request = self._request
        try:
            with self._around(StepMode(self._step, False)):
                loss, no_backward = self._backward(self._attempt, result, self._step)
        except (LeaveRung, Exception, SystemExit) as error:
            text = f"its backward pass raised {type(error).__name__}: {_first_line(error)}"
            self._result = self._unknown(text)
            return
        batch = self._batch()
        growths = None if batch is None else self._growths()
        self._result = TrainingStep(
            precision=request.precision,
            loss=loss,
            batch=batch,
            start=self._step.start,
            blocks=self._step.blocks(growths),
            kernels=self._step.kernels(),
            saved=self._step.saved(self._recorder),
            no_backward=no_backward,
            approximate=_approximate(self._attempt.rung),
        )

    def evidence(self) -> TrainingStep:
        return self._result

    def _unknown(self, reason: str) -> TrainingStep:
        return TrainingStep(self._request.precision, unknown=reason)

    def _backward(
        self, attempt: ForwardPass, result: Any, step: StepRecorder
    ) -> tuple[str, str | None]:
        return run_backward(
            attempt.model,
            result,
            step,
            loss=self._request.loss,
            shortcuts=attempt.rung == "meta",
            around=attempt.fake_mode,
        )

    def _accelerator(self, step: StepRecorder) -> AcceleratorMode | None:
        if self._request.kernels == "cpu":
            return None
        names = {id(tensor): name for name, tensor in self._attempt.model.named_parameters()}

        def is_cast(copy: torch.Tensor, parameter: torch.Tensor) -> None:
            step.is_cast(copy, names.get(id(parameter), ""))

        return AcceleratorMode(autocast_dtype(self._request), is_cast)

    @contextmanager
    def _around(self, kernels: StepMode, mode: AcceleratorMode | None = None) -> Iterator[None]:
        """What the recorded pass had around it, for code that runs unrecorded."""
        on_meta = self._attempt.rung == "meta"
        placement: Placement = Placement()
        if on_meta:
            # It needs no more of a mode of kernels than that it can be paused.
            placement = MetaPlacement(Recorder(ActivationMemory()), kernels)  # type: ignore[arg-type]
        mode = mode or self._mode
        with ExitStack() as stack:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(without_slow_imports())
            if on_meta:
                always: Any = SimpleNamespace(running=True)
                stack.enter_context(fused_attention(always))
            if mode is not None:
                stack.enter_context(mode)
            end = time.monotonic() + _SECONDS
            stack.enter_context(PlacedMode(Functions(), placement, end))
            yield

    # Another batch

    def _batch(self) -> int | None:
        """How many samples the inputs hold: the first dimension that they all share."""
        tensors = [leaf for leaf in leaves(list(self._arguments())) if _is_tensor(leaf)]
        sizes = {tensor.shape[0] for tensor in tensors if tensor.dim()}
        return next(iter(sizes)) if len(sizes) == 1 else None

    def _arguments(self) -> Iterator[Any]:
        args, kwargs = self._attempt.given
        yield from args
        yield from kwargs.values()

    def _growths(self) -> list[int] | None:
        """By how much each block grows with one more sample; None where the step then differs."""
        if self._attempt.rung == "real":
            return None
        memory = ActivationMemory(
            [*self._attempt.model.parameters(), *self._attempt.model.buffers()]
        )
        step = StepRecorder(memory)
        args, kwargs = self._attempt.given
        more = _with_one_more(args), _with_one_more(kwargs)
        for leaf in leaves([more[0], more[1]]):
            if _is_tensor(leaf):
                memory.saw(leaf)
        step.begin()
        mode = self._accelerator(step)
        kernels = StepMode(step, self._attempt.rung == "meta")
        try:
            with self._attempt.fake_mode or nullcontext(), self._around(kernels, mode):
                with kernels:
                    result = self._attempt.model(*more[0], **more[1])
                if mode is not None:
                    mode.forget()
                self._backward(self._attempt, result, step)
        except (LeaveRung, OutOfTime, Exception, SystemExit):
            return None
        if step.shape_of_step() != self._step.shape_of_step():
            return None
        return [more - now for more, now in zip(step.sizes(), self._step.sizes(), strict=True)]


def _with_one_more(nest: Any) -> Any:
    def grown(leaf: Any) -> Any:
        if not _is_tensor(leaf) or not leaf.dim():
            return leaf
        shape = (leaf.shape[0] + 1, *leaf.shape[1:])
        # Zeros index anything.
        tensor = torch.zeros(shape, dtype=leaf.dtype, device=leaf.device)
        return tensor.requires_grad_(leaf.requires_grad)

    whole: Mapping[str, Any] | Sequence[Any] = nest
    return map_nest(dict(whole) if isinstance(whole, Mapping) else list(whole), grown)


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor)


def _approximate(rung: str | None) -> tuple[str, ...]:
    if rung == "real":
        return ("the model's way depends on values, so another batch may take another one",)
    return ()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
