"""A module has no `forward`, because it is misspelled or stands in the wrong place.

What it does
------------
Looks for an `nn.Module` without a `forward` that has a method with nearly that name (`foward`,
`Forward`), a `forward` that indentation has put inside `__init__` or below the class, and for a
constructor that Python never calls because its name is misspelled (`___init___`, `_init_`). From
a trace, for any module that is called and has no `forward`.

Why it is bad
-------------
Calling the module raises "Module [Net] is missing the required "forward" function". A misspelled
`__init__` never runs: the arguments are refused, or the layers do not exist.

Example
-------
    class Net(nn.Module):
        def _init_(self):
            super().__init__()
            self.fc = nn.Linear(8, 2)

        def foward(self, x):
            return self.fc(x)

Use instead
-----------
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 2)

        def forward(self, x):
            return self.fc(x)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from archcheck.finding import Finding, Severity
from archcheck.rule import Rule
from archcheck.source import Function, ModuleClass, Project, SourceFile
from archcheck.source.elision import is_elided
from archcheck.source.spelling import distance
from archcheck.traced_classes import class_named

if TYPE_CHECKING:
    from archcheck.evidence import Trace

rule = Rule("AC104", "forward-missing", Severity.ERROR)

_INIT = frozenset({"init", "inti", "int", "ini", "itin", "iniit", "innit", "initt", "intit", "nit"})
# Classes whose instances are held, not called.
_HARMLESS = frozenset({"torch.nn.Module", "object", "abc.ABC", "typing.Generic"})
_MESSAGE = re.compile(r"Module \[(\w+)\] is missing the required")


@rule.on_source
def misspelled(file: SourceFile) -> Iterator[Finding]:
    for module in file.modules:
        yield from _constructor(file, module)
        found = _misplaced_forward(file, module)
        if found is not None:
            yield found


@rule.on_trace
def called_without_forward(trace: Trace, project: Project) -> Iterator[Finding]:
    for failure in trace.failures:
        match = _MESSAGE.search(failure.message)
        if match is None or failure.error != "NotImplementedError":
            continue
        module = class_named(match[1], trace, project)
        if module is None:
            continue
        found = _misplaced_forward(module.file, module) or Finding(
            f"`{module.name}` is called and has no `forward`",
            module.location,
            label="defines no forward",
            help="define forward(self, …)",
        )
        yield replace(found, explains=failure.location)


def _constructor(file: SourceFile, module: ModuleClass) -> Iterator[Finding]:
    if module.initializer is not None or "__init__" in module.definition.bindings:
        return
    for name, method in module.methods.items():
        if (
            name.startswith("_")
            and (name.startswith("__") or name.endswith("_"))
            and name.strip("_").lower() in _INIT
            and not _is_named(file, module, name)
            and any(call.name == "__init__" for call in module.super_calls(method))
        ):
            yield Finding(
                f"`{module.name}.{name}` is never called: the constructor is `__init__`",
                file.name_location(method.node),
                label="misspelled __init__",
                help="rename it to __init__, with two underscores on each side",
                explains=file.location(module.node),
                covers=(
                    ("AC109", file.location(module.node)),
                    *(("AC111", file.location(c.node)) for c in file.calls_of(module.definition)),
                ),
            )


def _misplaced_forward(file: SourceFile, module: ModuleClass) -> Finding | None:
    if not _lacks_forward(module) or is_elided(file, module.node):
        return None
    for name, method in module.methods.items():
        if _is_near(name) and not method.decorators and not _is_named(file, module, name):
            return _finding(
                file, module, method, "misspelled forward",
                f"`{module.name}` has no `forward`: its `{name}` is misspelled",
                "rename it to forward",
            )  # fmt: skip
    constructor = module.initializer
    for nested in constructor.functions if constructor is not None else ():
        if (
            constructor is not None
            and nested.name == "forward"
            and nested.parameters[:1] == (constructor.self_name,)
            and "forward" not in constructor.name_reads
        ):
            return _finding(
                file, module, nested, "inside __init__",
                f"`{module.name}` has no `forward`: its `forward` is indented into `__init__`",
                "indent forward as far as __init__",
            )  # fmt: skip
    below = _below(file, module)
    if below is not None:
        return _finding(
            file, module, below, "outside the class",
            f"`{module.name}` has no `forward`: this `forward` stands outside the class",
            f"indent forward into {module.name}",
        )  # fmt: skip
    return None


def _finding(
    file: SourceFile, module: ModuleClass, method: Function, label: str, message: str, help: str
) -> Finding:
    return Finding(
        message,
        file.name_location(method.node),
        label=label,
        help=help,
        explains=file.location(module.node),
    )


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
