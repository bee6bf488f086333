"""What to say when a name is not there, or is no model: the names that the user may have meant."""

from __future__ import annotations

import ast
import difflib

from archcheck.core.target import Target, UsageError
from archcheck.worker.slicing.module_source import ModuleSource
from archcheck.worker.slicing.name_sets import dotted_name

_SHOWN = 5
_CONTAINERS = frozenset(("Sequential", "ModuleList", "ModuleDict"))


def no_such_name(target: Target, source: ModuleSource) -> UsageError:
    """The complaint about a name that nothing in the file binds."""
    name = target.name.partition(".")[0]
    lines = sorted(unit.line for unit in source.units.binders.get(name, []))
    if lines and target.line is not None:
        places = ", ".join(map(str, lines))
        return UsageError(
            f"{target.place} defines `{name}` on line {places}, not at or after {target.line}"
        )
    models = model_names(source)
    near = difflib.get_close_matches(name, models, _SHOWN, 0.5)
    folded = [model for model in models if model.lower() == name.lower()]
    if near or folded:
        listed = _listed(list(dict.fromkeys([*folded, *near])))
        return UsageError(f"{target.place} has no `{name}`; did you mean {listed}?")
    if models:
        return UsageError(f"{target.place} has no `{name}`; its models are {_listed(models)}")
    return UsageError(f"{target.place} has no `{name}`, and defines no model")


def not_a_module(target: Target, value: object, source: ModuleSource | None) -> UsageError:
    """The complaint about a target that is, or makes, something else than a module."""
    kind = type(value).__name__
    article = "an" if kind[:1].lower() in "aeiou" else "a"
    what = (
        f"`{target.name}` is a class that is no nn.Module"
        if isinstance(value, type)
        else f"`{target.text}` is {article} {kind}, no nn.Module"
    )
    name = target.name.partition(".")[0]
    models = [model for model in model_names(source) if model != name] if source else []
    return UsageError(f"{what}; models of {target.place}: {_listed(models)}" if models else what)


def model_names(source: ModuleSource) -> list[str]:
    """The names in a file that look like models: module classes, and what is made of them."""
    classes: dict[str, ast.ClassDef] = {
        unit.node.name: unit.node
        for unit in source.units.all
        if isinstance(unit.node, ast.ClassDef)
    }

    def is_module(name: str, seen: frozenset[str] = frozenset()) -> bool:
        last = name.rpartition(".")[2]
        if last.endswith("Module") or last in _CONTAINERS:
            return True
        if name in classes and name not in seen:
            bases = (dotted_name(base) for base in classes[name].bases)
            return any(base is not None and is_module(base, seen | {name}) for base in bases)
        return False

    found: dict[str, None] = {name: None for name in classes if is_module(name)}
    modules = set(found)
    for unit in source.units.all:
        match unit.node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=function)):
                made = dotted_name(function) or ""
                if made in modules or made.rpartition(".")[2] in _CONTAINERS:
                    found[name] = None
            case _:
                pass
    return list(found)


def _listed(names: list[str]) -> str:
    shown = [f"`{name}`" for name in names[:_SHOWN]]
    if len(names) > _SHOWN:
        return ", ".join(shown) + ", …"
    if len(shown) < 2:
        return "".join(shown)
    return ", ".join(shown[:-1]) + f" and {shown[-1]}"
