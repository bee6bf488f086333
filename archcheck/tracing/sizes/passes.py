"""Passes with other input sizes, unrecorded: does the model accept them?

They confirm what `sizes` found, so they are as cheap as a pass can be: no records, and the slow
kernels answered by `shortcuts`. They run on the model of a pass that is over.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import cache
from math import prod
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from archcheck.core.target import Shape
from archcheck.evidence.trace import Trace
from archcheck.tracing.attempt import Attempt
from archcheck.tracing.costs.memory import ActivationMemory
from archcheck.tracing.input_tensors import leaves, map_nest
from archcheck.tracing.patching.patches import without_slow_imports
from archcheck.tracing.patching.shortcuts import answer
from archcheck.tracing.patching.snapshot import preserved_settings, seeded, without_collections
from archcheck.tracing.record.functions import Functions
from archcheck.tracing.record.placed import OutOfTime, PlacedMode
from archcheck.tracing.record.placement import LeaveRung, MetaPlacement, Placement
from archcheck.tracing.record.recorder import Recorder, tensors_in
from archcheck.tracing.sizes.dimensions import values_in
from archcheck.tracing.sizes.solve import answered_sizes
from archcheck.tracing.sizes.symbolic import symbolic_shapes

# All passes together take no longer; what comes later is not answered.
SECONDS = 2.0
# And no longer than this many kernels, in one function or in many: a recurrent layer over a long
# sequence is one function that runs kernels at each step.
_KERNELS = 50_000
# Real tensors of more elements than these times the traced input's are not tried, but small ones.
_LARGER = 4
_SMALL = 1 << 18


class Sizing:
    """What to find out about input sizes after a pass.

    Args:
        free: For each input its free dimensions, with their letters.
        search: Find the sizes that the model accepts.
        symbolic: Find every size as a function of the input's.
    """

    def __init__(
        self,
        free: Sequence[Mapping[int, str]] = (),
        search: bool = True,
        symbolic: bool = False,
    ) -> None:
        self._free = free
        self._search = search
        self._symbolic = symbolic

    def found(self, attempt: Attempt, trace: Trace) -> Trace:
        """The trace with its inputs' letters, and the sizes that its model accepts."""
        inputs = tuple(
            replace(given, free=self._free[place]) if place < len(self._free) else given
            for place, given in enumerate(trace.inputs)
        )
        trace = replace(trace, inputs=inputs)
        if attempt.leave is not None:
            return trace
        with preserved_settings():
            if self._search:
                shapes = [trace.values[index].shape for index in values_in(trace.outputs)]
                sizes, answers = answered_sizes(trace, ResizedPasses(attempt, shapes))
                trace = replace(trace, valid_input_sizes=sizes, size_answers=answers)
            if self._symbolic:
                shown = symbolic_shapes(trace, RecordedPasses(attempt, trace))
                trace = replace(trace, symbolic=shown)
        return trace


class ResizedPasses:
    """Runs the model of an attempt again with other input sizes.

    Args:
        outputs: The shapes of what the recorded pass returned, nothing if it did not end.
    """

    def __init__(self, attempt: Attempt, outputs: Sequence[Shape]) -> None:
        self._model = attempt.model
        self._rung = attempt.rung
        self._is_user = attempt.spans.is_user
        self._args, self._kwargs = attempt.given
        self._fake_mode = attempt.fake_mode
        self._outputs = outputs
        self._end = time.monotonic() + SECONDS
        self._functions = Functions()
        self._budget = _Budget(self._end)
        self._known: dict[frozenset[tuple[tuple[int, int], int]], bool | None] = {}

    def __call__(self, sizes: Mapping[tuple[int, int], int]) -> bool | None:
        """Whether the model accepts inputs of these sizes; None where no pass can tell.

        `sizes` are by (number of the input tensor, dimension). Accepted means that the pass ends,
        and that its outputs have as many dimensions as before and as many samples: a flatten that
        moves elements from one sample to the next is no way to accept a size.
        """
        key = frozenset(sizes.items())
        if key not in self._known:
            self._known[key] = self._accepts(sizes)
        return self._known[key]

    def _accepts(self, sizes: Mapping[tuple[int, int], int]) -> bool | None:
        given = _resized(self._args, self._kwargs, sizes, self._rung == "real")
        if given is None:
            return None
        tensors = [leaf for leaf in leaves([self._args, self._kwargs]) if _is_tensor(leaf)]
        args, kwargs = given
        try:
            with self._watched():
                result = self._model(*args, **kwargs)
        except (LeaveRung, OutOfTime):
            return None
        except (Exception, SystemExit) as error:
            return None if _is_the_rungs(error) else False
        varies_batch = any(dimension == 0 for _, dimension in sizes)
        batch = tensors[0].shape[0] if tensors and tensors[0].dim() else None
        return self._alike([tuple(t.shape) for t in tensors_in(result)], batch, varies_batch)

    def _alike(self, shapes: Sequence[Shape], batch: int | None, varies_batch: bool) -> bool:
        if not self._outputs:
            return True  # the recorded pass did not reach its end
        if len(shapes) != len(self._outputs):
            return False
        pairs = list(zip(shapes, self._outputs, strict=True))
        is_emptied = any(0 in now and 0 not in before for now, before in pairs)
        if is_emptied and _lets_large_kernels_pass():
            return False
        return all(
            len(now) == len(before)
            and (varies_batch or not before or before[0] != batch or now[0] == batch)
            for now, before in pairs
        )

    @contextmanager
    def _watched(self) -> Iterator[None]:
        placement: Placement = Placement()
        if self._rung == "meta":
            placement = MetaPlacement(Recorder(ActivationMemory()), None, self._is_user)
        with ExitStack() as stack:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(without_slow_imports())
            stack.enter_context(self._fake_mode or nullcontext())
            stack.enter_context(_Kernels(self._rung == "meta", self._budget))
            stack.enter_context(PlacedMode(self._functions, placement, self._end))
            yield


