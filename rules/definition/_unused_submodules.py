"""Submodules that are built and never used."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.module_classes import class_of
from archcheck.analysis.source.elision import is_elided
from archcheck.python import Layer, ModuleClass, Project, SourceFile, Submodule

if TYPE_CHECKING:
    from archcheck.core.finding import Location
    from archcheck.evidence.records import Module
    from archcheck.evidence.trace import Trace

_UNUSED = (
    r"(?i)\bunused\b|\b(not|never) (actually )?used\b|\bcheckpoints?\b[^.]{0,90}\bload"
    r"|\bload[^.]{0,90}\bcheckpoint|\bcompatib"
)


def unused_submodules(module: ModuleClass) -> Iterator[Submodule]:
    """The submodules that certainly nothing reads, unless the author says so."""
    file, forward = module.file, module.find_method("forward")
    if forward is None or forward.is_abstract or forward.always_raises:
        return
    # Reading names is cheap, following what is built is not.
    read = module.definition.names_read | file.names_read_of_others
    if all(write.name in read for write in module.own_writes):
        return
    seen: set[str] = set()
    for submodule in module.submodules:
        name = submodule.attribute
        if name in seen or _is_a_placeholder(submodule) or _has_another_name(submodule):
            continue
        if not module.surely_never_reads(name) or is_elided(file, module.node):
            continue
        if not _says_so(file, module, submodule):
            seen.add(name)
            yield submodule


def modules_passed_over(trace: Trace, project: Project) -> Iterator[tuple[Module, Location]]:
    """Of several layers alike, those that a forward without branches passes over, with where they
    were constructed."""
    if not trace.complete or trace.failures:
        return
    used = {value for op in trace.ops for value in op.inputs}
    names = {trace.values[value].name for value in used}
    for parent in trace.modules:
        module = class_of(parent, project) if parent.calls else None
        if module is None or _may_choose(module):
            continue
        prefix = f"{parent.path}." if parent.path else ""
        for path in parent.children:
            child = trace.module(path)
            if child is None or child.calls or child.aliases:
                continue
            weights = [p.name for p in trace.parameters if p.name.startswith(f"{path}.")]
            alike = any(
                other.constructed == child.constructed and other.calls
                for other in map(trace.module, parent.children)
                if other is not None
            )
            if not weights or not alike or names.intersection(weights):
                continue
            name = path.removeprefix(prefix)
            if name not in module.file.names_read_of_others and child.constructed is not None:
                yield child, child.constructed


def _may_choose(module: ModuleClass) -> bool:
    """Whether forward decides anything, so that another pass may call other layers."""
    kinds = (ast.If, ast.IfExp, ast.While, ast.Match, ast.Try, ast.BoolOp, ast.Break, ast.Continue)
    return not module.is_certain or any(
        True for method in module.computing for _ in method.nodes(*kinds)
    )


def _says_so(file: SourceFile, module: ModuleClass, submodule: Submodule) -> bool:
    """Whether the author knows, and says it in a comment, a docstring or a name: layers are kept
    so that old checkpoints load."""
    if any("unused" in name.lower() for name in (module.name, submodule.attribute)):
        return True
    line = submodule.write.location.line
    above = [text for text in file.lines[max(line - 3, 0) : line - 1] if "#" in text]
    texts = [*above, file.lines[line - 1].partition("#")[2]]
    documented = [module.node, *(method.node for method in module.own_methods[:1])]
    texts += [" ".join((ast.get_docstring(node, clean=False) or "").split()) for node in documented]
    return any(re.search(_UNUSED, text) for text in texts)


def _is_a_placeholder(submodule: Submodule) -> bool:
    return all(
        layer.is_a("Identity") or layer.class_name.lower().endswith(("loss", "criterion"))
        for layer in submodule.alternatives
    )


def _has_another_name(submodule: Submodule) -> bool:
    """Whether the module, or what it holds, can be reached in another way than by the attribute."""
    if any(_only_registers(layer) for layer in submodule.alternatives):
        return True
    write = submodule.write
    node = write.statement.node
    if isinstance(node, ast.Assign) and len(node.targets) > 1:
        return True
    if isinstance(write.value, ast.Name) and write.function is not None:
        return len(write.function.name_reads.get(write.value.id, ())) > 1
    return isinstance(write.value, ast.NamedExpr)


def _only_registers(layer: Layer) -> bool:
    """Whether a container holds modules that were made before it, perhaps only to register them."""
    if not layer.is_a("ModuleList", "ModuleDict", "Sequential"):
        return False
    inside = set(ast.walk(layer.node))
    if layer.is_a("Sequential"):
        given = layer.node.args if isinstance(layer.node, ast.Call) else []
        return any(isinstance(item, ast.Attribute) for item in given)
    if not isinstance(layer.children, tuple) or not layer.children:
        return True
    return any(
        child.node not in inside or not isinstance(child.node, ast.Call) for child in layer.children
    )
