"""A module is built with missing, extra or unknown arguments.

What it does
------------
Compares every call of a layer of torch and of a module class of the project with the
constructor's parameters. Calls with `*` or `**` are checked only as far as can be seen; classes
whose constructor is not certain (decorators, `__new__`, unknown bases) are left alone. From a
trace, for the TypeError itself. And looks for a layer without weights that is built from what
another layer gave, `nn.ReLU(self.conv(x))`, where it was to be applied to it.

Why it is bad
-------------
Building the model raises "__init__() missing 1 required positional argument: 'stride'".

Example
-------
    class Block(nn.Module):
        def __init__(self, inside, outside, stride):
            super().__init__()
            self.conv = nn.Conv2d(inside, outside, 3, stride)

    body = nn.Sequential(Block(3, 16, 1), Block(16, 16))

Use instead
-----------
    body = nn.Sequential(Block(3, 16, 1), Block(16, 16, 1))
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.module_classes import class_named
from archcheck.analysis.shapes.failures import source_file
from archcheck.analysis.source.templates import is_template
from archcheck.core.finding import Finding, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import (
    BoundArguments,
    Call,
    ClassDefinition,
    ModuleClass,
    Project,
    Signature,
    SourceFile,
)
from archcheck.python.modules.classes import is_torch_module
from archcheck.python.names.control import is_caught
from archcheck.python.names.signature import torch_signature

from ._layers_built_in_forward import built_from_tensors

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC111", "wrong-constructor-call", Severity.ERROR)

_HARMLESS = frozenset({"object", "abc.ABC", "typing.Generic"})
_MESSAGE = r"(\w+)\.__init__\(\) (missing \d|got an unexpected|takes \d|got multiple)"


@rule.on_source
def arguments_that_do_not_fit(file: SourceFile) -> Iterator[Finding]:
    yield from _in_file(file)


def _in_file(file: SourceFile) -> Iterator[Finding]:
    small = {definition.name for definition in file.classes}
    for call in () if is_template(file) else file.calls:
        # Looking every call up costs; classes have capitals, or stand in this file.
        if not call.name[:1].isupper() and call.name not in small:
            continue
        signature = _signature(call)
        if signature is None:
            continue
        bound = signature.bind(call.node)
        if bound.fits or is_caught(call.statement, "TypeError"):
            continue
        yield _finding(file, call, bound)


@rule.on_source
def input_in_the_constructor(file: SourceFile) -> Iterator[Finding]:
    for module in () if is_template(file) else file.modules:
        for method, call in built_from_tensors(module):
            name = f"nn.{call.name}"
            yield Finding(
                f"`{name}(…)` builds a layer, and is given a tensor as if it were applied to it",
                file.location(call.node),
                label="a layer, no result",
                help=f"{name}()(…), or build it in __init__ and call it here",
                # What the layer in the place of a tensor leads to.
                explains=file.location(method.node),
            )


@rule.on_trace
def constructor_raised(trace: Trace, project: Project) -> Iterator[Finding]:
    for failure in trace.failures:
        match = re.search(_MESSAGE, failure.message)
        at = failure.location
        if match is None or failure.error != "TypeError" or at is None:
            continue
        if failure.stage != "construct":
            continue
        file = source_file(project, at)
        known = [found for found in _in_file(file) if found.defect == at] if file else []
        if known:
            # The source says which parameter.
            yield known[0]
            continue
        module = class_named(match[1], trace, project)
        declared = _constructor_of(module) if module is not None else None
        yield Finding(
            f"`{match[1]}` is built with arguments that do not fit: {_words(failure.message)}",
            at,
            label="does not fit the constructor",
            related=(declared,) if declared is not None else (),
            help="call it as its constructor is written",
        )


def _words(message: str) -> str:
    return message.partition("__init__() ")[2]


def _signature(call: Call) -> Signature | None:
    module = call.module_class
    if module is not None:
        return module.constructor if _is_found_in_line(module.definition) else None
    dotted = call.dotted
    if dotted is None or dotted == "torch.nn.Module" or not is_torch_module(dotted):
        return None
    return torch_signature(dotted)


def _is_found_in_line(definition: ClassDefinition) -> bool:
    """Whether each class up to the one with the constructor has a single base: among several,
    which one comes first depends on them all."""
    for ancestor in definition.lineage:
        if "__init__" in ancestor.methods or ancestor.is_dataclass:
            return True
        bases = [base for base in ancestor.bases if base not in _HARMLESS]
        if len(bases) > 1:
            return False
    return True


def _finding(file: SourceFile, call: Call, bound: BoundArguments) -> Finding:
    name = f"nn.{call.name}" if call.module_class is None else call.name
    node: ast.AST = call.node
    if bound.missing:
        names = [f"`{missing}`" for missing in bound.missing]
        listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
        message = f"`{name}` is built without {listed}"
        label, help = f"no {listed.replace('`', '')}", f"give it {listed}"
    elif bound.unknown:
        node = bound.unknown[0]
        message = f"`{name}` takes no argument named `{bound.unknown[0].arg}`"
        label, help = "unknown", "name one of the constructor's parameters, or leave it out"
    elif bound.repeated:
        message = f"`{name}` is given `{bound.repeated[0]}` twice"
        label, help = "given twice", "leave one of them out"
    else:
        node = bound.extra[0]
        count = len(bound.extra)
        message = f"`{name}` is given {count} argument{'s' if count > 1 else ''} too many"
        label, help = "has no place", "leave it out"
    declared = _constructor_of(call.module_class) if call.module_class is not None else None
    return Finding(
        message,
        file.location(node),
        label=label,
        related=(declared,) if declared is not None else (),
        help=help,
        defect=file.location(call.node),
        explains=file.location(call.node),
    )


def _constructor_of(module: ModuleClass) -> Related | None:
    for definition in module.lineage:
        constructor = definition.methods.get("__init__")
        if constructor is not None:
            return Related(
                definition.file.name_location(constructor.node), "the constructor is here"
            )
    return None
