"""What each module costs by itself, and what flows through the model, step by step."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from math import prod

from archcheck.evidence import Op, Shape, Trace, Value
from archcheck.report import TargetReport

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


def module_costs(target: TargetReport) -> tuple[ModuleCost, ...]:
    """Every module once, in the order of `named_modules()`."""
    below: dict[str, int] = {}
    for layer, module in zip(target.modules, target.trace.modules, strict=True):
        if layer.path:
            below[layer.parent] = below.get(layer.parent, 0) + module.activation_bytes
    return tuple(
        ModuleCost(
            layer.path,
            layer.type,
            layer.own_params,
            layer.own_macs,
            max(module.activation_bytes - below.get(layer.path, 0), 0),
        )
        for layer, module in zip(target.modules, target.trace.modules, strict=True)
    )


def steps(trace: Trace) -> Iterator[Step]:
    """The steps of the pass, in order; those that neither make nor reshape anything left out."""
    numbers = {module.path: number for number, module in enumerate(trace.modules)}
    numbers.update(
        (alias, numbers[module.path]) for module in trace.modules for alias in module.aliases
    )
    seen = {value.storage for value in trace.values if value.producer is None}
    last = False
    for call, group in groupby(trace.ops, key=lambda op: op.call):
        ops = [op for op in group if op.outputs]
        if not ops:
            continue
        module = 0 if call is None else numbers[trace.calls[call].path]
        made = sum(_new_bytes(trace, op, seen) for op in ops)
        kind = trace.modules[module].type
        last = bool(_LAST.search(kind)) or (last and not _FIRST.search(kind))
        shape = trace.shape(ops[-1].outputs[-1])
        channels, spatial = _split(shape, last)
        yield Step(module, tuple(dict.fromkeys(op.name for op in ops)), channels, spatial, made)


def _new_bytes(trace: Trace, op: Op, seen: set[int]) -> int:
    """The bytes of what an operator gave that no tensor before it shares its memory with."""
    size = 0
    for index in op.outputs:
        value = trace.values[index]
        if value.storage not in seen:
            seen.add(value.storage)
            size += _bytes(value)
    return size


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
