"""On which device tensors are made while a pass runs, and how those of two devices meet.

On the meta rung nothing large is ever allocated, and yet small constants stay real on the CPU, so
that code may read them (`torch.linspace(0, 0.1, depth).tolist()`). Where such a constant meets a
meta tensor it is answered by a meta tensor of the same kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from math import ceil, prod
from types import CodeType, FrameType
from typing import Any

import torch

from archcheck.tracing.patching.attention import attention_as_on_cpu
from archcheck.tracing.patching.devices import (
    AS_CPU,
    QUESTIONS,
    asks_for_legacy_type,
    legacy_type,
    on_meta,
)
from archcheck.tracing.record.functions import Function
from archcheck.tracing.record.kernels import KernelMode
from archcheck.tracing.record.layouts import unusual_layout
from archcheck.tracing.record.recorder import Recorder

# Constants up to this many elements are real.
SMALL = 1 << 16

_FROM_SIZE = {"empty", "zeros", "ones", "rand", "randn"}
_MOVES = {"cuda", "cpu", "xpu", "ipu", "hpu", "mps"}


class LeaveRung(BaseException):
    """This rung cannot answer; its text is the sentence that says why.

    No Exception, so that the user's own handlers let it pass.
    """


class Placement:
    """For real and fake tensors: whatever is asked for, it is made on the CPU."""

    target = "cpu"

    def told(self, question: str, caller: FrameType) -> Any:
        """Return what a tensor says of its device to the user's code; None for the truth."""
        return None

    def require_types(self, caller: FrameType | None) -> None:
        """Leave the rung where the user's code tells tensors apart by types that hold a device.

        Raises:
            LeaveRung: It does, and this rung's tensors have no such type.
        """

    def require_arrays(self, tensors: Sequence[tuple[int, torch.Tensor]]) -> None:
        """Leave the rung where one of these tensors has no form without memory.

        Raises:
            LeaveRung: One is sparse, nested or quantized.
        """

    def prepare(
        self,
        func: Any,
        described: Function,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        tensors: Sequence[tuple[int, torch.Tensor]],
    ) -> tuple[Any, Sequence[Any], Mapping[str, Any]]:
        """The call to make in the place of this one."""
        if described.function == "torch.Tensor.type":
            return legacy_type(args, kwargs) or (func, args, kwargs)
        if described.name in _MOVES and described.function.startswith("torch.Tensor."):
            return _same, args[:1], {}
        if "device" in kwargs and _is_foreign(kwargs["device"], self.target):
            kwargs = {**kwargs, "device": self.target}
        if described.name == "to" and described.function == "torch.Tensor.to":
            args = [
                torch.device(self.target) if _is_foreign(value, self.target) else value
                for value in args
            ]
        return func, args, kwargs


class FakePlacement(Placement):
    """For fake tensors, which say that they are on the CPU."""

    def require_arrays(self, tensors: Sequence[tuple[int, torch.Tensor]]) -> None:
        for _, tensor in tensors:
            layout = unusual_layout(tensor)
            if layout is not None:
                raise LeaveRung(f"{layout} tensors can only be followed with their memory")


