"""A method reads an attribute that nothing ever sets.

What it does
------------
Looks for `self.name` in the methods of an `nn.Module` where neither the class nor its bases set,
declare or register `name`. Silent where attributes may come from elsewhere: an unknown base, a
computed `setattr`, `__getattr__`, a `hasattr` test, a subclass that sets it, code that sets it on
an instance. From a trace, for the AttributeError itself.

Why it is bad
-------------
The line raises "'Net' object has no attribute 'fc1'" when it runs, which on a rare path may be
late.

Example
-------
    class Net(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.fc = nn.Linear(width, 10)

        def forward(self, x):
            return self.fc1(x)

Use instead
-----------
    class Net(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.fc = nn.Linear(width, 10)

        def forward(self, x):
            return self.fc(x)
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.module_classes import class_named
from archcheck.analysis.source.elision import is_elided
from archcheck.analysis.source.spelling import distance
from archcheck.core.finding import Finding, Location, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import ModuleClass, Project, SelfUse, SourceFile
from archcheck.python.names.control import is_caught
from archcheck.python.names.torch_names import MODULE_ATTRIBUTES

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC109", "undefined-attribute", Severity.ERROR)

_MESSAGE = r"'(\w+)' object has no attribute '(\w+)'"


@rule.on_source
def read_and_never_set(file: SourceFile) -> Iterator[Finding]:
    for module in file.modules:
        if not module.is_certain:
            continue
        # Most classes are settled by names alone.
        if not module.definition.names_read - MODULE_ATTRIBUTES - module.attributes.keys():
            continue
        settled: set[str] = set()
        for use in module.uses:
            name = use.name
            if name in settled or use.kind not in ("load", "call"):
                continue
            if not module.surely_lacks(name):
                settled.add(name)
            elif not _is_guarded(file, use) and not is_elided(file, module.node):
                settled.add(name)
                yield _finding(file, module, use)


@rule.on_trace
def read_and_not_there(trace: Trace, project: Project) -> Iterator[Finding]:
    for failure in trace.failures:
        match = re.match(_MESSAGE, failure.message)
        if match is None or failure.error != "AttributeError" or failure.location is None:
            continue
        if failure.consequence_of is not None:
            continue
        module = class_named(match[1], trace, project)
        if module is None:
            continue
        near = _nearest(module, match[2])
        yield Finding(
            f"`{module.name}` has no attribute `{match[2]}`",
            failure.location,
            label="not set",
            related=_related(module, near),
            help=f"self.{near}" if near else f"set self.{match[2]} in __init__",
            explains=failure.location,
            covers=_covers(module, near),
        )


def _related(module: ModuleClass, near: str | None) -> tuple[Related, ...]:
    if near is None:
        return ()
    return (Related(module.attributes[near][0].location, f"`{near}` is set here"),)


def _covers(module: ModuleClass, near: str | None) -> tuple[tuple[str, Location], ...]:
    """That nothing reads the attribute that was meant is the same slip."""
    return (("AC108", module.attributes[near][0].location),) if near is not None else ()


def _finding(file: SourceFile, module: ModuleClass, use: SelfUse) -> Finding:
    near = _nearest(module, use.name)
    return Finding(
        f"`{module.name}` has no attribute `{use.name}`",
        file.location(use.attribute),
        label="never set",
        related=_related(module, near),
        help=f"self.{near}" if near else f"set self.{use.name} in __init__",
        explains=file.location(use.reference.statement.node),
        covers=_covers(module, near),
    )


def _nearest(module: ModuleClass, name: str) -> str | None:
    """The attribute that was probably meant."""
    near = [known for known in module.attributes if distance(known, name, 3) < 3]
    return min(near, key=lambda known: distance(known, name, 3), default=None)


def _is_guarded(file: SourceFile, use: SelfUse) -> bool:
    """Whether the code asks first, or is ready for the error."""
    for call in file.calls_named("hasattr", "getattr", "setattr", "delattr"):
        if len(call.node.args) > 1:
            asked = call.node.args[1]
            if isinstance(asked, ast.Constant) and asked.value == use.name:
                return True
    return is_caught(use.reference.statement, "AttributeError")
