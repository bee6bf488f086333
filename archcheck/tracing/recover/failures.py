"""Exceptions of a pass: what they say, what answers them, and whether they are the model's own."""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import FrameType
from typing import Any

import torch
from torch import nn

from archcheck.evidence.records import Failure
from archcheck.tracing.record.functions import Function
from archcheck.tracing.record.kernels import KernelMode
from archcheck.tracing.record.placement import LeaveRung, Placement
from archcheck.tracing.record.recorder import PendingCall, PendingOp, Recorder
from archcheck.tracing.record.spans import Spans
from archcheck.tracing.recover import guesses
from archcheck.tracing.recover.eager import (
    FEW_ELEMENTS,
    MOST_FOR_DTYPES,
    TooLarge,
    dtype_error,
    eager_error,
    elements,
)
from archcheck.tracing.recover.eager_checks import Doubt
from archcheck.tracing.recover.errors import (
    ABOUT_SIZES,
    deciding_lines,
    described_error,
    handles,
    is_everywhere,
)
from archcheck.tracing.recover.layers import Guess
from archcheck.tracing.recover.outputs import guess


class Failures:
    """Collects the failures of one pass, and answers those that have a known result.

    Attributes:
        found: In the order in which they happened.
        uncertain: The indices of those that only this rung has seen.
    """

    def __init__(
        self,
        recorder: Recorder,
        spans: Spans,
        placement: Placement,
        kernels: KernelMode,
        ask_eager: bool,
        certain: bool,
    ) -> None:
        self.found: list[Failure] = []
        self.uncertain: set[int] = set()
        self._recorder = recorder
        self._spans = spans
        self._placement = placement
        self._kernels = kernels
        self.asks_eager = ask_eager
        self._certain = certain
        self._passed: set[Any] = set()  # calls that eager was asked about, and takes
        self._left_for_dtypes = MOST_FOR_DTYPES
        self._trees: dict[str, ast.Module | None] = {}
        self._answered: tuple[PendingOp, tuple[Guess, ...], int] | None = None
        # The op that raised last, and what eager said about it.
        self._raised: tuple[BaseException, PendingOp, Exception | None, bool] | None = None

    def answer(
        self,
        op: PendingOp,
        func: Any,
        described: Function,
        named: Mapping[str, Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        error: Exception,
    ) -> Any:
        """What goes on in the place of a call that raised; None: the exception goes on.

        Raises:
            LeaveRung: The call works on real tensors: this rung is to blame.
        """
        real, certain = self._confirm(op, func, args, kwargs, error)
        frame = sys._getframe(2)
        guessed = None if self._is_guarded(frame, error) else guess(op.name, named)
        if guessed is None:
            self._raised = (error, op, real, certain)
            return None
        index = self._enter(
            replace(
                described_error("forward", real or error),
                location=op.location,
                frames=self._spans.frames_above(frame),
                op=op.index,
                call=op.call,
                recovered=True,
                consequence_of=guesses.blame(self._recorder, op),
            ),
            certain,
        )
        op.failure = index
        if op.call is not None and self._recorder.calls[op.call].failure is None:
            self._recorder.calls[op.call].failure = index
        if described.in_place and isinstance(args[0], torch.Tensor):
            made: list[torch.Tensor] = [args[0]]
        else:
            grows = any(self._recorder.values[place].requires_grad for place in op.inputs)
            made = [self._make(part, grows) for part in guessed]
        result = made[0] if len(made) == 1 else tuple(made)
        self._answered = (op, guessed, index)
        return result

    def mark(self, op: PendingOp) -> None:
        """Marks what is unsure of the outputs that took a failed op's place."""
        if self._answered is None or self._answered[0] is not op:
            return
        _, guessed, index = self._answered
        inputs = [self._recorder.values[place] for place in op.inputs]
        if any(value.guessed for value in inputs):
            guesses.carry(self._recorder, op)
        for place, part in zip(op.outputs, guessed, strict=False):
            value = self._recorder.values[place]
            value.guessed = {**value.guessed, **part.unsure}
            if part.unsure:
                value.cause = index
        guesses.doubt_input(self._recorder, op, index)

    def answer_call(
        self, call: PendingCall, module: nn.Module, args: Sequence[Any], error: Exception
    ) -> Any:
        """The same for torch's own layers, which check some things in Python before any op."""
        if self._raised is not None and self._raised[0] is error:
            return None
        if not type(module).__module__.startswith("torch.nn.modules.") or not args:
            return None
        x = args[0]
        guessed = _layer_guess(module, x)
        frame = sys._getframe(2)
        if guessed is None or self._is_guarded(frame, error):
            return None
        name = _LAYER_OPS[_layer_kind(module)]
        recorder = self._recorder
        with torch._C.DisableTorchFunction():
            op = recorder.begin_op(
                name, f"torch.nn.{type(module).__name__}", self._spans.at(self._spans.frame(2))
            )
            op.call = call.index
            found: list[tuple[int, torch.Tensor]] = []
            named = {"input": x, **{k: v for k, v in module._parameters.items() if v is not None}}
            op.arguments = {key: recorder.nest(value, found) for key, value in named.items()}
            op.inputs = [index for index, _ in found]
            index = self._enter(
                replace(
                    described_error("forward", error),
                    location=op.location,
                    frames=self._spans.frames_above(frame),
                    op=op.index,
                    call=call.index,
                    recovered=True,
                    consequence_of=next(
                        (recorder.values[i].cause for i in op.inputs if recorder.values[i].guessed),
                        None,
                    ),
                ),
                True,  # shapes alone decided, on every rung alike
            )
            op.failure = call.failure = index
            grows = any(recorder.values[place].requires_grad for place in op.inputs)
            made = [self._make(part, grows) for part in guessed]
            recorder.end_op(op, made)
            self._answered = (op, guessed, index)
            self.mark(op)
        return made[0] if len(made) == 1 else (made[0], _states(made[1:]))

    def is_certain(self, error: BaseException) -> bool:
        """Whether the model itself is to blame, not the kind of tensors."""
        if self._raised is not None and self._raised[0] is error:
            return self._raised[3]
        return self._certain or is_everywhere(error, self._spans)

    def escaped(self, error: BaseException) -> int:
        """The pass ended with this exception."""
        frames = self._spans.frames(error.__traceback__)
        failure = replace(
            described_error("forward", error),
            location=frames[-1].location if frames else None,
            frames=frames,
            missing=error.name if isinstance(error, ImportError) else None,
        )
        certain = self.is_certain(error)
        if self._raised is not None and self._raised[0] is error:
            _, op, real, _ = self._raised
            if real is not None:
                failure = replace(failure, error=type(real).__name__, message=str(real))
            failure = replace(
                failure,
                op=op.index,
                call=op.call,
                location=op.location or failure.location,
                consequence_of=guesses.blame(self._recorder, op),
            )
            op.failure = len(self.found)
            for place in dict.fromkeys(op.inputs):
                self._recorder.values[place].users.append(op.index)
        else:
            failure = replace(failure, call=self._unfinished_call())
        made_up = [v.cause for v in self._recorder.values if v.guessed and not v.doubted]
        if failure.op is None and made_up and isinstance(error, ABOUT_SIZES):
            # What a guess leads to in plain Python cannot be told from what fails by itself.
            failure = replace(failure, consequence_of=made_up[-1])
        return self._enter(failure, certain)

    def is_by_values(self, failure: Failure) -> bool:
        """Whether the code itself raised it, after a look at values that are made up."""
        at = failure.location
        if failure.op is not None or at is None:
            return False
        tree = self._tree(at.path)
        lines = deciding_lines(tree, at.line) if tree is not None else set()
        return any((at.path, line) in self._recorder.invented.read_at for line in lines)

    def _unfinished_call(self) -> int | None:
        """The innermost call that gave nothing back."""
        for call in reversed(self._recorder.calls):
            if not call.returned:
                return call.index
        return None

    def _enter(self, failure: Failure, certain: bool) -> int:
        index = len(self.found)
        self.found.append(failure)
        if not certain:
            self.uncertain.add(index)
        return index

    def _confirm(
        self,
        op: PendingOp,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        error: Exception,
    ) -> tuple[Exception | None, bool]:
        if self._certain or not self.asks_eager:
            return None, self._certain
        try:
            real = eager_error(func, args, kwargs)
        except TooLarge:
            return None, False
        if real is None:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise LeaveRung(f"{op.function} works on real tensors only: {first}")
        return real, True

    def ask(self, doubt: Doubt, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raises what eager raises for a call that other kinds of tensors let pass."""
        if doubt.key in self._passed:
            return
        ask = eager_error
        if doubt.only_dtypes:
            ask = dtype_error
            self._left_for_dtypes -= min(elements(args, kwargs), FEW_ELEMENTS)
            if self._left_for_dtypes < 0:
                return
        try:
            error = ask(func, args, kwargs)
        except TooLarge:
            return
        if error is not None:
            raise error
        self._passed.add(doubt.key)

    def _make(self, part: Guess, grows: bool) -> torch.Tensor:
        with self._kernels.paused():
            made = torch.zeros(part.shape, dtype=part.dtype, device=self._placement.target)
            if grows and (part.dtype.is_floating_point or part.dtype.is_complex):
                # The copy of a leaf is none: layers after it may write into it.
                made = made.requires_grad_().clone()
        return made

    def _is_guarded(self, frame: FrameType | None, error: Exception) -> bool:
        """Whether the user's code handles the exception itself: then it is none of ours."""
        while frame is not None:
            if self._spans.is_user(frame.f_code):
                tree = self._tree(frame.f_code.co_filename)
                if tree is not None and handles(tree, frame.f_lineno, error):
                    return True
            frame = self._spans.above(frame)
        return False

    def _tree(self, path: str) -> ast.Module | None:
        if path not in self._trees:
            try:
                self._trees[path] = ast.parse("".join(linecache.getlines(path)))
            except (SyntaxError, ValueError):
                self._trees[path] = None
        return self._trees[path]


_LAYER_OPS = {
    "BatchNorm": "batch_norm",
    "InstanceNorm": "instance_norm",
    "LSTM": "lstm",
    "GRU": "gru",
    "RNN": "rnn",
}


def _layer_kind(module: nn.Module) -> str:
    name = type(module).__name__
    if isinstance(module, nn.modules.batchnorm._NormBase):
        return "InstanceNorm" if "Instance" in name else "BatchNorm"
    if isinstance(module, nn.RNNBase):
        return name if name in _LAYER_OPS else "RNN"
    return ""


def _layer_guess(module: nn.Module, x: Any) -> tuple[Guess, ...] | None:
    """What a layer gives that checks its input in Python."""
    kind = _layer_kind(module)
    if not kind or not isinstance(x, torch.Tensor):
        return None
    with torch._C.DisableTorchFunction():
        if kind.endswith("Norm"):
            return (Guess(tuple(x.shape), x.dtype),)
        assert isinstance(module, nn.RNNBase)
        if x.dim() not in (2, 3):
            return None
        ways = 2 if module.bidirectional else 1
        size = module.proj_size or module.hidden_size
        dtype = next((p.dtype for p in module._parameters.values() if p is not None), x.dtype)
        batch = () if x.dim() == 2 else (x.shape[0 if module.batch_first else 1],)
        state = (ways * module.num_layers, *batch, size)
        cell = (ways * module.num_layers, *batch, module.hidden_size)
        output = Guess((*x.shape[:-1], ways * size), dtype)
        if kind == "LSTM":
            return output, Guess(state, dtype), Guess(cell, dtype)
        return output, Guess(state, dtype)


def _states(made: Sequence[torch.Tensor]) -> Any:
    return made[0] if len(made) == 1 else tuple(made)
