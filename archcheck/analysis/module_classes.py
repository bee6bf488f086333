"""From the modules of a trace to the classes that the user wrote them as."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archcheck.analysis.shapes.failures import source_file
from archcheck.core.finding import Location

if TYPE_CHECKING:
    from archcheck.evidence.records import Module, ModuleCall
    from archcheck.evidence.trace import Trace
    from archcheck.python import ModuleClass, Project


def class_of(module: Module | None, project: Project) -> ModuleClass | None:
    """The class that a module is an instance of, where its source can be read."""
    if module is None or module.defined is None:
        return None
    return class_at(module.defined, project)


def model_location(trace: Trace, project: Project) -> Location:
    """Return the name of the model's class, or the expression that built it."""
    root = trace.module("")
    found = class_of(root, project)
    if found is not None:
        return found.file.name_location(found.node)
    return (root.constructed if root is not None else None) or Location(trace.path, 1)


def class_at(defined: Location, project: Project) -> ModuleClass | None:
    """The class whose statement stands at a place; its decorators count."""
    file = source_file(project, defined)
    if file is None:
        return None
    for found in file.modules:
        lines = [found.node.lineno, *(node.lineno for node in found.node.decorator_list)]
        if min(lines) <= defined.line <= found.node.lineno:
            return found
    return None


def class_named(name: str, trace: Trace, project: Project) -> ModuleClass | None:
    """The class of this name that the trace has to do with: of one of its modules, or else, where
    nothing could be built, one in a file that a failure goes through."""
    for module in trace.modules:
        if module.type == name:
            return class_of(module, project)
    places = [frame.location for failure in trace.failures for frame in failure.frames]
    for place in reversed(places):
        file = source_file(project, place)
        for found in file.modules if file is not None else ():
            if found.name == name:
                return found
    return None


def class_called(call: ModuleCall, trace: Trace, project: Project) -> ModuleClass | None:
    """The class whose `forward` a call ran."""
    return class_of(trace.module(call.path), project)
