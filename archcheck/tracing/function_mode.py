"""The function level of a pass: every tensor function that the model's code calls."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from archcheck.tracing.costs.counts import UNCOUNTED_FUNCTIONS, function_macs
from archcheck.tracing.input_tensors import filled_lengths
from archcheck.tracing.patching.devices import QUESTIONS, on_meta
from archcheck.tracing.record.functions import Function, Functions, named_arguments
from archcheck.tracing.record.invented import READS_VALUES
from archcheck.tracing.record.kernels import KernelMode
from archcheck.tracing.record.lines import Lines
from archcheck.tracing.record.placement import LeaveRung, Placement
from archcheck.tracing.record.recorder import PendingOp, Recorder, tensors_in
from archcheck.tracing.record.spans import Spans
from archcheck.tracing.record.traced_size import count_read, size_read, sizes_read
from archcheck.tracing.recover import guesses
from archcheck.tracing.recover.eager_checks import doubt
from archcheck.tracing.recover.failures import Failures

# What tells a tensor's sizes.
READS_SIZES = frozenset(("shape", "size", "numel", "nelement"))


class FunctionMode(TorchFunctionMode):
    """Enters each function as an op. While one runs, torch's own calls below it are not seen."""

    def __init__(
        self,
        recorder: Recorder,
        spans: Spans,
        lines: Lines,
        functions: Functions,
        kernels: KernelMode,
        placement: Placement,
        failures: Failures,
    ) -> None:
        super().__init__()
        self._recorder = recorder
        self._spans = spans
        self._lines = lines
        self._functions = functions
        self._kernels = kernels
        self._placement = placement
        self._failures = failures
        # The last exception that torch raised, and the last of a question about values.
        self.raised: BaseException | None = None
        self.unread: BaseException | None = None
        self.left: LeaveRung | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        described = self._functions.of(func)
        if described.quiet:
            if described.name in QUESTIONS and self._recorder.running is None:
                told = self._placement.told(described.name, sys._getframe(1))
                if told is not None:
                    return told
            try:
                result = func(*args, **kwargs) if kwargs else func(*args)
                if described.name in READS_VALUES:
                    for tensor in tensors_in(args):
                        index = self._recorder.known(tensor)
                        self._recorder.invented.read(index, sys._getframe(1))
                if described.name in READS_SIZES and self._recorder.running is None:
                    return self._remembered(described.name, result, args, kwargs or {})
                return result
            except (RuntimeError, NotImplementedError, ValueError) as error:
                self.raised = self.unread = error
                raise
            except Exception as error:
                self.raised = error
                raise
        try:
            return self._record(func, described, args, kwargs or {})
        except LeaveRung as reason:
            self.left = reason  # a bare `except:` of the user's may swallow it
            raise

    def _remembered(
        self, name: str, result: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """A shape, size or count of a tensor, as numbers that remember it."""
        index = self._recorder.known(args[0]) if args else None
        if index is None or self._recorder.values[index].kind in ("parameter", "buffer"):
            return result
        if type(result) is torch.Size:
            return sizes_read(index, result)
        if type(result) is not int:
            return result
        if name in ("numel", "nelement"):
            return count_read(index, args[0].shape)
        dim = args[1] if len(args) > 1 else kwargs.get("dim")
        rank = len(self._recorder.values[index].shape)
        return size_read(index, dim % rank, result) if type(dim) is int and rank else result

    def _record(self, func: Any, described: Function, args: Any, kwargs: Any) -> Any:
        recorder = self._recorder
        if recorder.running is not None:  # below a function that runs Python with modes on
            if "device" in kwargs:
                kwargs = {**kwargs, "device": on_meta(kwargs["device"])}
            return func(*args, **kwargs)
        frame = self._spans.frame(2)
        self._lines.event(frame)
        if described.name == "pack_padded_sequence" and len(args) == 3:
            with self._kernels.paused():
                args = filled_lengths(args)
        op = recorder.begin_op(described.name, described.function, self._spans.at(frame))
        found: list[tuple[int, torch.Tensor]] = []
        named = named_arguments(described, func, args, kwargs)
        op.arguments = {name: recorder.nest(value, found) for name, value in named.items()}
        op.inputs = [index for index, _ in found]
        self._placement.require_types(frame)
        self._placement.require_arrays(found)
        run, run_args, run_kwargs = self._placement.prepare(func, described, args, kwargs, found)
        recorder.running = op
        try:
            if self._failures.asks_eager:
                with self._kernels.paused():
                    doubtful = doubt(op.name, named)
                if doubtful is not None:
                    self._failures.ask(doubtful, func, args, kwargs)
            result = run(*run_args, **run_kwargs)
        except Exception as error:
            recorder.running = None
            self.raised = error
            result = self._failures.answer(op, func, described, named, args, kwargs, error)
            if result is None:
                op.raised = True
                raise
            answered = True
        else:
            answered = False
        finally:
            recorder.running = None
        if isinstance(result, torch.Tensor) or next(tensors_in(result), None) is not None:
            op.in_place = bool(found) and (
                described.in_place or recorder.storage(found[0][1]).number in op.written
            )
            self._finish(op, described, kwargs, result, answered)
        elif described.in_place:  # x[0] = y gives nothing back
            op.in_place = True
            self._finish(op, described, kwargs, args[0], answered)
        elif op.written:  # a custom operator that only mutates
            written = [t for _, t in found if recorder.storage(t).number in op.written]
            op.in_place = bool(written) and written[0] is found[0][1]
            self._finish(op, described, kwargs, written, answered)
        else:
            recorder.drop_op(op)
        return result

    def _finish(
        self,
        op: PendingOp,
        described: Function,
        kwargs: Mapping[str, Any],
        result: Any,
        answered: bool,
    ) -> None:
        recorder = self._recorder
        values = recorder.values
        stays = all(values[index].device == "cpu" for index in op.inputs)
        moved = described.name in ("to", "cuda", "type_as") or kwargs.get("device") is not None
        moved = moved or (described.name == "type" and "Tensor" in str(op.arguments.get("dtype")))
        recorder.end_op(op, result, "cpu" if stays and not moved else "model")
        if answered:
            self._failures.mark(op)
            return
        shapes = [values[index].shape for index in op.outputs]
        macs = function_macs(
            op.name, [values[index].shape for index in op.inputs], op.arguments, shapes
        )
        if macs is not None:
            op.macs = macs
            op.uncounted = {}
        elif op.name in UNCOUNTED_FUNCTIONS and not op.uncounted:
            op.uncounted = {op.name: 1}
        if any(values[index].guessed for index in op.inputs):
            guesses.carry(recorder, op)