class RecordedPasses:
    """Records the model of an attempt again with other input sizes.

    Args:
        trace: Of the attempt.
    """

    def __init__(self, attempt: Attempt, trace: Trace) -> None:
        self._attempt = attempt
        self._trace = trace

    def __call__(self, sizes: Mapping[tuple[int, int], int]) -> Trace | None:
        """The trace at these sizes, by (number of the input tensor, dimension); None where the
        pass does not end, or cannot be made."""
        given = _resized(*self._attempt.given, sizes, self._attempt.rung == "real")
        if given is None:
            return None
        attempt = self._attempt.anew()
        seeded()
        with nullcontext() if attempt.rung == "real" else without_collections():
            attempt.run(*given, self._attempt.names)
        if attempt.leave is not None or not attempt.complete:
            return None
        return attempt.seen_in(self._trace)


@cache
def _lets_large_kernels_pass() -> bool:
    """Return whether this torch convolves on meta by a kernel that is larger than the input.

    Torch 2.6 to 2.10 do, if it is larger by one, and give a result without elements; eager raises.
    """
    try:
        torch.conv2d(torch.empty(1, 1, 2, 2, device="meta"), torch.empty(1, 1, 3, 3, device="meta"))
    except RuntimeError:
        return False
    return True


def _resized(
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    sizes: Mapping[tuple[int, int], int],
    is_real: bool,
) -> tuple[list[Any], dict[str, Any]] | None:
    """The arguments at other sizes; None where real tensors would be much larger."""
    tensors = [leaf for leaf in leaves([args, kwargs]) if _is_tensor(leaf)]
    wanted = [list(tensor.shape) for tensor in tensors]
    for (number, dimension), size in sizes.items():
        wanted[number][dimension] = size
    if is_real and any(
        prod(shape) > max(_LARGER * tensor.numel(), _SMALL)
        for shape, tensor in zip(wanted, tensors, strict=True)
    ):
        return None
    shapes = iter(wanted)

    def resized(leaf: Any) -> Any:
        if not _is_tensor(leaf):
            return leaf
        shape = next(shapes)
        return leaf if list(leaf.shape) == shape else _filled(leaf, shape)

    return map_nest(list(args), resized), map_nest(dict(kwargs), resized)


class _Budget:
    """The time and the kernels that are left for all passes together."""

    def __init__(self, end: float) -> None:
        self._end = end
        self._kernels = _KERNELS

    def spend(self) -> None:
        """Count a kernel.

        Raises:
            OutOfTime: It was one too many.
        """
        self._kernels -= 1
        if self._kernels < 0 or (self._kernels % 64 == 0 and time.monotonic() > self._end):
            raise OutOfTime


class _Kernels(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Answers the slow kernels of meta tensors, and stops where the budget is spent."""

    def __init__(self, shortcuts: bool, budget: _Budget) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._shortcuts = shortcuts
        self._budget = budget

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "aten":
            # Other namespaces answer questions from code that ends the process at an exception.
            self._budget.spend()
        result = answer(func, args, kwargs) if self._shortcuts else None
        if result is None and func in _PRODUCTS and not _multiply(*args[-2:]):
            # Torch would import a lot to say so.
            raise RuntimeError("the matrices cannot be multiplied")
        return func(*args, **kwargs) if result is None else result


_PRODUCTS = (torch.ops.aten.addmm.default, torch.ops.aten.mm.default, torch.ops.aten.bmm.default)


def _multiply(left: torch.Tensor, right: torch.Tensor) -> bool:
    return left.shape[-1] == right.shape[-2] and left.shape[:-2] == right.shape[:-2]


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor)


def _filled(like: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """A tensor of another shape: random where it is a number; else as all its elements are (a mask
    of ones), or zeros, which index anything."""
    if like.is_floating_point():
        tensor = torch.rand(shape, dtype=like.dtype, device=like.device)
    elif not like.is_meta and like.numel() and bool((like == like.flatten()[0]).all()):
        tensor = torch.full(shape, like.flatten()[0].item(), dtype=like.dtype, device=like.device)
    else:
        tensor = torch.zeros(shape, dtype=like.dtype, device=like.device)
    return tensor.requires_grad_(like.requires_grad)


def _is_the_rungs(error: BaseException) -> bool:
    """Whether it says more about tensors without values than about the sizes."""
    return isinstance(error, NotImplementedError | MemoryError) or "meta" in str(error)
