"""Takes down the kernels of a training step, and the memory that comes and goes with them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from archcheck.evidence.training_step import Block, Kernel, Kind, Phase, SavedTensor
from archcheck.tracing.costs.memory import ActivationMemory
from archcheck.tracing.record.recorder import DTYPES, Recorder, tensors_in

if TYPE_CHECKING:
    from archcheck.tracing.record.kernels import KernelMode

_next_node = torch._C._autograd._get_sequence_nr
_current_node = torch._C._current_autograd_node
# They read as much of their first tensor as they give.
_GATHERING = frozenset(
    {"aten::embedding", "aten::index", "aten::index_select", "aten::gather", "aten::take"}
)


class _PendingBlock:
    __slots__ = ("bytes", "dtype", "kind", "name", "storage")

    def __init__(self, storage: int, size: int, kind: Kind) -> None:
        self.storage = storage
        self.bytes = size
        self.kind = kind
        self.dtype = ""
        self.name: str | None = None


class StepRecorder:
    """The kernels and blocks of one step, as they happen.

    Args:
        memory: Tells when a storage is there, and when it is gone.
    """

    def __init__(self, memory: ActivationMemory) -> None:
        self._memory = memory
        self.phase: Phase = "forward"
        self._blocks: list[_PendingBlock] = []
        self._by_storage: dict[int, int] = {}
        self._made: list[int] = []
        self._freed: list[list[int]] = []
        self._kernels: list[tuple[str, Phase, int | None, tuple[int, ...], int, int, int]] = []
        self.start: tuple[int, ...] = ()
        self._saved: list[tuple[int, int, tuple[int, ...], torch.dtype]] = []
        # The first number of autograd nodes that is not the op's any more, with the op.
        self._node_ends: list[int] = []
        self._node_ops: list[int] = []
        memory.observer = self

    # Told by the memory

    def appeared(self, storage: int, size: int) -> None:
        kind: Kind = "activation_gradient" if self.phase == "backward" else "activation"
        self._by_storage[storage] = len(self._blocks)
        self._made.append(len(self._blocks))
        self._blocks.append(_PendingBlock(storage, size, kind))

    def vanished(self, storage: int) -> None:
        block = self._by_storage.pop(storage, None)
        if block is None:
            return
        if self._freed:
            self._freed[-1].append(block)
        else:
            self.start = tuple(one for one in self.start if one != block)

    def model_own(self, storage: int) -> None:
        """The storage turned out to be a parameter or buffer."""
        block = self._by_storage.pop(storage, None)
        if block is not None:
            self._blocks[block].bytes = 0

    def begin(self) -> None:
        """What is there now are the inputs."""
        self.start = tuple(self._made)
        for block in self._made:
            self._blocks[block].kind = "input"
        self._made = []

    # Told by the modes

    def kernel(
        self,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        result: Any,
        op: int | None,
        flops: int,
    ) -> None:
        """A kernel has run."""
        for tensor in tensors_in(result):
            block = self._by_storage.get(self._memory.saw(tensor))
            if block is not None and not self._blocks[block].dtype:
                self._blocks[block].dtype = DTYPES[tensor.dtype]
        if self.phase == "backward":
            op = self._differentiated()
        elif op is not None:
            end = _next_node()
            if not self._node_ends or self._node_ends[-1] != end:
                self._node_ends.append(end)
                self._node_ops.append(op)
        schema = getattr(func, "_schema", None)
        name = str(schema.name) if schema is not None else str(func)
        moved = _moved(name, schema, args, kwargs, result)
        if not moved and not flops and not self._made:
            return  # a view: autograd makes more of them under hooks than without
        work = _work(name, args, flops)
        self._kernels.append((name, self.phase, op, tuple(self._made), flops, moved, work))
        self._freed.append([])
        self._made = []

    def _differentiated(self) -> int | None:
        """The op whose gradient is being computed."""
        node = _current_node()
        if node is None:
            return None
        place = bisect_right(self._node_ends, node._sequence_nr())
        return self._node_ops[place] if place < len(self._node_ops) else None

    def is_cast(self, tensor: torch.Tensor, name: str) -> None:
        """The tensor is a parameter's copy in another dtype."""
        block = self._by_storage.get(self._memory.saw(tensor))
        if block is not None:
            self._blocks[block].kind = "cast"
            self._blocks[block].name = name

    def end(self, named: Mapping[str, torch.Tensor]) -> None:
        """The step is over, and these are the parameters' gradients, by the parameters' names."""
        for name, tensor in named.items():
            block = self._by_storage.get(self._memory.saw(tensor))
            if block is not None:
                self._blocks[block].kind = "gradient"
                self._blocks[block].name = name
        self._memory.observer = None

    @contextmanager
    def noting_saved(self, recorder: Recorder, kernels: KernelMode) -> Iterator[None]:
        """What autograd saves in this block is taken down under the running op."""

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            op = recorder.running
            if op is not None and not kernels.is_paused:
                # A constant that stands in for a real one is nobody's memory.
                storage = self._memory.known(tensor) or 0
                self._saved.append((op.index, storage, tuple(tensor.shape), tensor.dtype))
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            yield

    # Evidence

    def blocks(self, growths: Sequence[int] | None) -> tuple[Block, ...]:
        return tuple(
            Block(
                block.bytes,
                block.kind,
                block.dtype,
                block.name,
                block.storage,
                None if growths is None else growths[place],
            )
            for place, block in enumerate(self._blocks)
        )

    def sizes(self) -> list[int]:
        return [block.bytes for block in self._blocks]

    def shape_of_step(self) -> list[tuple[str, tuple[int, ...]]]:
        """Which kernels ran, and which blocks they made: equal for passes that went alike."""
        return [(name, made) for name, _, _, made, *_ in self._kernels]

    def kernels(self) -> tuple[Kernel, ...]:
        return tuple(
            Kernel(name, phase, op, made, tuple(freed), flops, moved, work)
            for (name, phase, op, made, flops, moved, work), freed in zip(
                self._kernels, self._freed, strict=True
            )
        )

    def saved(self, recorder: Recorder) -> tuple[SavedTensor, ...]:
        """What autograd saved, each with what it is to its op."""
        values, ops = recorder.values, recorder.ops
        kinds = {v.storage: v.kind for v in values if v.kind in ("parameter", "buffer")}
        found: list[SavedTensor] = []
        for index, storage, shape, dtype in self._saved:
            if index >= len(ops):
                continue  # the op raised, and was dropped
            op = ops[index]
            if storage in kinds:
                role = kinds[storage]
            elif not storage or any(values[i].storage == storage for i in op.inputs):
                role = "input"
            elif any(values[i].storage == storage for i in op.outputs):
                role = "output"
            else:
                role = "other"
            found.append(SavedTensor(index, role, shape, DTYPES[dtype], storage))  # type: ignore[arg-type]
        return tuple(found)


