"""One pass over one model on one rung, under all the watchers."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from archcheck.core.cost_request import StepRequest
from archcheck.evidence.records import Op, Rung, TracedInput
from archcheck.evidence.trace import Trace
from archcheck.evidence.training_step import TrainingStep
from archcheck.tracing.calls import Calls, recorded_calls
from archcheck.tracing.costs.memory import ActivationMemory
from archcheck.tracing.function_mode import FunctionMode
from archcheck.tracing.input_tensors import leaves
from archcheck.tracing.patching.patches import passed_on, without_slow_imports
from archcheck.tracing.record.build import Origins, noted_origins
from archcheck.tracing.record.describe import modules_of, parameters_of
from archcheck.tracing.record.describe_state import renaming_modules, state_dict_of
from archcheck.tracing.record.functions import Functions
from archcheck.tracing.record.higher_order import higher_order_as_python
from archcheck.tracing.record.kernels import KernelMode
from archcheck.tracing.record.lines import Lines
from archcheck.tracing.record.paths import hidden_modules, module_paths
from archcheck.tracing.record.placement import FakePlacement, LeaveRung, MetaPlacement, Placement
from archcheck.tracing.record.recorder import Recorder
from archcheck.tracing.record.spans import Spans
from archcheck.tracing.record.substitutes import (
    NothingSaved,
    compiled_as_written,
    fused_attention,
    nothing_saved,
    patterns_read_anew,
    recorded_autograd_functions,
)
from archcheck.tracing.recover.failures import Failures
from archcheck.tracing.step.measurement import StepMeasurement


class Attempt:
    """A pass over a model that stands on its rung already, and what it showed.

    Attributes:
        leave: The sentence that says why this rung cannot answer; None where it could.
        needs_saved: The code runs a backward pass of its own, so that this pass must be made
            again with what autograd saves.
        reads_values: It was left because the code reads what a tensor holds.
        given: The arguments of the pass.
        names: What each argument is called.
        fake_mode: What fake tensors need around them.
    """

    def __init__(
        self,
        model: nn.Module,
        rung: Rung,
        mode: Literal["train", "eval"],
        spans: Spans,
        origins: Origins,
        fake_mode: AbstractContextManager[Any] | None = None,
        keep_saved: bool = False,
        training: StepRequest | None = None,
    ) -> None:
        self.model = model
        self.rung: Rung = rung
        self.leave: str | None = None
        self.reads_values = False
        self.complete = False
        self.given: tuple[Sequence[Any], Mapping[str, Any]] = ((), {})
        self.names: Sequence[str] = ()
        self._mode = mode
        self.spans = spans
        self._origins = origins
        self.fake_mode = fake_mode
        # Inference keeps nothing for a backward pass, though gradients are on to be followed.
        self._discards = mode == "eval" and not keep_saved
        self.needs_saved = False
        self._tensors_named = _named_tensors(model)
        self.recorder = Recorder(
            ActivationMemory(t for t, _, _ in self._tensors_named if not is_lazy(t)),
            tells_devices=rung == "meta",
        )
        self.lines = Lines(self.recorder, spans)
        self.kernels = KernelMode(self.recorder, spans, self.lines, shortcuts=rung == "meta")
        self.placement = self._placement_on(rung)
        self.failures = Failures(
            self.recorder,
            spans,
            self.placement,
            self.kernels,
            # Halves that meet singles are autocast's doing.
            ask_eager=rung != "real" and (training is None or training.precision == "fp32"),
            certain=rung == "real",
        )
        self._inputs: tuple[TracedInput, ...] = ()
        self._outputs: Any = None
        self._hidden = hidden_modules(model, module_paths(model))
        self._step = None if training is None else StepMeasurement(self, training)

    def anew(self) -> Attempt:
        """An attempt at another pass over the same model."""
        keep_saved = self._mode == "eval" and not self._discards
        return Attempt(
            self.model,
            self.rung,
            self._mode,
            self.spans,
            self._origins,
            self.fake_mode,
            keep_saved,
        )

    def seen_in(self, trace: Trace) -> Trace:
        """A trace of the same model with what this attempt's pass showed in the place of its own
        pass."""
        return replace(
            trace,
            inputs=self._inputs,
            outputs=self._outputs,
            complete=self.complete,
            calls=self.recorder.frozen_calls(),
            ops=self.recorder.frozen_ops(),
            values=self.recorder.frozen_values(),
            failures=tuple(self.failures.found),
        )

    def _placement_on(self, rung: Rung) -> Placement:
        if rung == "meta":
            return MetaPlacement(self.recorder, self.kernels, self.spans.is_user)
        return FakePlacement() if rung == "fake" else Placement()

    def run(self, args: Sequence[Any], kwargs: Mapping[str, Any], names: Sequence[str]) -> None:
        """Runs forward once.

        Raises:
            Exception: A defect of this package; what the model raises is recorded.
        """
        recorder = self.recorder
        self.given, self.names = (args, kwargs), names
        given = [*args, *kwargs.values()]
        for name, value in zip(names, given, strict=False):
            for place, leaf in enumerate(leaves(value)):
                if isinstance(leaf, torch.Tensor):
                    nested = not isinstance(value, torch.Tensor)
                    own = f"{name}[{place}]" if nested else name
                    index = recorder.new_value(leaf, "input", name=own)
                    if not leaf.is_meta:
                        recorder.invented.given(index, own)
        self._inputs = tuple(
            TracedInput(name, recorder.nest(value))
            for name, value in zip(names, given, strict=False)
        )
        for tensor, name, is_buffer in self._tensors_named:
            if is_lazy(tensor):
                recorder.unmade[id(tensor)] = (tensor, name, is_buffer)
            else:
                recorder.new_value(tensor, "buffer" if is_buffer else "parameter", name=name)
        if self._step is not None:
            self._step.begin()
        registered = module_paths(self.model)
        paths = {key: path for key, (_, path) in self._hidden.items()}
        paths |= {key: names[0] for key, names in registered.items()}
        calls = Calls(recorder, self.spans, self.lines, self.failures, self.kernels, paths)
        functions = FunctionMode(
            recorder,
            self.spans,
            self.lines,
            Functions(),
            self.kernels,
            self.placement,
            self.failures,
        )
        set_mode(self.model, self._mode == "train")
        try:
            with ExitStack() as stack:
                stack.enter_context(without_slow_imports())
                stack.enter_context(noted_origins(self._origins))
                stack.enter_context(recorded_calls(calls, self.model))
                stack.enter_context(compiled_as_written())
                stack.enter_context(patterns_read_anew())
                stack.enter_context(recorded_autograd_functions(recorder, self.spans, self.lines))
                stack.enter_context(
                    higher_order_as_python(
                        recorder, self.spans, self.lines, self.kernels, self.rung == "real"
                    )
                )
                if self.rung == "meta":
                    stack.enter_context(fused_attention(recorder))
                if self._discards:
                    stack.enter_context(nothing_saved())
                stack.enter_context(self.fake_mode or nullcontext())
                stack.enter_context(self.kernels)
                if self._step is not None:
                    stack.enter_context(self._step.forward())
                stack.enter_context(functions)
                result = self.model(*args, **kwargs)
            self._outputs = recorder.nest(result)
            self.complete = True
            self._doubt(functions)
            if self._step is not None and self.leave is None:
                self._step.finish(result)
        except LeaveRung as reason:
            self.leave = str(reason)
        except (Exception, SystemExit) as error:
            self._judge(error, functions)
        finally:
            recorder.running = None
            recorder.settle()
            self.lines.finish()
        if recorder.defect is not None:
            raise recorder.defect

    def _doubt(self, functions: FunctionMode) -> None:
        """The code handled what only this rung raised: it took a way that it never takes."""
        if functions.left is not None:
            self.leave = str(functions.left)
        elif functions.unread is not None and self.rung != "real":
            self._leave_for_values()

    def _leave_for_values(self) -> None:
        self.leave = "the code reads the values of tensors, which only real ones have"
        self.reads_values = True

    def _judge(self, error: BaseException, functions: FunctionMode) -> None:
        """An exception left forward: the model's own, or this rung's?"""
        if self._discards and _asks_for_saved(error):
            self.needs_saved = True
            return
        if not _follows(error, functions.raised):
            raise_own(error)
        unread = _follows(error, functions.unread)
        if self.rung != "real" and (unread or _needs_values(error)):
            self._leave_for_values()
            return
        unsure = self.rung != "real" and not self.failures.is_certain(error)
        if unsure and isinstance(error, NotImplementedError):
            self.leave = f"an operator cannot run on {self.rung} tensors: {_first_line(error)}"
            return
        index = self.failures.escaped(error)
        call = self.failures.found[index].call
        if call is not None:
            self.recorder.calls[call].failure = index

    def step(self, ops: Sequence[Op]) -> TrainingStep | None:
        """The training step, for the ops of a trace of the same model; None where none was asked.

        Those ops may be another pass's; where it went another way, the kernels belong to none.
        """
        if self._step is None:
            return None
        step = self._step.evidence()
        if [op.name for op in ops] == [op.name for op in self.recorder.ops]:
            return step
        kernels = tuple(replace(kernel, op=None) for kernel in step.kernels)
        return replace(step, kernels=kernels, saved=())

    def trace(self, target: str, path: str, steps: Sequence[str], **more: Any) -> Trace:
        """The evidence."""
        recorder = self.recorder
        values = recorder.frozen_values()
        ops = recorder.frozen_ops()
        paths = module_paths(self.model)
        uncounted: dict[str, int] = {}
        for op in recorder.ops:
            for name, count in op.uncounted.items():
                uncounted[name] = uncounted.get(name, 0) + count
        return Trace(
            target=target,
            path=path,
            mode=self._mode,
            rung=self.rung,
            steps=tuple(steps),
            inputs=self._inputs,
            outputs=self._outputs,
            complete=self.complete,
            modules=modules_of(
                self.model, paths, self._origins, self.spans, recorder.calls, ops, values
            ),
            calls=recorder.frozen_calls(),
            ops=ops,
            values=values,
            lines=tuple(recorder.lines),
            size_names=tuple(recorder.size_names),
            failures=tuple(self.failures.found),
            decided_by_values=tuple(recorder.invented.decided),
            parameters=parameters_of(self.model),
            state_dict=state_dict_of(self.model),
            renaming_modules=renaming_modules(self.model),
            macs=sum(op.macs for op in ops),
            flops=sum(op.flops for op in ops),
            peak_activation_bytes=recorder.memory.peak if self._step is None else self._step.peak,
            step=self.step(ops),
            uncounted_ops=dict(sorted(uncounted.items())),
            versions=versions(),
            **more,
        )


def versions() -> dict[str, str]:
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "torch": str(torch.__version__).partition("+")[0],
    }


def _named_tensors(model: nn.Module) -> list[tuple[torch.Tensor, str, bool]]:
    found = [(tensor, name, False) for name, tensor in model.named_parameters()]
    return found + [(tensor, name, True) for name, tensor in model.named_buffers()]


def set_mode(model: nn.Module, training: bool) -> None:
    """Put a model into train or eval mode."""
    try:
        model.train(training)
    except Exception:
        # A class that hides `train` with a method of its own still has its modules' flags.
        for module in model.modules():
            module.training = training


def _asks_for_saved(error: BaseException) -> bool:
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, NothingSaved) or "saved tensor hooks" in str(link):
            return True
        link = link.__cause__ or link.__context__
    return False


def raise_own(error: BaseException) -> None:
    """Raise an exception of this package itself: it is a defect of it, and none of the model's."""
    if isinstance(error, RecursionError | MemoryError):
        return
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return
    code = traceback.tb_frame.f_code
    if code.co_filename.startswith(_HERE) and code is not passed_on.__code__:
        raise error


_HERE = str(Path(__file__).parent)


def _follows(error: BaseException, cause: BaseException | None) -> bool:
    """Whether the one is, or was raised while handling, the other."""
    if cause is None:
        return False
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        if link is cause:
            return True
        seen.add(id(link))
        link = link.__cause__ or link.__context__
    return False


def _needs_values(error: BaseException) -> bool:
    kind = type(error).__name__
    return kind in ("DataDependentOutputException", "DynamicOutputShapeException") or (
        kind.startswith("GuardOnDataDependent")
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
