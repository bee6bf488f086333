"""The bytes that an op has to move, and how many FLOPs it does for each: its intensity."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import TYPE_CHECKING

from archcheck.evidence.records import ModuleCall, Op, Value
from archcheck.evidence.training_step import DTYPE_BYTES

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

_GATHERING = frozenset({"embedding", "index_select", "gather", "take", "getitem"})


def op_bytes(trace: Trace, op: Op) -> int:
    """What an op reads and writes at least in the forward pass; a view moves nothing."""
    inputs = [trace.values[index] for index in dict.fromkeys(op.inputs)]
    outputs = [trace.values[index] for index in op.outputs]
    before = {value.storage for value in inputs}
    if not op.in_place and outputs and all(value.storage in before for value in outputs):
        return 0
    written = sum(map(_bytes, outputs))
    if op.name in _GATHERING and inputs:
        return 2 * written + sum(map(_bytes, inputs[1:]))
    return written + sum(map(_bytes, inputs))


def module_bytes(trace: Trace) -> dict[str, int]:
    """For each module what the ops of its calls move, calls below included."""
    moved = [op_bytes(trace, op) for op in trace.ops]
    sums = [0]
    for size in moved:
        sums.append(sums[-1] + size)
    return {
        module.path: sum(_within(sums, (trace.calls[index] for index in module.calls)))
        for module in trace.modules
    }


def _within(sums: list[int], calls: Iterable[ModuleCall]) -> Iterable[int]:
    for call in calls:
        yield sums[call.end_op] - sums[call.first_op]


def _bytes(value: Value) -> int:
    return int(prod(value.shape) * DTYPE_BYTES.get(value.dtype, 4))
