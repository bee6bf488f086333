"""A model that the caller holds, or makes, is traced in the caller's own process."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any, Literal

from torch import nn

from archcheck.core.probe_request import ProbeRequest
from archcheck.core.target import UsageError
from archcheck.evidence.trace import Trace
from archcheck.tracing.ladder import NamedInput, TensorSpec, trace_live, trace_module
from archcheck.worker.sandbox.user_paths import relocated, shown


def trace_object(
    target: Any,
    input: Any,
    mode: Literal["train", "eval"],
    probe: ProbeRequest | None = None,
    *,
    symbolic: bool = False,
) -> Trace:
    """Trace a module, or what a class or factory without arguments makes.

    Args:
        input: A shape, a tensor, or a tuple, list or dict of them for several parameters; in a
            list, a `NamedInput` is a parameter by its name. In a dict, and by a name, None, numbers
            and strings are handed over as they are.
        probe: Run it on real tensors, too.
        symbolic: Find every size as a function of the input's, too.

    Raises:
        UsageError: The target is none of these, or there is no input.
    """
    if input is None:
        raise UsageError("say which input the model takes: input=(8, 3, 224, 224)")
    inputs = _inputs(input)
    trace: Callable[..., Trace]
    if isinstance(target, nn.Module):
        name, path, trace = type(target).__name__, _file_of(type(target)), trace_live
    elif callable(target):
        name = getattr(target, "__qualname__", type(target).__name__)
        path, trace = _file_of(target), trace_module
    else:
        raise UsageError(
            f"{target!r} is no torch.nn.Module, no class or function that makes one, "
            "and no target such as 'model.py:Net'"
        )
    traced = trace(
        target,
        inputs,
        mode=mode,
        target=name,
        path=path,
        find_sizes=True,
        symbolic=symbolic,
        probe=probe,
    )
    return relocated(traced, _from_here)


def _file_of(source: Any) -> str:
    try:
        return _from_here(inspect.getsourcefile(source) or "")
    except TypeError:
        # Made in a notebook, by exec, or in C.
        return ""


def _from_here(path: str) -> str:
    return shown(path, os.getcwd())


def _inputs(given: Any) -> list[NamedInput]:
    if isinstance(given, Mapping):
        return [NamedInput(_value(value), str(name)) for name, value in given.items()]
    if _is_one(given):
        return [NamedInput(_value(given), None)]
    inputs = (one if isinstance(one, NamedInput) else NamedInput(one) for one in given)
    return [NamedInput(_value(one.value), one.name) for one in inputs]


def _is_one(given: Any) -> bool:
    """Whether this is one input: a tensor or a shape, not a sequence of them."""
    if isinstance(given, TensorSpec) or _is_tensor(given):
        return True
    if not isinstance(given, tuple | list):
        raise UsageError(f"{given!r} is no shape such as (8, 3, 224, 224)")
    return all(isinstance(size, int) and not isinstance(size, bool) for size in given)


def _is_tensor(given: Any) -> bool:
    """Whether something has a shape and a dtype: a tensor, or an array of numpy's."""
    return hasattr(given, "shape") and hasattr(given, "dtype")


def _value(given: Any) -> Any:
    if given is None or isinstance(given, TensorSpec | bool | int | float | str):
        return given
    if _is_tensor(given):
        return TensorSpec(tuple(given.shape), str(given.dtype).removeprefix("torch."))
    if isinstance(given, Mapping):
        return {name: _value(value) for name, value in given.items()}
    if _is_one(given):
        if not given or min(given) < 1:
            raise UsageError(f"{tuple(given)} is no shape: every size must be at least 1")
        return TensorSpec(tuple(given), None)
    return type(given)(_value(value) for value in given)
