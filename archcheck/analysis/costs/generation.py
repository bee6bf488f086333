"""What generating tokens keeps: keys and values of every attention, by the calls of the trace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from archcheck.core.precisions import Precision
from archcheck.evidence.records import Op
from archcheck.evidence.training_step import DTYPE_BYTES

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

_ATTENTION = "scaled_dot_product_attention"


@dataclass(frozen=True, slots=True)
class Cache:
    """The keys and values of one attention.

    Attributes:
        bytes_per_token: Of one sequence.
        window: The tokens that are kept at most, where the mask or the module bounds them.
    """

    op: int
    bytes_per_token: int
    window: int | None


@dataclass(frozen=True, slots=True)
class Generation:
    """What generation takes.

    Attributes:
        kv_cache_bytes_per_token: For one further token of one sequence, all attentions together.
        cache_bytes: Of the batch, after the prompt and so many tokens.
        peak_bytes: Weights, cache, and what a pass over the prompt has alive at once.
        decode_bytes: What one step of decoding reads at least: weights and cache.
    """

    kv_cache_bytes_per_token: int
    prompt: int
    tokens: int
    cache_bytes: int
    peak_bytes: int
    decode_bytes: int


def caches(trace: Trace, precision: Precision) -> tuple[Cache, ...]:
    """The self-attentions of a trace that generation keeps keys and values for."""
    return tuple(_caches(trace, precision))


def _caches(trace: Trace, precision: Precision) -> Iterator[Cache]:
    for op in trace.ops:
        if op.name != _ATTENTION or len(op.inputs) < 3:
            continue
        query, key, value = (trace.values[index] for index in op.inputs[:3])
        if len(key.shape) != 4 or query.shape[-2] != key.shape[-2]:
            continue  # it looks at another sequence, which does not grow
        size = _bytes(key.dtype, precision)
        heads = _stored_heads(trace, op, key.shape[1])
        per_token = int(heads * (key.shape[-1] + value.shape[-1]) * size)
        yield Cache(op.index, per_token, _window(trace, op))


def _bytes(dtype: str, precision: Precision) -> float:
    kept = precision.autocast or precision.weights
    return DTYPE_BYTES[kept] if kept and dtype.startswith("float") else DTYPE_BYTES.get(dtype, 4)


def _stored_heads(trace: Trace, op: Op, heads: int) -> int:
    """The heads before they were repeated for those of the query, as grouped attention does."""
    index = op.inputs[1]
    batch = trace.values[index].shape[0]
    for _ in range(6):
        maker = trace.values[index].producer
        if maker is None or not trace.ops[maker].inputs:
            return heads
        made = trace.ops[maker]
        before = trace.values[made.inputs[0]].shape
        after = trace.values[index].shape
        if made.name in ("expand", "repeat_interleave", "repeat") and prod(before) < prod(after):
            return max(heads * prod(before) // prod(after), 1)
        if made.name not in ("reshape", "view", "contiguous", "clone", "to", "getitem", "unsqueeze",
                             "expand", "transpose", "permute"):  # fmt: skip
            return heads
        if not before or before[0] != batch:
            return heads
        index = made.inputs[0]
    return heads


def _window(trace: Trace, op: Op) -> int | None:
    """The window that the module around an attention states."""
    module = trace.module_of(op)
    window = None if module is None else module.attributes.get("sliding_window")
    return window if isinstance(window, int) and window > 0 else None


def generation(trace: Trace, precision: Precision, tokens: int, weights: int) -> Generation | None:
    """The costs of generating; None where the trace has no attention that keeps a cache."""
    found = caches(trace, precision)
    if not found:
        return None
    query = trace.values[trace.ops[found[0].op].inputs[0]]
    batch, prompt = query.shape[0], query.shape[-2]
    length = prompt + tokens
    kept = sum(
        one.bytes_per_token * (min(length, one.window) if one.window else length) for one in found
    )
    largest = max((_largest_values(trace, precision)), default=0)
    return Generation(
        kv_cache_bytes_per_token=sum(one.bytes_per_token for one in found),
        prompt=prompt,
        tokens=tokens,
        cache_bytes=batch * kept,
        peak_bytes=weights + batch * kept + largest,
        decode_bytes=weights + batch * kept,
    )


def _largest_values(trace: Trace, precision: Precision) -> Iterator[int]:
    """For each op what it reads and makes besides the weights: one of them is alive at a time."""
    for op in trace.ops:
        values = {index: trace.values[index] for index in (*op.inputs, *op.outputs)}
        storages = {
            value.storage: int(prod(value.shape) * _bytes(value.dtype, precision))
            for value in values.values()
            if value.kind in ("computed", "input")
        }
        yield sum(storages.values())
