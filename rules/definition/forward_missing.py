"""A module has no `forward`, because it is misspelled or stands in the wrong place.

What it does
------------
Looks for an `nn.Module` without a `forward` that has a method with nearly that name (`foward`,
`Forward`), a `forward` that indentation has put inside `__init__` or below the class, and for a
constructor that Python never calls because its name is misspelled (`___init___`, `_init_`); and for
an `nn.ModuleList` or `nn.ModuleDict` that is called as a layer. From a trace, for any module that
is called and has no `forward`.

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

from archcheck.analysis.module_classes import class_named
from archcheck.analysis.source.elision import is_elided
from archcheck.core.finding import Finding, Location, Severity
from archcheck.core.rule import Rule
from archcheck.python import Function, ModuleClass, Project, SourceFile

from ._misplaced_methods import Misplacement, misplaced_forward, misspelled_constructors

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC104", "forward-missing", Severity.ERROR)

# What keeps modules, and says nothing of how they are applied.
_CONTAINERS = frozenset({"ModuleList", "ModuleDict", "ParameterList", "ParameterDict"})
_MESSAGE = re.compile(r"Module \[(\w+)\] is missing the required")
# What is wrong, in a sentence and a few words, and what to do.
_FAULTS: dict[Misplacement, tuple[str, str, str]] = {
    "misspelled": (
        "its `{method}` is misspelled", "misspelled forward", "rename it to forward",
    ),
    "inside __init__": (
        "its `forward` is indented into `__init__`", "inside __init__",
        "indent forward as far as __init__",
    ),
    "outside the class": (
        "this `forward` stands outside the class", "outside the class",
        "indent forward into {module}",
    ),
}  # fmt: skip


@rule.on_source
def misspelled(file: SourceFile) -> Iterator[Finding]:
    for module in file.modules:
        for method in misspelled_constructors(module):
            yield _constructor(file, module, method)
        found = _misplaced(module)
        if found is not None:
            yield found
        for use in module.uses:
            layer = module.layer(use.name) if use.kind == "call" else None
            if layer is not None and layer.is_torch and layer.class_name in _CONTAINERS:
                yield _container(layer.class_name, file.location(use.node))


@rule.on_trace
def called_without_forward(trace: Trace, project: Project) -> Iterator[Finding]:
    for failure in trace.failures:
        match = _MESSAGE.search(failure.message)
        if match is None or failure.error != "NotImplementedError":
            continue
        if match[1] in _CONTAINERS and failure.location is not None:
            yield _container(match[1], failure.location)
            continue
        module = class_named(match[1], trace, project)
        if module is None:
            continue
        found = _misplaced(module) or Finding(
            f"`{module.name}` is called and has no `forward`",
            module.location,
            label="defines no forward",
            help="define forward(self, …)",
        )
        yield replace(found, explains=failure.location)


def _container(name: str, called: Location) -> Finding:
    return Finding(
        f"an nn.{name} is called, and has no `forward`: it only keeps its modules",
        called,
        label="cannot be called",
        help="call each module in it" + ("" if name == "ModuleDict" else ", or use nn.Sequential"),
        explains=called,
    )


def _constructor(file: SourceFile, module: ModuleClass, method: Function) -> Finding:
    return Finding(
        f"`{module.name}.{method.name}` is never called: the constructor is `__init__`",
        file.name_location(method.node),
        label="misspelled __init__",
        help="rename it to __init__, with two underscores on each side",
        explains=file.location(module.node),
        covers=(
            ("AC109", file.location(module.node)),
            *(("AC111", file.location(call.node)) for call in file.calls_of(module.definition)),
        ),
    )


def _misplaced(module: ModuleClass) -> Finding | None:
    found = misplaced_forward(module)
    if found is None or is_elided(module.file, module.node):
        return None
    method, fault = found
    sentence, label, help = (
        text.format(method=method.name, module=module.name) for text in _FAULTS[fault]
    )
    return Finding(
        f"`{module.name}` has no `forward`: {sentence}",
        module.file.name_location(method.node),
        label=label,
        help=help,
        explains=module.file.location(module.node),
    )