def _work(name: str, args: Sequence[Any], flops: int) -> int:
    """The FLOPs that a kernel really does.

    Of a grouped convolution's backward pass torch's counter takes the weight's gradient for one
    without groups; the input's, which is as much work, it counts with them.
    """
    if name != "aten::convolution_backward" or len(args) < 11 or args[9] == 1:
        return flops
    groups = int(args[9])
    wants_input, wants_weight, _ = args[10]
    if not wants_weight:
        return flops
    return 2 * flops // (1 + groups) if wants_input else flops // groups


def _moved(
    name: str, schema: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any
) -> int:
    """Bytes that the kernel has to read and to write; a view moves nothing."""
    made = list(tensors_in(result))
    if not made:
        return 0
    mutable = schema is not None and schema.is_mutable
    given = {id(one): one for one in (*tensors_in(args), *tensors_in(kwargs))}
    if not mutable and _is_view(made, given.values()):
        return 0
    written = sum(map(_bytes, made))
    if name in _GATHERING:
        table = next(iter(given), None)
        return 2 * written + sum(_bytes(t) for key, t in given.items() if key != table)
    return written + sum(map(_bytes, given.values()))


def _is_view(made: Sequence[torch.Tensor], given: Any) -> bool:
    try:
        storages = {tensor.untyped_storage()._cdata for tensor in given}
        return all(tensor.untyped_storage()._cdata in storages for tensor in made)
    except (NotImplementedError, RuntimeError):
        return False


def _bytes(tensor: torch.Tensor) -> int:
    try:
        return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
    except (NotImplementedError, RuntimeError):
        return 0
