"""Which of several inputs a model takes: tried on tensors without memory, before it is traced."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn

from archcheck.core.target import UsageError
from archcheck.evidence.records import Failure
from archcheck.evidence.trace import Trace
from archcheck.tracing.input_tensors import TensorSpec, dtype_named, map_nest
from archcheck.tracing.patching.patches import without_slow_imports
from archcheck.tracing.record.build import convert, parameters_on_meta, turned_meta
from archcheck.worker.inputs.choose import Candidate

# For how many seconds inputs are tried.
_TRYING = 5.0
# What code raises that looks at its input and refuses it; a layer raises RuntimeError.
_REFUSALS = frozenset(
    ("AssertionError", "ValueError", "TypeError", "IndexError", "KeyError", "NotImplementedError")
)


def built_for_trying(build: Callable[[], nn.Module]) -> nn.Module | None:
    """The model, without memory where that can be; None where it cannot be built.

    Raises:
        UsageError: The target makes no model.
    """
    try:
        with without_slow_imports(), parameters_on_meta():
            model = build()
    except UsageError:
        raise
    except Exception:
        try:
            model = build()
        except UsageError:
            raise
        except (Exception, SystemExit):
            # The engine, which builds it again, tells why.
            return None
    convert(model, turned_meta)
    return model


def likeliest_first(model: nn.Module, candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    """The first input that the model takes, then the others as they were."""
    rest: list[Candidate] = []
    waiting = iter(candidates)
    begun = time.monotonic()
    for candidate in waiting:
        if takes(model, candidate):
            yield candidate
            break
        rest.append(candidate)
        if time.monotonic() - begun > _TRYING:
            break
    yield from rest
    yield from waiting


def takes(model: nn.Module, candidate: Candidate) -> bool:
    """Whether a pass over tensors without memory goes through."""

    def made(leaf: Any) -> Any:
        if isinstance(leaf, TensorSpec):
            return torch.empty(leaf.shape, dtype=dtype_named(leaf.dtype), device="meta")
        return leaf

    given = [map_nest(item.value, made) for item in candidate.inputs if item.name is None]
    named = {
        item.name: map_nest(item.value, made) for item in candidate.inputs if item.name is not None
    }
    try:
        with (
            torch.no_grad(),
            torch.device("meta"),
            without_slow_imports(),
            # What it prints will be printed again when it is traced.
            contextlib.redirect_stdout(io.StringIO()),
        ):
            model(*given, **named)
    except (Exception, SystemExit):
        return False
    return True


def trace_of_the_best(
    candidates: Iterable[Candidate], traced: Callable[[Candidate], Trace]
) -> Trace | None:
    """The pass over the first input that goes through; the one that comes furthest, if none.

    Raises:
        UsageError: The input was a guess, and the model's own code refuses it.
    """
    best: tuple[Trace, Candidate] | None = None
    begun = time.monotonic()
    for candidate in candidates:
        if best is not None and time.monotonic() - begun > _TRYING:
            break
        trace = traced(candidate)
        if best is None or _progress(trace) > _progress(best[0]):
            best = (trace, candidate)
        if not trace.failures or any(failure.stage != "forward" for failure in trace.failures):
            return trace
    if best is None:
        return None
    trace, candidate = best
    refusal = next(filter(_refuses, trace.failures), None) if candidate.guessed else None
    if refusal is not None:
        reason = " ".join(f"{refusal.error}: {refusal.message}".split()).rstrip(": ")
        raise UsageError(
            f"`{trace.target}` does not take a guessed input ({reason}): "
            "say which it takes with --input, such as `--input 8,3,224,224`"
        )
    return trace


def _refuses(failure: Failure) -> bool:
    # Of ops, indexing is the one that code looks at its input with: a dict, as it is meant.
    looks = failure.op is None or failure.error == "IndexError"
    return (
        looks and failure.error in _REFUSALS and failure.consequence_of is None
    ) or "'Tensor' object has no attribute" in failure.message


def _progress(trace: Trace) -> tuple[bool, int, int]:
    own = [failure for failure in trace.failures if failure.consequence_of is None]
    return trace.complete, -len(own), len(trace.calls)
