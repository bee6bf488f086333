"""Operators that take functions, run as the Python that they stand for.

`torch.cond`, `while_loop`, `map`, `scan` and flex attention compile what they are given before they
run it. A pass follows the code as it is written: the functions are called as plain functions, so
that what runs in them is recorded like everything else. Which way a condition goes is read from its
value, and so left to real tensors where that is computed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import MappingProxyType
from typing import Any

import torch
from torch._ops import HigherOrderOperator
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._mode_utils import no_dispatch

from archcheck.tracing.costs.counts import attention_macs
from archcheck.tracing.patching.patches import on_this_thread, replaced
from archcheck.tracing.record.kernels import KernelMode
from archcheck.tracing.record.lines import Lines
from archcheck.tracing.record.placement import LeaveRung
from archcheck.tracing.record.recorder import Recorder, tensors_in
from archcheck.tracing.record.spans import Spans

_FLEX = "torch.nn.attention.flex_attention"


@contextmanager
def higher_order_as_python(
    recorder: Recorder, spans: Spans, lines: Lines, kernels: KernelMode, is_real: bool
) -> Iterator[None]:
    """Run the functions that higher-order operators are given, in this block.

    Args:
        is_real: The pass has real tensors, on which any such operator runs by itself.
    """
    original: Any = HigherOrderOperator.__call__
    flex = _FlexAttention(recorder, spans, lines, kernels)
    mine = on_this_thread()

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not mine() or kernels.is_paused:
            return original(self, *args, **kwargs)
        plain = _PLAIN.get(self.name())
        if plain is not None:
            return plain(*args, **kwargs)
        if self.name() == "flex_attention":
            return flex(*args, **kwargs)
        if not is_real:
            raise LeaveRung(f"the operator {self.name()} can only be followed on real tensors")
        with torch._C.DisableTorchFunction(), no_dispatch():
            return original(self, *args, **kwargs)

    with ExitStack() as stack:
        stack.enter_context(replaced((HigherOrderOperator, "__call__", call)))
        stack.enter_context(_uncompiled())
        yield


@contextmanager
def _uncompiled() -> Iterator[None]:
    """The wrappers around these operators neither compile nor ask which device could."""
    replacements: list[tuple[Any, str, Any]] = []
    utils = sys.modules.get("torch._higher_order_ops.utils")
    if hasattr(utils, "_hop_compile_and_call"):
        replacements.append((utils, "_hop_compile_and_call", _called))
    flex = sys.modules.get(_FLEX)
    if hasattr(flex, "_validate_device"):
        replacements.append((flex, "_validate_device", lambda *tensors: None))
    with replaced(*replacements):
        yield


# --- control flow ---------------------------------------------------------------------------------


def _cond(pred: Any, true_fn: Any, false_fn: Any, operands: Sequence[Any] = ()) -> Any:
    return true_fn(*operands) if bool(pred) else false_fn(*operands)


def _while_loop(
    cond_fn: Any, body_fn: Any, carried: Sequence[Any], additional: Sequence[Any] = (), **_: Any
) -> Any:
    carried = tuple(carried)
    while bool(cond_fn(*carried, *additional)):
        step = body_fn(*carried, *additional)
        carried = tuple(step) if isinstance(step, list | tuple) else (step,)
    return carried


def _map(function: Any, xs: Sequence[torch.Tensor], additional: Sequence[Any] = ()) -> Any:
    rows = [function(*row, *additional) for row in zip(*(x.unbind(0) for x in xs), strict=True)]
    return _stacked(rows)


def _scan(
    combine: Any, init: Sequence[Any], xs: Sequence[torch.Tensor], additional: Sequence[Any] = ()
) -> Any:
    carried, rows = list(init), []
    for row in zip(*(x.unbind(0) for x in xs), strict=True):
        result = combine(*carried, *row, *additional)
        carried = list(result[: len(init)])
        rows.append(tuple(result[len(init) :]))
    return (*carried, *_stacked(rows))


def _associative_scan(
    combine: Any, xs: Sequence[torch.Tensor], additional: Sequence[Any] = ()
) -> Any:
    rows = list(zip(*(x.unbind(0) for x in xs), strict=True))
    seen = rows[:1]
    for row in rows[1:]:
        seen.append(tuple(combine(*seen[-1], *row, *additional)))
    return _stacked(seen)


def _stacked(rows: Sequence[Any]) -> Any:
    """Each leaf of the rows, one below the other."""
    leaves = [pytree.tree_flatten(row)[0] for row in rows]
    spec = pytree.tree_flatten(rows[0])[1]
    return pytree.tree_unflatten(
        [torch.stack(column) for column in zip(*leaves, strict=True)], spec
    )


_PLAIN: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "cond": _cond,
        "while_loop": _while_loop,
        "map_impl": _map,
        "scan": _scan,
        "associative_scan": _associative_scan,
    }
)


# --- flex attention -------------------------------------------------------------------------------


class _TensorsRead(TorchFunctionMode):
    """Collects the tensors that functions are given."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[int, torch.Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.found |= {id(t): t for t in tensors_in((*args, *kwargs.values()))}
        return func(*args, **kwargs)


