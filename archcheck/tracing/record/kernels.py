"""Watches the kernels below each function: what they cost, write, and allocate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from archcheck.tracing.costs.counts import KernelCost, constant_cost, kernel_costs
from archcheck.tracing.patching.loss_buffers import with_buffer
from archcheck.tracing.patching.memory_formats import in_cpu_format
from archcheck.tracing.patching.shortcuts import answer
from archcheck.tracing.patching.step_shortcuts import step_answer
from archcheck.tracing.record.lines import Lines
from archcheck.tracing.record.recorder import PendingOp, Recorder, tensors_in
from archcheck.tracing.record.spans import Spans


class KernelMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds each kernel to the function that runs it; one below no function is an op of its own.

    Args:
        shortcuts: Answer the kernels of `shortcuts`, which are meta tensors' only.
    """

    def __init__(
        self, recorder: Recorder, spans: Spans, lines: Lines, shortcuts: bool = False
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._shortcuts = shortcuts
        self._recorder = recorder
        self._spans = spans
        self._lines = lines
        self._written: dict[Any, tuple[tuple[int | None, str], ...]] = {}
        self._constant: dict[Any, KernelCost | None] = {}
        self._paused = False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Wrapping the handler in torch._disable_dynamo would import the compiler.
        return False

    @property
    def is_paused(self) -> bool:
        """Whether what runs now is the tool's own."""
        return self._paused

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
        recorder = self._recorder
        op = recorder.running
        if op is None:
            return self._own_op(func, args, kwargs)
        result = self._answered(func, args, kwargs)
        if result is None and self._shortcuts and recorder.step is not None:
            result = step_answer(func, args, kwargs)
        if result is None:
            result = func(*args, **kwargs)
            if self._shortcuts:
                result = with_buffer(func, args, in_cpu_format(op.name, func, args, result))
        self._account(op, func, args, kwargs, result)
        return result

    def _answered(self, func: Any, args: Any, kwargs: Any) -> Any:
        """The result of a slow kernel, None for all others."""
        try:
            return answer(func, args, kwargs) if self._shortcuts else None
        except (RuntimeError, ValueError, IndexError):
            raise  # as the kernel itself would
        except Exception as error:
            self._recorder.defect = self._recorder.defect or error
            return None

    def _account(self, op: PendingOp, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        """Add a kernel to its function. An error here must not look like one of the function."""
        try:
            self._add(op, func, args, kwargs, result)
        except Exception as error:
            self._recorder.defect = self._recorder.defect or error

    def _add(self, op: PendingOp, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        recorder = self._recorder
        try:
            cost = self._constant[func]
        except KeyError:
            cost = self._constant[func] = constant_cost(func)
        if cost is None:
            cost = kernel_costs(func, args, kwargs, result)
        op.macs += cost.macs
        op.flops += cost.flops
        if cost.uncounted is not None:
            op.uncounted[cost.uncounted] = op.uncounted.get(cost.uncounted, 0) + 1
        try:
            written = self._written[func]
        except KeyError:
            written = self._written[func] = _written_arguments(func)
        for place, name in written:
            value = args[place] if place is not None and place < len(args) else kwargs.get(name)
            for tensor in tensors_in(value):
                recorder.written(tensor, op)
        if isinstance(result, torch.Tensor):
            recorder.memory.saw(result)
        else:
            for tensor in tensors_in(result):
                recorder.memory.saw(tensor)
        if recorder.step is not None:
            recorder.step.kernel(func, args, kwargs, result, op.index, cost.flops)

    def _own_op(self, func: Any, args: Any, kwargs: Any) -> Any:
        recorder = self._recorder
        frame = self._spans.frame(2)
        self._lines.event(frame)
        name = getattr(func, "_schema", None) and func._schema.name
        op = recorder.begin_op(
            str(name or func).rpartition("::")[2].rstrip("_"), str(func), self._spans.at(frame)
        )
        found: list[tuple[int, torch.Tensor]] = []
        arguments = {str(place): recorder.nest(value, found) for place, value in enumerate(args)}
        arguments |= {key: recorder.nest(value, found) for key, value in kwargs.items()}
        op.arguments = arguments
        op.inputs = [index for index, _ in found]
        recorder.running = op
        try:
            result = func(*args, **kwargs)
            self._account(op, func, args, kwargs, result)
        except BaseException:
            recorder.drop_op(op)
            raise
        finally:
            recorder.running = None
        written = [t for _, t in found if recorder.storage(t).number in op.written]
        made = result if next(tensors_in(result), None) is not None else written
        if not written and made is not result:
            recorder.drop_op(op)
        else:
            op.in_place = bool(written) and written[0] is found[0][1]
            recorder.end_op(op, made)
        return result


def _written_arguments(func: Any) -> tuple[tuple[int | None, str], ...]:
    """Places and names of the arguments that a kernel writes into."""
    schema = getattr(func, "_schema", None)
    if schema is None or not schema.is_mutable:
        return ()
    return tuple(
        (None if argument.kwarg_only else place, argument.name)
        for place, argument in enumerate(schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    )
