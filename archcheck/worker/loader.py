"""A target becomes something that builds a model: its file is sliced, run, and looked into."""

from __future__ import annotations

import ast
import copy
import difflib
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from torch import nn

from archcheck.core.target import Target, UsageError
from archcheck.worker.inputs.constructor_arguments import call_of, check_call, evaluate, names_in
from archcheck.worker.sandbox.environment import ImportPlace
from archcheck.worker.sandbox.placeholders import Placeholder, Reach
from archcheck.worker.sandbox.pretrained_weights import Withheld
from archcheck.worker.slicing.module_source import ModuleSource
from archcheck.worker.slicing.sliced_module import SlicedModule
from archcheck.worker.slicing.slicer import Slice, slice_for
from archcheck.worker.slicing.suggest import no_such_name, not_a_module
from archcheck.worker.slicing.units import is_main_guard


@dataclass(frozen=True, slots=True)
class Loaded:
    """A target whose definitions are there.

    Attributes:
        path: Of the file that it was loaded from, absolute.
        build: Makes the model, anew each time.
        names: What the file's names stand for, as far as they were needed.
        forward: The forward of the model's class, where that is known before it is built.
        source: The text of the file, if it was sliced.
    """

    path: str
    build: Callable[[], nn.Module]
    names: dict[str, Any]
    forward: Callable[..., Any] | None
    source: ModuleSource | None


def load_file(
    target: Target,
    source: ModuleSource,
    place: ImportPlace,
    reach: Reach,
    *,
    whole: bool,
    also: Collection[str],
) -> Loaded:
    """Load a target from its file.

    Raises:
        UsageError: The file has no such name, it is no model, or wants other arguments.
        SyntaxError: The name stands in a part of the file that does not parse.
        Exception: Whatever the file's code raises.
    """
    wanted = _whole(source) if whole else _wanted(target, source, also)
    if not wanted.found:
        name = target.name.partition(".")[0]
        if not source.complete and re.search(rf"\b{name}\b", source.document.text):
            raise SyntaxError(f"what defines `{name}` does not parse")
        raise no_such_name(target, source)
    sliced = SlicedModule(source, place, reach, wanted)
    sliced.define()
    return _loaded(target, sliced.names, str(source.path), source, sliced)


def call_function(target: Target, source: ModuleSource, place: ImportPlace, reach: Reach) -> Any:
    """What a function of a file returns.

    Raises:
        UsageError: There is no such function.
        Exception: Whatever the file's code raises.
    """
    wanted = _wanted(target, source, ())
    if not wanted.found:
        raise no_such_name(target, source)
    sliced = SlicedModule(source, place, reach, wanted)
    sliced.define()
    sliced.make_values()
    function = _find(target, sliced.names, source)
    if not callable(function):
        raise UsageError(f"`{target.text}` is no function")
    return _called(function, call_of(target), sliced.names)


def _wanted(target: Target, source: ModuleSource, also: Collection[str]) -> Slice:
    call = call_of(target)
    return slice_for(
        source.units,
        target.name.partition(".")[0],
        line=source.line_in_code(target),
        step_by_step=source.is_document,
        also={*also, *(names_in(call) if call is not None else ())},
    )


def _whole(source: ModuleSource) -> Slice:
    """All that an import runs."""
    statements = tuple(node for node in source.tree.body if not is_main_guard(node))
    return Slice(statements, frozenset(), found=True)


def load_module(target: Target, path: str, names: dict[str, Any]) -> Loaded:
    """Load a target from a module that has been imported."""
    return _loaded(target, names, path, None, None)


def _loaded(
    target: Target,
    names: dict[str, Any],
    path: str,
    source: ModuleSource | None,
    sliced: SlicedModule | None,
) -> Loaded:
    call = call_of(target)
    tree = source.tree if source is not None else ast.Module([], [])
    makes_value = sliced is not None and sliced.slice.makes_value

    def found() -> Any:
        return _find(target, names, source)

    def build() -> nn.Module:
        if sliced is not None and makes_value:
            sliced.make_values()
        value = found()
        if isinstance(value, nn.Module):
            if call is not None:
                raise UsageError(
                    f"`{target.name}` is a model already: write `{target.place}:{target.name}`"
                )
            return value if makes_value else copy.deepcopy(value)
        if isinstance(value, Withheld):
            raise FileNotFoundError(value.reason)
        if not callable(value) or _is_other_class(value):
            raise not_a_module(target, value, source)
        check_call(target, value, call, tree)
        made = _called(value, call, names)
        if not isinstance(made, nn.Module):
            raise not_a_module(target, made, source)
        return made

    forward = None
    if not makes_value:
        value = found()
        if isinstance(value, Placeholder):
            value()
        if not isinstance(value, nn.Module):
            if not callable(value) or _is_other_class(value):
                raise not_a_module(target, value, source)
            check_call(target, value, call, tree)
            forward = getattr(value, "forward", None)
    return Loaded(path, build, names, forward, source)


def _is_other_class(value: Any) -> bool:
    return isinstance(value, type) and not issubclass(value, nn.Module)


def _called(value: Callable[..., Any], call: ast.Call | None, names: dict[str, Any]) -> Any:
    if call is None:
        return value()
    arguments = [evaluate(argument, names) for argument in call.args]
    keywords = {k.arg: evaluate(k.value, names) for k in call.keywords if k.arg is not None}
    return value(*arguments, **keywords)


def _find(target: Target, names: dict[str, Any], source: ModuleSource | None) -> Any:
    first, *rest = target.name.split(".")
    if first not in names:
        if source is not None:
            raise no_such_name(target, source)
        raise UsageError(f"{target.place} has no `{first}`{_near(first, names)}")
    value = names[first]
    for part in rest:
        try:
            value = getattr(value, part)
        except AttributeError:
            raise UsageError(
                f"`{target.text}`: `{first}` has no attribute `{part}`{_near(part, vars(value))}"
                if hasattr(value, "__dict__")
                else f"`{target.text}`: `{first}` has no attribute `{part}`"
            ) from None
    return value


def _near(name: str, names: dict[str, Any]) -> str:
    models = [
        known
        for known, value in names.items()
        if isinstance(value, nn.Module)
        or (isinstance(value, type) and issubclass(value, nn.Module))
        or (callable(value) and not isinstance(value, type) and not known.startswith("_"))
    ]
    near = difflib.get_close_matches(name, models, 3)
    return "; did you mean " + ", ".join(f"`{n}`" for n in near) + "?" if near else ""