class MetaPlacement(FakePlacement):
    """For meta tensors beside small real constants."""

    target = "meta"

    def __init__(
        self,
        recorder: Recorder | None = None,
        kernels: KernelMode | None = None,
        is_user: Callable[[CodeType], bool] | None = None,
    ) -> None:
        self._recorder = recorder
        self._kernels = kernels
        self._is_user = is_user
        self._cleared: set[CodeType] = set()

    def told(self, question: str, caller: FrameType) -> Any:
        answer = QUESTIONS.get(question)
        if answer is None or self._is_user is None or not self._is_user(caller.f_code):
            return None
        return answer

    def require_types(self, caller: FrameType | None) -> None:
        if caller is None or caller.f_code in self._cleared:
            return
        if asks_for_legacy_type(caller.f_code):
            raise LeaveRung("the code tells tensors apart by types that hold their device")
        self._cleared.add(caller.f_code)

    def prepare(
        self,
        func: Any,
        described: Function,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        tensors: Sequence[tuple[int, torch.Tensor]],
    ) -> tuple[Any, Sequence[Any], Mapping[str, Any]]:
        if described.function == "torch.Tensor.type":
            return legacy_type(args, kwargs) or (func, args, kwargs)
        if torch.is_autocast_enabled("cpu"):
            raise LeaveRung("autocast chooses dtypes by the device, and knows none named meta")
        metas = sum([tensor.is_meta for _, tensor in tensors])
        if any(value is AS_CPU for value in (*args, *kwargs.values())):
            args = [on_meta(value) for value in args]
            kwargs = {name: on_meta(value) for name, value in kwargs.items()}
        if described.factory and not tensors:
            asked = kwargs.get("device")
            if asked is None or _is_foreign(asked, "meta"):
                count = requested_elements(described.name, args, kwargs)
                kwargs = {**kwargs, "device": "cpu" if count <= SMALL else "meta"}
            return func, args, kwargs
        if described.name in _MOVES and described.function.startswith("torch.Tensor."):
            return _same, args[:1], {}
        if described.name == "scaled_dot_product_attention":
            func = attention_as_on_cpu
        if "device" in kwargs:
            device = "meta" if metas else kwargs["device"]
            kwargs = {**kwargs, "device": "cpu" if _is_foreign(device, "meta") else device}
        if described.name == "to" and metas and described.function == "torch.Tensor.to":
            args = [torch.device("meta") if _is_foreign(value, "meta") else value for value in args]
        if not metas or metas == len(tensors):
            return func, args, kwargs
        if described.in_place or "out" in kwargs:
            written = kwargs.get("out", args[0] if args else None)
            if isinstance(written, torch.Tensor) and not written.is_meta:
                self._turn_meta(written)
        with self._pause():
            return (
                func,
                [_as_meta(value) for value in args],
                {name: _as_meta(value) for name, value in kwargs.items()},
            )

    def _pause(self) -> Any:
        return self._kernels.paused() if self._kernels is not None else nullcontext()

    def _turn_meta(self, tensor: torch.Tensor) -> None:
        """A constant that gets written with what is not known becomes unknown itself."""
        known = None if self._recorder is None else self._recorder.forget(tensor)
        try:
            with self._pause(), torch.no_grad():
                torch.utils.swap_tensors(tensor, _as_meta(tensor))  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise LeaveRung(
                "a constant tensor is filled with computed values, which needs its memory"
            ) from error
        if known is not None and self._recorder is not None:
            self._recorder.watch(tensor, *known)


def _same(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _as_meta(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        if value.is_meta:
            return value
        meta = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
        if isinstance(value, torch.nn.Parameter):
            return torch.nn.Parameter(meta, value.requires_grad)
        return meta.requires_grad_() if value.requires_grad else meta
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_as_meta, value))
    if isinstance(value, list | tuple):
        return type(value)([_as_meta(item) for item in value])
    return value


def _is_foreign(device: Any, target: str) -> bool:
    """Whether a device argument names another device than the pass runs on."""
    if isinstance(device, torch.device):
        return device.type != target
    if isinstance(device, str):
        name = device.partition(":")[0]
        return name != target and name in (
            "cpu", "cuda", "mps", "xpu", "hpu", "ipu", "mtia", "meta", "xla", "npu",
        )  # fmt: skip
    return False


def requested_elements(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """How many elements a factory function is asked for; 0 where that cannot be told."""
    try:
        if name in _FROM_SIZE:
            size = kwargs.get("size", args)
            if len(size) == 1 and isinstance(size[0], list | tuple):
                size = size[0]
            return int(prod(size))
        if name == "full":
            return int(prod(kwargs.get("size", args[0] if args else ())))
        if name == "randint":
            return int(prod(kwargs.get("size") or args[-1]))
        if name in ("arange", "range"):
            bounds = [value for value in args if isinstance(value, int | float)]
            start = kwargs.get("start", bounds[0] if len(bounds) > 1 else 0)
            end = kwargs.get("end", bounds[min(len(bounds), 2) - 1] if bounds else 0)
            step = kwargs.get("step", bounds[2] if len(bounds) > 2 else 1)
            count: int = ceil((end - start) / step)
            return count
        if name == "eye":
            rows = kwargs.get("n", args[0] if args else 0)
            return int(rows * kwargs.get("m", args[1] if len(args) > 1 else rows))
        if name == "randperm":
            return int(kwargs.get("n", args[0] if args else 0))
        if name in ("tril_indices", "triu_indices"):
            return int(2 * args[0] * args[1])
    except (TypeError, ValueError, IndexError, ZeroDivisionError):
        pass
    return 0
