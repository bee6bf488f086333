"""Methods that PyTorch never calls: misspelled, or indented out of their class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

from archcheck.analysis.source.spelling import distance
from archcheck.python import Function, ModuleClass, SourceFile

Misplacement: TypeAlias = Literal["misspelled", "inside __init__", "outside the class"]

_INIT = frozenset({"init", "inti", "int", "ini", "itin", "iniit", "innit", "initt", "intit", "nit"})
# Classes whose instances are held, not called.
_HARMLESS = frozenset({"torch.nn.Module", "object", "abc.ABC", "typing.Generic"})


def misspelled_constructors(module: ModuleClass) -> Iterator[Function]:
    """The methods that are meant to be `__init__`, of a class that has none."""
    if module.initializer is not None or "__init__" in module.definition.bindings:
        return
    for name, method in module.methods.items():
        if (
            name.startswith("_")
            and (name.startswith("__") or name.endswith("_"))
            and name.strip("_").lower() in _INIT
            and not _is_named(module.file, module, name)
            and any(call.name == "__init__" for call in module.super_calls(method))
        ):
            yield method


def misplaced_forward(module: ModuleClass) -> tuple[Function, Misplacement] | None:
    """What is meant to be the `forward` of a class that certainly has none."""
    if not _lacks_forward(module):
        return None
    for name, method in module.methods.items():
        if _is_near(name) and not method.decorators and not _is_named(module.file, module, name):
            return method, "misspelled"
    constructor = module.initializer
    for nested in constructor.functions if constructor is not None else ():
        if (
            constructor is not None
            and nested.name == "forward"
            and nested.parameters[:1] == (constructor.self_name,)
            and "forward" not in constructor.name_reads
        ):
            return nested, "inside __init__"
    below = _below(module.file, module)
    return (below, "outside the class") if below is not None else None


def _lacks_forward(module: ModuleClass) -> bool:
    definition = module.definition
    return (
        module.is_certain
        and all(base in _HARMLESS for base in definition.outside_bases)
        and module.find_method("forward") is None
        and module.find_method("__call__") is None
        and "forward" not in module.attributes
        and not module.has_dynamic_attributes
    )


def _is_named(file: SourceFile, module: ModuleClass, name: str) -> bool:
    """Whether some code calls the method by that name, so that it is meant."""
    return name in file.names_read_of_others or any(
        name in definition.names_read for definition in module.lineage
    )


def _is_near(name: str) -> bool:
    if name.lower() == "forward":
        return True
    # What is only longer (forward_, forward2, forwards) is a name of its own.
    return distance(name, "forward", 2) == 1 and not name.startswith(("forward", "_"))


def _below(file: SourceFile, module: ModuleClass) -> Function | None:
    """A function `forward(self, …)` that directly follows the class."""
    end = module.node.end_lineno or module.node.lineno
    # A document shows methods one by one, and what shows them is no program.
    if file.document.kind != "python":
        return None
    for function in file.scope.functions:
        if (
            function.name == "forward"
            and function.parameters[:1] == ("self",)
            and module.definition.parent is file.scope
            and function.line > end
            and not function.decorators
        ):
            between = [s for s in file.scope.statements if s.suite.parent is None]
            lines = [getattr(s.node, "lineno", 0) for s in between]
            if any(end < line < function.line for line in lines):
                return None
            named = any(
                "forward" in (getattr(reference.node, "attr", ""),) and reference.kind == "store"
                for reference in file.references
            )
            return None if named else function
    return None
