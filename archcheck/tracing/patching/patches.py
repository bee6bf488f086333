"""Replacing attributes of other libraries for the length of a `with` block, and no longer."""

from __future__ import annotations

import functools
import importlib
import operator
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
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


def passed_on(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return what the replaced function gives.

    What one written in C raises ends its traceback here, and so tells itself from what the code of
    this package raises.
    """
    return function(*args, **kwargs)


def on_this_thread() -> Callable[[], bool]:
    """Tells whether the caller runs on the thread that asked: torch's modes know only that one."""
    owner = threading.get_ident()
    return lambda: threading.get_ident() == owner


@contextmanager
def without_slow_imports() -> Iterator[None]:
    """Keeps torch's meta kernels from importing the compiler and sympy, which take a second.

    The kernels' reference implementations mark themselves as not to be compiled, which imports
    `torch._dynamo`, and compare sizes by functions that know symbolic ones, which imports sympy.
    Neither plays a part in a pass with plain integers. Code that asks those modules for anything
    else gets the real ones, and where they are imported already nothing is done.
    """
    marked: list[Any] = []

    def disable(fn: Any = None, recursive: bool = True, **_: Any) -> Any:
        if fn is not None:
            marked.append(fn)
        return fn

    def check_with(error_type: Any, cond: Any, message: Any) -> None:
        if cond is not True:
            check(error_type, cond, message)

    check = torch._check_with
    # The real symbolic_shapes brings it, and meta kernels read it.
    importlib.import_module("torch.fx.experimental._config")
    with ExitStack() as stack:
        stack.enter_context(_stand_in("torch._dynamo", {"disable": disable}))
        stack.enter_context(_stand_in("torch.fx.experimental.symbolic_shapes", _plain_sizes()))
        # Type promotion asks whether a number is one of sympy's; here none is.
        stack.enter_context(_stand_in("sympy", {"Basic": type("Basic", (), {})}))
        stack.enter_context(replaced((torch, "_check_with", check_with)))
        try:
            yield
        finally:
            for fn in marked:
                # torch._compile remembers the answer, and must ask the real module next time.
                vars(fn).pop("__dynamo_disable", None)


@contextmanager
def _stand_in(name: str, functions: Mapping[str, Any]) -> Iterator[None]:
    """A module of these functions in the place of one that is not imported yet."""
    if name in sys.modules:
        yield
        return
    module = ModuleType(name)
    parent = sys.modules[name.rpartition(".")[0]] if name.count(".") == 1 else None
    last = name.rpartition(".")[2]

    def withdraw() -> None:
        # Whoever kept the stand-in finds the real module's functions in it from now on.
        for attribute in functions:
            vars(module).pop(attribute, None)
        if sys.modules.get(name) is module:
            del sys.modules[name]
        if parent is not None and vars(parent).get(last) is module:
            delattr(parent, last)

    def real(attribute: str) -> Any:
        if attribute.startswith("__") and (name, attribute) != ("sympy", "__path__"):
            raise AttributeError(attribute)
        withdraw()
        return getattr(importlib.import_module(name), attribute)

    vars(module).update(functions, __getattr__=real)
    sys.modules[name] = module
    if parent is not None:
        setattr(parent, last, module)
    try:
        yield
    finally:
        withdraw()


def _plain_sizes() -> Mapping[str, Callable[..., Any]]:
    """What symbolic_shapes' functions do to plain integers and truth values."""

    def itself(value: Any) -> Any:
        if type(value) is not bool:
            raise TypeError(f"expected bool, got {type(value)}")
        return value

    def sym_eq(one: Any, two: Any) -> bool:
        return (
            len(one) == len(two) and list(one) == list(two)
            if _both_lists(one, two)
            else (one == two)
        )

    return {
        "guard_or_false": itself,
        "guard_or_true": itself,
        "guard_size_oblivious": itself,
        "statically_known_true": itself,
        "expect_true": itself,
        "guard_int": lambda value: value,
        "sym_eq": sym_eq,
        "sym_and": lambda *values: functools.reduce(operator.and_, values),
        "sym_or": lambda *values: functools.reduce(operator.or_, values),
        "is_nested_int": lambda value: False,
        "is_symbolic": lambda value: False,
        "has_guarding_hint": lambda value: True,
        "guarding_hint_or_throw": lambda value: value,
        "free_unbacked_symbols": lambda value: set(),
    }


def _both_lists(one: Any, two: Any) -> bool:
    return isinstance(one, list | tuple) and isinstance(two, list | tuple)
