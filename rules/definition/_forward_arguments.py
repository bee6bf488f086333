"""Parameters of `forward` that nothing reads, and that nobody else prescribes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from archcheck.analysis.source.elision import is_elided

if TYPE_CHECKING:
    from archcheck.python import Function, ModuleClass

_NOT_NEEDED: Final = re.compile(
    r"(?i)\bunused\b|\bnot (actually |currently |yet )?(used|needed|read|supported|implemented)\b"
    r"|\bignor|\bno effect\b|\bcompat|\bsignature\b|\binterface\b|\bplaceholder\b|\bdummy\b"
    r"|\bstub\b|\bARG00\d\b|unused-argument|\bdeprecated\b|\bTODO\b|\bfor consistency\b"
)
_STAND_INS: Final = re.compile(r"(?i)dummy|mock|fake|toy|stub|null|noop|identity|placeholder|test")
# Bases that leave the parameters of forward to the class.
_FREE_BASES: Final = frozenset({
    "torch.nn.Module", "lightning.LightningModule", "object", "abc.ABC", "typing.Generic",
})  # fmt: skip


def unread_arguments(module: ModuleClass) -> Iterator[ast.arg]:
    """The positional parameters of a class's own forward that certainly should be read."""
    forward = module.forward
    if forward is None or not _is_a_computation(module, forward):
        return
    unread = [a for a in _given(forward) if not _is_spoken_of(module, forward, a)]
    if unread and _is_free(module) and _is_built_by_name(module):
        yield from (a for a in unread if not _is_prescribed(module, forward, a.arg))


def _given(forward: Function) -> Iterator[ast.arg]:
    """The parameters without a default that no name in the body stands for."""
    arguments = forward.node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    required = positional[1 : len(positional) - len(arguments.defaults)]
    read = forward.name_reads
    for argument in required:
        bound = forward.bindings.get(argument.arg, ())
        if argument.arg not in read and len(bound) == 1 and not argument.arg.startswith("_"):
            yield argument


def _is_a_computation(module: ModuleClass, forward: Function) -> bool:
    """Whether forward does something of its own, all of which can be seen."""
    if forward.is_abstract or forward.is_overload or forward.always_raises:
        return False
    if _STAND_INS.search(module.name) or "locals" in forward.name_reads:
        return False
    if is_elided(module.file, forward.node) or not forward.calls:
        return False
    # One that hands on what it gets, or a constant, stands in the place of another.
    body = [node for node in forward.node.body if not isinstance(node, ast.Expr)]
    match body:
        case [ast.Return(value=ast.Name() | ast.Constant() | ast.Tuple() | None)]:
            return False
    reads = set(forward.name_reads) - {forward.self_name}
    return bool(reads.intersection(forward.parameters))


def _is_spoken_of(module: ModuleClass, forward: Function, argument: ast.arg) -> bool:
    """Whether a comment or a docstring says that the parameter, or some of them, is not used."""
    file = module.file
    first = forward.node.lineno
    last = forward.node.body[0].lineno
    lines = file.lines[max(first - 2, 0) : last]
    comments = [line.partition("#")[2] for line in lines]
    comments += [
        line.partition("#")[2]
        for line in file.lines[first - 1 : forward.node.end_lineno]
        if "#" in line and re.search(rf"\b{argument.arg}\b", line.partition("#")[2])
    ]
    documented = [forward.docstring or "", module.definition.docstring or ""]
    about = [
        line for text in documented for line in text.splitlines()
        if re.search(rf"\b{argument.arg}\b", line)
    ]  # fmt: skip
    return any(_NOT_NEEDED.search(text) for text in (*comments, *about))


def _is_free(module: ModuleClass) -> bool:
    """Whether no base outside the project may prescribe the parameters."""
    definition = module.definition
    return all(isinstance(b, str) and b in _FREE_BASES for b in definition.outside_bases) and not (
        any(one.node.decorator_list or one.node.keywords for one in definition.lineage)
    )


def _is_built_by_name(module: ModuleClass) -> bool:
    """Whether every mention of the class constructs it, so that its caller knows which it is."""
    for file in module.file.project.files_naming(module.name, module.file):
        for scope in file.scopes:
            if any(_is_picked(node, module.name) for node, _ in scope.nodes(*_TABLES)):
                return False
            for call in scope.calls:
                given = [*call.node.args, *(keyword.value for keyword in call.node.keywords)]
                if call.name not in ("isinstance", "issubclass", "super") and any(
                    isinstance(item, ast.Name) and item.id == module.name for item in given
                ):
                    return False
            for bindings in scope.bindings.values():
                for binding in bindings:
                    value = binding.value
                    if isinstance(value, ast.Name) and value.id == module.name:
                        return False
            for node, _ in scope.nodes(ast.Return):
                value = getattr(node, "value", None)
                if isinstance(value, ast.Name) and value.id == module.name:
                    return False
    return True


_TABLES: Final = (ast.Dict, ast.List, ast.Tuple, ast.IfExp)


def _is_picked(node: ast.AST, name: str) -> bool:
    """Whether a table or a choice holds the class itself."""
    match node:
        case ast.Dict():
            held = node.values
        case ast.List() | ast.Tuple():
            held = node.elts
        case ast.IfExp():
            held = [node.body, node.orelse]
        case _:
            return False
    return any(isinstance(item, ast.Name) and item.id == name for item in held)


def _is_prescribed(module: ModuleClass, forward: Function, name: str) -> bool:
    """Whether another class calls for the parameter: a base, a subclass, one beside it."""
    relatives = [*module.definition.ancestors, *(sub.definition for sub in module.subclasses)]
    if any(
        name in method.parameters or method.node.args.vararg or method.node.args.kwarg
        for relative in relatives
        if (method := relative.methods.get("forward")) is not None
    ):
        return True
    for file in module.file.project.files_naming(name, module.file):
        same_file = file is module.file
        for other in file.modules:
            known = other.forward
            if other.definition is module.definition or known is None:
                continue
            if same_file and name in known.parameters:
                return True
            if known.parameters == forward.parameters:
                return True
    return False