class _FlexAttention:
    """Enters flex attention as one op, with the tensors that its functions read.

    The fused kernel keeps the output and its statistics, and never the whole matrix of scores.
    """

    def __init__(self, recorder: Recorder, spans: Spans, lines: Lines, kernels: KernelMode) -> None:
        self._recorder = recorder
        self._spans = spans
        self._lines = lines
        self._kernels = kernels

    def __call__(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        score_mod: Any,
        block_mask: Sequence[Any],
        *_: Any,
        **__: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        recorder = self._recorder
        with torch._C.DisableTorchFunction():
            frame = self._spans.frame(2)
            self._lines.event(frame)
            op = recorder.begin_op("flex_attention", _FLEX, self._spans.at(frame))
        recorder.running = op
        try:
            with self._kernels.paused():
                read = self._read_by(query, key, (score_mod, block_mask[-1]))
                result = _attended(query, key, value, read)
        except BaseException:
            recorder.drop_op(op)
            raise
        finally:
            recorder.running = None
        with torch._C.DisableTorchFunction():
            found: list[tuple[int, torch.Tensor]] = []
            named = {"query": query, "key": key, "value": value, "read": tuple(read)}
            op.arguments = {name: recorder.nest(part, found) for name, part in named.items()}
            op.inputs = [index for index, _ in found]
            op.macs = attention_macs(tuple(query.shape), tuple(key.shape), tuple(value.shape))
            op.flops = 2 * op.macs
            recorder.end_op(op, result)
        return result

    def _read_by(
        self, query: torch.Tensor, key: torch.Tensor, functions: Sequence[Any]
    ) -> list[torch.Tensor]:
        """The recorded tensors that the functions of scores and masks read."""
        batch, heads, length = query.shape[:3]
        sizes = (batch, heads, length, key.shape[2])
        places = [
            torch.zeros(size, dtype=torch.int, device=query.device).view(
                [size if axis == dim else 1 for axis in range(4)]
            )
            for dim, size in enumerate(sizes)
        ]
        score = query.new_empty((1, 1, 1, 1))
        with _TensorsRead() as reads, torch.no_grad():
            for function, given in zip(functions, ((score, *places), places), strict=True):
                try:
                    function(*given)
                except Exception:  # written for single numbers, and no broadcasting
                    continue
        return [t for t in reads.found.values() if self._recorder.known(t) is not None]


def _attended(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, read: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The output and its statistics, through which gradients flow to all that was read."""
    shape = (*query.shape[:3], value.shape[-1])
    linked = [t for t in (query, key, value, *read) if t.requires_grad]
    output = torch.empty(shape, dtype=query.dtype, device=query.device)
    statistics = torch.empty(shape[:3], dtype=torch.float32, device=query.device)
    for tensor in linked:
        link = tensor.reshape(-1)[:1].sum()
        output = output + link.to(output.dtype)
        statistics = statistics + link.to(statistics.dtype)
    return output, statistics, statistics.clone()


def _called(function: Callable[..., Any], args: Any, kwargs: Any = None) -> Any:
    return function(*args, **(kwargs or {}))
