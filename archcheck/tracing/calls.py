"""Records the calls of modules, those of `forward` in the module's place included."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin

from archcheck.tracing.patching.patches import on_this_thread, passed_on, replaced
from archcheck.tracing.record.kernels import KernelMode
from archcheck.tracing.record.lines import Lines
from archcheck.tracing.record.recorder import PendingCall, Recorder
from archcheck.tracing.record.spans import Spans
from archcheck.tracing.recover.failures import Failures
from archcheck.tracing.signatures import signature_of


class Calls:
    """Opens and closes the records of module calls.

    Args:
        failures: Answers the layers that reject their input in Python.
        paths: The path of each module of the model, by `id`.
    """

    def __init__(
        self,
        recorder: Recorder,
        spans: Spans,
        lines: Lines,
        failures: Failures,
        kernels: KernelMode,
        paths: Mapping[int, str],
    ) -> None:
        self._recorder = recorder
        self._spans = spans
        self._lines = lines
        self.failures = failures
        self._kernels = kernels
        self._paths = paths
        self._names: dict[type, tuple[tuple[str, ...], str | None]] = {}
        self._entered: set[int] = set()

    def begin(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], depth: int
    ) -> PendingCall:
        recorder = self._recorder
        with torch._C.DisableTorchFunction():
            frame = self._spans.frame(depth + 1)
            self._lines.event(frame)
            path = self._paths.get(id(module))
            if path is None:
                path = f"<{type(module).__name__}>"
            parent = recorder.open_calls[-1].index if recorder.open_calls else None
            call = PendingCall(len(recorder.calls), path, parent, module, len(recorder.ops))
            call.location = self._spans.at(frame)
            names, rest = self._parameter_names(module)
            inputs: dict[str, Any] = {}
            for place, value in enumerate(args):
                name = names[place] if place < len(names) else f"{rest or 'args'}[{place}]"
                inputs[name] = recorder.nest(value)
            for name, value in kwargs.items():
                inputs[name] = recorder.nest(value)
            call.inputs = inputs
        recorder.calls.append(call)
        recorder.open_calls.append(call)
        return call

    def end(self, call: PendingCall, result: Any, returned: bool) -> None:
        recorder = self._recorder
        while recorder.open_calls and recorder.open_calls[-1] is not call:
            self._close(recorder.open_calls[-1])  # left open by something that skipped its end
        with torch._C.DisableTorchFunction():
            call.returned = returned
            if returned:
                call.outputs = recorder.nest(result)
            self._lines.end(call, returned)
        if recorder.open_calls:
            self._close(call)

    def _close(self, call: PendingCall) -> None:
        self._recorder.open_calls.pop()
        call.end_op = len(self._recorder.ops)
        call.module = None
        self._entered.discard(call.index)

    def is_new_call(self, module: nn.Module, forward: Callable[..., Any]) -> bool:
        """Whether forward was reached by no call of the module: the user called it directly."""
        if not self._recorder.open_calls:
            return True
        call = self._recorder.open_calls[-1]
        if call.module is not module:
            return True
        if call.index not in self._entered:
            self._entered.add(call.index)
            return False
        # A second entry is super().forward(), or the method calling itself.
        own = getattr(type(module), "forward", None)
        return getattr(own, "__wrapped__", own) is forward

    def materialise(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Lazy modules make and fill their parameters in their first call: no part of the pass."""
        if isinstance(module, LazyModuleMixin) and module.has_uninitialized_params():
            with torch._C.DisableTorchFunction(), self._kernels.paused():
                module._infer_parameters(module, args, kwargs)

    def enter(self, call: PendingCall) -> None:
        self._entered.add(call.index)

    def _parameter_names(self, module: nn.Module) -> tuple[tuple[str, ...], str | None]:
        kind = type(module)
        known = self._names.get(kind)
        if known is not None and "forward" not in vars(module):
            return known
        names: tuple[str, ...] = ()
        rest = None
        try:
            parameters = signature_of(module.forward).parameters
        except (TypeError, ValueError):
            parameters = {}  # type: ignore[assignment]
        names = tuple(
            name
            for name, parameter in parameters.items()
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        )
        for name, parameter in parameters.items():
            if parameter.kind is parameter.VAR_POSITIONAL:
                rest = name
        if "forward" not in vars(module):
            self._names[kind] = (names, rest)
        return names, rest


@contextmanager
def recorded_calls(calls: Calls, model: nn.Module) -> Iterator[None]:
    """Records every call of a module, and every direct call of a forward of the model's classes."""
    original_call = nn.Module.__call__
    mine = on_this_thread()

    def call(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if not mine():
            return passed_on(original_call, self, *args, **kwargs)
        record = calls.begin(self, args, kwargs, 1)
        try:
            calls.materialise(self, args, kwargs)
            result = passed_on(original_call, self, *args, **kwargs)
        except Exception as error:
            result = calls.failures.answer_call(record, self, args, error)
            if result is None:
                calls.end(record, None, returned=False)
                raise
        except BaseException:
            calls.end(record, None, returned=False)
            raise
        calls.end(record, result, returned=True)
        return result

    def watched(forward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(forward)
        def direct(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if not mine() or not calls.is_new_call(self, forward):
                return passed_on(forward, self, *args, **kwargs)
            record = calls.begin(self, args, kwargs, 1)
            record.direct = True
            calls.enter(record)
            try:
                result = passed_on(forward, self, *args, **kwargs)
            except BaseException:
                calls.end(record, None, returned=False)
                raise
            calls.end(record, result, returned=True)
            return result

        return direct

    owners = {
        owner
        for module in model.modules()
        for owner in type(module).__mro__
        if owner is not nn.Module and inspect.isfunction(vars(owner).get("forward"))
    }
    replacements: list[tuple[Any, str, Any]] = [(nn.Module, "__call__", call)]
    replacements += [(owner, "forward", watched(vars(owner)["forward"])) for owner in owners]
    with replaced(*replacements):
        yield
