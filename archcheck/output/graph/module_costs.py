"""What each module costs by itself, and what flows through the model, step by step."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from math import prod
from typing import TYPE_CHECKING

from archcheck.evidence.target_summary import TargetReport

if TYPE_CHECKING:
    from archcheck.core.target import Shape
    from archcheck.evidence.records import Value
    from archcheck.evidence.trace import Trace

# Layers that say which dimension holds the channels; others keep what came before them.
_FIRST = re.compile(r"Conv|BatchNorm|InstanceNorm|GroupNorm|Pool|Upsample|Dropout[123]d")
_LAST = re.compile(r"Linear|LayerNorm|RMSNorm|Embedding|Attention|LSTM|GRU|RNN")
_BITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class ModuleCost:
    """A module's own share: over all modules each column adds up to the model's total.

    `activation_bytes` is the memory of the results that its own operators made, views left out.
    """

    path: str
    type: str
    parameters: int
    macs: int
    activation_bytes: int


@dataclass(frozen=True, slots=True)
class Step:
    """Some operators in a row that ran in one call, and the result of the last of them.

    Attributes:
        module: The index of the module in the costs; 0 is the model itself.
        operators: Their names.
        channels: Of the result; None where it has no such dimension.
        spatial: The result's other sizes, but for the batch.
        made: Bytes of memory that their results take, views left out.
    """

    module: int
    operators: tuple[str, ...]
    channels: int | None
    spatial: Shape
    made: int


class Costs:
    """What a traced model costs, by module and by step."""

    def __init__(self, target: TargetReport) -> None:
        self._target = target
        self._trace = target.trace
        self._made = list(_made(target.trace))
        self._numbers = {
            path: number
            for number, module in enumerate(target.trace.modules)
            for path in (module.path, *module.aliases)
        }

    def modules(self) -> tuple[ModuleCost, ...]:
        """Every module once, in the order of `named_modules()`."""
        made = [0] * len(self._trace.modules)
        for op, size in zip(self._trace.ops, self._made, strict=True):
            made[self._module(op.call)] += size
        return tuple(
            ModuleCost(layer.path, layer.type, layer.own_params, layer.own_macs, size)
            for layer, size in zip(self._target.modules, made, strict=True)
        )

    def steps(self) -> Iterator[Step]:
        """The steps of the pass, in order; those that give nothing left out."""
        last = False
        for call, group in groupby(self._trace.ops, key=lambda op: op.call):
            ops = [op for op in group if op.outputs]
            if not ops:
                continue
            module = self._module(call)
            kind = self._trace.modules[module].type
            last = bool(_LAST.search(kind)) or (last and not _FIRST.search(kind))
            channels, spatial = _split(self._trace.shape(ops[-1].outputs[-1]), last)
            names = tuple(dict.fromkeys(op.name for op in ops))
            yield Step(module, names, channels, spatial, sum(self._made[op.index] for op in ops))

    def _module(self, call: int | None) -> int:
        return 0 if call is None else self._numbers[self._trace.calls[call].path]


def _made(trace: Trace) -> Iterator[int]:
    """For each operator the bytes of what it gave that shares its memory with no tensor before."""
    seen = {value.storage for value in trace.values if value.producer is None}
    for op in trace.ops:
        size = 0
        for index in op.outputs:
            value = trace.values[index]
            if value.storage not in seen:
                seen.add(value.storage)
                size += _bytes(value)
        yield size


def _bytes(value: Value) -> int:
    bits = _BITS.search(value.dtype)
    return prod(value.shape) * max(int(bits[0]) // 8 if bits else 1, 1)


def _split(shape: Shape, last: bool) -> tuple[int | None, Shape]:
    """The channels, and the sizes besides batch and channels."""
    if len(shape) < 2:
        return None, ()
    if last or len(shape) == 2:
        return shape[-1], shape[1:-1]
    return shape[1], shape[2:]
