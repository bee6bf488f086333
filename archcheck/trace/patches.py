"""Replacing attributes of other libraries for the length of a `with` block, and no longer."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

_ABSENT = object()


@contextmanager
def replaced(*replacements: tuple[Any, str, Any]) -> Iterator[None]:
    """Puts (owner, attribute, value) in place, and back what was there, whatever happens."""
    before: list[tuple[Any, str, Any]] = []
    try:
        for owner, name, value in replacements:
            before.append((owner, name, vars(owner).get(name, _ABSENT)))
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in reversed(before):
            if value is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, value)


def on_this_thread() -> Callable[[], bool]:
    """Tells whether the caller runs on the thread that asked: torch's modes know only that one."""
    owner = threading.get_ident()
    return lambda: threading.get_ident() == owner


@contextmanager
def without_slow_imports() -> Iterator[None]:
    """Keeps torch's meta kernels from importing `torch._dynamo` and sympy, which take a second.

    The kernels' reference implementations mark themselves as not to be compiled, which imports
    the compiler, and their checks import what proves symbolic sizes. Neither plays a part in a
    pass with plain integers. Code that asks for anything else of `torch._dynamo` gets the real
    one. Nothing is done where it is imported already.
    """
    if "torch._dynamo" in sys.modules:
        yield
        return
    marked: list[Any] = []
    stand_in = ModuleType("torch._dynamo")

    def disable(fn: Any = None, recursive: bool = True, **_: Any) -> Any:
        if fn is not None:
            marked.append(fn)
        return fn

    def real(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        _withdraw(stand_in, marked)
        import torch._dynamo as dynamo

        return getattr(dynamo, name)

    stand_in.disable = disable  # type: ignore[attr-defined]
    stand_in.__getattr__ = real  # type: ignore[method-assign]
    check = torch._check_with

    def check_with(error_type: Any, cond: Any, message: Any) -> None:
        if cond is not True:
            check(error_type, cond, message)

    sys.modules["torch._dynamo"] = stand_in
    torch._dynamo = stand_in  # type: ignore[attr-defined]
    try:
        with replaced((torch, "_check_with", check_with)):
            yield
    finally:
        _withdraw(stand_in, marked)


def _withdraw(stand_in: ModuleType, marked: list[Any]) -> None:
    if sys.modules.get("torch._dynamo") is stand_in:
        del sys.modules["torch._dynamo"]
    if vars(torch).get("_dynamo") is stand_in:
        delattr(torch, "_dynamo")
    for fn in marked:
        # Remembered by torch._compile, so that the real function is asked for only once.
        vars(fn).pop("__dynamo_disable", None)
    marked.clear()
