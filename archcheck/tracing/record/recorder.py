"""The notebook of one pass: values, ops, module calls and lines, as they happen.

Everything in here is plain and mutable while the pass runs, and becomes frozen evidence at its
end. Nothing here decides anything about devices, failures or recovery.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch

from archcheck.core.finding import Location
from archcheck.evidence.records import LineValue, ModuleCall, Op, SizeName, Value, ValueIndex
from archcheck.tracing.costs.memory import ActivationMemory
from archcheck.tracing.record.invented import InventedValues
from archcheck.tracing.record.layouts import layout_of
from archcheck.tracing.record.traced_size import TracedSize, as_evidence

_PLAIN = (int, float, bool, str, complex, type(None), type(Ellipsis))
DTYPES: Mapping[torch.dtype, str] = {
    value: str(value).removeprefix("torch.")
    for value in vars(torch).values()
    if isinstance(value, torch.dtype)
}


class PendingValue:
    """A `Value` whose users are not known yet."""

    __slots__ = (
        "cause", "device", "doubted", "dtype", "guessed", "kind", "name", "producer",
        "requires_grad", "shape", "storage", "stride", "users", "version",
    )  # fmt: skip

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: str,
        kind: str,
        name: str | None,
        producer: int | None,
        storage: StorageRecord,
        stride: tuple[int, ...],
        device: str,
        requires_grad: bool,
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.kind = kind
        self.name = name
        self.producer = producer
        self.users: list[int] = []
        self.storage = storage.number
        self.version = storage.version
        self.stride = stride
        self.device = device
        self.requires_grad = requires_grad
        # The dimensions whose sizes recovery guessed, and the sizes that they may have instead.
        self.guessed: Mapping[int, frozenset[int]] = {}
        self.doubted = False  # it was computed, and yet a layer that rejects it may be right
        self.cause: int | None = None  # the failure whose guess they are


class StorageRecord:
    """One memory block: how often it was written, and by which op last."""

    __slots__ = ("number", "version", "writer")

    def __init__(self, number: int) -> None:
        self.number = number
        self.version = 0
        self.writer: int | None = None


class PendingOp:
    """An `Op` that is running, or has run."""

    __slots__ = (
        "arguments", "call", "failure", "flops", "function", "grad_enabled", "in_place", "index",
        "inputs", "location", "macs", "name", "outputs", "raised", "uncounted", "written",
    )  # fmt: skip

    def __init__(self, index: int, name: str, function: str) -> None:
        self.index = index
        self.name = name
        self.function = function
        self.inputs: list[int] = []
        self.outputs: list[int] = []
        self.arguments: Mapping[str, Any] = {}
        self.in_place = False
        self.call: int | None = None
        self.location: Location | None = None
        self.macs = 0
        self.flops = 0
        self.failure: int | None = None
        self.grad_enabled = True
        self.raised = False
        self.uncounted: dict[str, int] = {}
        self.written: set[int] = set()  # numbers of the storages that its kernels wrote


class PendingCall:
    """A `ModuleCall` that is running, or has ended."""

    __slots__ = (
        "direct", "end_op", "failure", "first_op", "index", "inputs", "location", "module",
        "outputs", "parent", "path", "returned",
    )  # fmt: skip

    def __init__(
        self, index: int, path: str, parent: int | None, module: torch.nn.Module, first_op: int
    ) -> None:
        self.index = index
        self.path = path
        self.parent = parent
        self.module: torch.nn.Module | None = module
        self.inputs: Mapping[str, Any] = {}
        self.outputs: Any = None
        self.first_op = first_op
        self.end_op = first_op
        self.location: Location | None = None
        self.failure: int | None = None
        self.direct = False
        self.returned = False


class KernelObserver(Protocol):
    """What takes down the kernels of a pass too; `StepRecorder` does."""

    def kernel(
        self,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        result: Any,
        op: int | None,
        flops: int,
    ) -> None:
        """Take down a kernel that has run."""


class Recorder:
    """What has been seen of a pass so far."""

    def __init__(self, memory: ActivationMemory, tells_devices: bool = False) -> None:
        self.memory = memory
        self.step: KernelObserver | None = None
        self.invented = InventedValues()
        # On the meta rung a stranger that is real was made without a thought of devices.
        self.tells_devices = tells_devices
        self.values: list[PendingValue] = []
        self.ops: list[PendingOp] = []
        self.calls: list[PendingCall] = []
        self.lines: list[LineValue] = []
        self.size_names: list[SizeName] = []
        self.open_calls: list[PendingCall] = []
        self.running: PendingOp | None = None
        # The first exception of the recording itself, where it would look like the model's.
        self.defect: Exception | None = None
        # id(tensor) -> (weak reference, value, its memory): tensors must not live longer for
        # being watched.
        self._tensors: dict[int, tuple[Any, int, StorageRecord]] = {}
        self._storages: dict[int, StorageRecord] = {}
        # Parameters and buffers that lazy modules have not made yet, by `id`.
        self.unmade: dict[int, tuple[torch.Tensor, str, bool]] = {}

    # Values

    def storage(self, tensor: torch.Tensor) -> StorageRecord:
        """The record of the memory that a tensor sees."""
        number = self.memory.saw(tensor)
        record = self._storages.get(number)
        if record is None:
            record = self._storages[number] = StorageRecord(number)
        return record

    def value(self, tensor: torch.Tensor) -> int:
        """The index of what this tensor holds now; a tensor never seen is a constant."""
        known = self._tensors.get(id(tensor))
        if known is None or known[0]() is not tensor:
            return self._stranger(tensor)
        index = known[1]
        value = self.values[index]
        storage = known[2]
        if storage.version == value.version:
            return index
        # Another view of its memory was written since: it holds something new.
        fresh = self.new_value(tensor, "computed", producer=storage.writer, device=value.device)
        self.values[fresh].guessed = value.guessed
        if storage.writer is not None:
            self.ops[storage.writer].outputs.append(fresh)
        return fresh

    def _stranger(self, tensor: torch.Tensor) -> int:
        unmade = self.unmade.get(id(tensor))
        if unmade is not None:
            self.memory.leave_out(tensor)
            return self.new_value(tensor, "buffer" if unmade[2] else "parameter", name=unmade[1])
        stays = self.tells_devices and not tensor.is_meta
        return self.new_value(tensor, "constant", device="cpu" if stays else "model")

    def known(self, tensor: torch.Tensor) -> int | None:
        """The index that this very object was last seen as, None for a stranger."""
        known = self._tensors.get(id(tensor))
        return known[1] if known is not None and known[0]() is tensor else None

    def new_value(
        self,
        tensor: torch.Tensor,
        kind: str,
        *,
        name: str | None = None,
        producer: int | None = None,
        device: str = "model",
    ) -> int:
        """Enters what a tensor holds from now on."""
        index = len(self.values)
        storage = self.storage(tensor)
        shape, stride = layout_of(tensor)
        self.values.append(
            PendingValue(
                shape,
                DTYPES[tensor.dtype],
                kind,
                name,
                producer,
                storage,
                stride,
                device,
                tensor.requires_grad,
            )
        )
        self._tensors[id(tensor)] = (weakref.ref(tensor), index, storage)
        return index

    def forget(self, tensor: torch.Tensor) -> tuple[int, StorageRecord] | None:
        """Stops watching the object, so that it can be swapped; gives what it was."""
        index = self.known(tensor)
        if index is None:
            return None
        return index, self._tensors.pop(id(tensor))[2]

    def watch(self, tensor: torch.Tensor, index: int, storage: StorageRecord) -> None:
        """Takes up watching an object that was swapped: its memory stands for what it was."""
        self._storages[self.memory.saw(tensor)] = storage
        self._tensors[id(tensor)] = (weakref.ref(tensor), index, storage)

    def written(self, tensor: torch.Tensor, op: PendingOp | None) -> None:
        """A kernel wrote into the tensor's memory."""
        storage = self.storage(tensor)
        storage.version += 1
        if op is not None:
            storage.writer = op.index
            op.written.add(storage.number)

    def nest(self, value: Any, found: list[tuple[int, torch.Tensor]] | None = None) -> Any:
        """Plain data in a value's place, with a `ValueIndex` for each tensor.

        The tensors, with the indices of their values, are appended to `found`. What is not plain
        data is None.
        """
        if isinstance(value, torch.Tensor):
            index = self.value(value)
            if found is not None:
                found.append((index, value))
            return ValueIndex(index)
        if isinstance(value, _PLAIN):
            return plain(value)
        if isinstance(value, list | tuple):
            return tuple([self.nest(item, found) for item in value])
        if isinstance(value, Mapping):
            return {str(key): self.nest(item, found) for key, item in value.items()}
        if isinstance(value, slice):
            parts = (value.start, value.stop, value.step)
            return slice(*(self.nest(part, found) for part in parts))
        if isinstance(value, torch.dtype):
            return DTYPES[value]
        if isinstance(value, torch.device | torch.memory_format | torch.layout):
            return str(value).removeprefix("torch.")
        fields = fields_of(value)
        if fields:
            return {name: self.nest(item, found) for name, item in fields.items()}
        return None

    # Ops

    def begin_op(self, name: str, function: str, location: Location | None) -> PendingOp:
        if self.ops and self.ops[-1].raised:
            self._forget_raised()
        op = PendingOp(len(self.ops), name, function)
        op.location = location
        op.call = self.open_calls[-1].index if self.open_calls else None
        op.grad_enabled = torch.is_grad_enabled()
        self.ops.append(op)
        return op

    def _forget_raised(self) -> None:
        """The last op raised, and yet the code goes on: it handled that, so nothing happened."""
        self.ops.pop()
        for call in reversed(self.calls):
            if call.end_op > len(self.ops):
                call.end_op = len(self.ops)

    def drop_op(self, op: PendingOp) -> None:
        """It made no tensor after all: a question, not work."""
        if self.ops and self.ops[-1] is op:
            self.ops.pop()

    def end_op(self, op: PendingOp, result: Any, device: str = "model") -> None:
        """Enters what an op gave back, and who read what."""
        for index in dict.fromkeys(op.inputs):
            self.values[index].users.append(op.index)
        made = list(tensors_in(result))
        for tensor in made:
            op.outputs.append(self.new_value(tensor, "computed", producer=op.index, device=device))
        self.invented.computed(
            op.name,
            op.arguments,
            op.inputs,
            (self.values[index].dtype for index in op.inputs),
            zip(op.outputs, made, strict=False),
        )

    def settle(self) -> None:
        """The pass is over: an op that raised and explains no failure did not happen."""
        if self.ops and self.ops[-1].raised and self.ops[-1].failure is None:
            self._forget_raised()

    # Evidence

    def frozen_values(self) -> tuple[Value, ...]:
        return tuple(
            Value(
                index,
                v.shape,
                v.dtype,
                v.kind,  # type: ignore[arg-type]
                v.name,
                v.producer,
                tuple(v.users),
                v.storage,
                v.version,
                v.stride,
                v.device,
                v.requires_grad,
                bool(v.guessed) and not v.doubted,
            )
            for index, v in enumerate(self.values)
        )

    def frozen_ops(self) -> tuple[Op, ...]:
        return tuple(
            Op(
                op.index,
                op.name,
                op.function,
                tuple(op.inputs),
                tuple(op.outputs),
                op.arguments,
                op.in_place,
                op.call,
                op.location,
                op.macs,
                op.flops,
                op.failure,
                op.grad_enabled,
            )
            for op in self.ops
        )

    def frozen_calls(self) -> tuple[ModuleCall, ...]:
        return tuple(
            ModuleCall(
                call.index,
                call.path,
                call.parent,
                call.inputs,
                call.outputs,
                call.first_op,
                call.end_op,
                call.location,
                call.failure,
                call.direct,
            )
            for call in self.calls
        )


def plain(value: Any) -> Any:
    """The value in its plain type: evidence must not need a user's classes to be read.

    An enumeration's member that is a string, a number of numpy's that is a float.
    """
    if type(value) in _PLAIN:
        return value
    if type(value) is TracedSize:
        return as_evidence(value)
    if isinstance(value, str):
        return str.__str__(value)
    kinds: tuple[Any, ...] = (int, float, complex)
    return next(kind(value) for kind in kinds if isinstance(value, kind))


def fields_of(value: Any) -> Mapping[str, Any]:
    """The fields of a dataclass instance or packed sequence, nothing for other objects."""
    names = getattr(type(value), "__dataclass_fields__", None)
    if names is None:
        return {}
    return {name: getattr(value, name, None) for name in names}


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor in a nest of lists, tuples, mappings and dataclasses, in order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif value is not None and not isinstance(value, _PLAIN):
        for item in fields_of(value).values():
            yield from tensors_in(item)
