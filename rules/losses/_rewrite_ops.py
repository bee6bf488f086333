"""Edits that take an operation out of the source, or put another one in its place."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from archcheck.analysis.dataflow.final_op_in_trace import written_at
from archcheck.analysis.edits.size_source import Nobody, size_source
from archcheck.analysis.edits.syntax_edits import between, is_alone, replacement, without_line
from archcheck.analysis.shapes.failures import node_at, source_file
from archcheck.core.finding import Edit, Location
from archcheck.python.names.scope import argument_of

if TYPE_CHECKING:
    from archcheck.evidence.records import Op
    from archcheck.evidence.trace import Trace
    from archcheck.python import Project, SourceFile
    from archcheck.python.names.sites import Statement

# The classes of functions that fixes exchange.
_CLASSES: Final = {
    "softmax": "Softmax",
    "log_softmax": "LogSoftmax",
    "nll_loss": "NLLLoss",
    "cross_entropy": "CrossEntropyLoss",
    "binary_cross_entropy": "BCELoss",
    "binary_cross_entropy_with_logits": "BCEWithLogitsLoss",
}
_METHODS: Final = frozenset({"softmax", "log_softmax", "sigmoid"})


def without(file: SourceFile, node: ast.AST) -> tuple[Edit, ...]:
    """The edits that take an activation out: `F.softmax(x, dim=1)`, `x.softmax(1)`,
    `self.softmax(x)`, a layer of a container. None where that is not a matter of a few
    characters."""
    if not isinstance(node, ast.Call):
        return ()
    parents = _parents(file)
    edit = _out_of_container(file, node, parents)
    if edit is not None:
        return (edit,)
    operand: ast.expr | None = None
    more: tuple[Edit, ...] = ()
    dotted = file.dotted(node.func)
    if dotted is not None and dotted.startswith("torch.") and not dotted.startswith("torch.nn.S"):
        operand = argument_of(node, "input", 0)
    elif dotted is None and isinstance(node.func, ast.Attribute):
        if _is_own(node.func):
            operand = node.args[0] if len(node.args) == 1 and not node.keywords else None
            more = _without_maker(file, node.func)
        elif node.func.attr in _METHODS:
            operand = node.func.value
    if operand is None:
        return ()
    statement = parents.get(node)
    match statement:
        case ast.Assign(targets=[ast.Name(id=target)]) if (
            isinstance(operand, ast.Name)
            and operand.id == target
            and not is_alone(statement, parents[statement])
        ):
            # `x = F.softmax(x)` would become `x = x`.
            line = without_line(file, statement)
            if line is not None:
                return (line, *more)
    return (replacement(file, node, file.text(operand)), *more)


def renamed(file: SourceFile, node: ast.AST, old: str, new: str) -> tuple[Edit, ...]:
    """The edits that put one operation in the place of another: `F.new(…)`, `x.new(…)`, or the
    class of the module that is called. None where the call leads to neither."""
    if not isinstance(node, ast.Call):
        return ()
    for call in (node, _maker(file, node.func)):
        if call is None:
            continue
        for was, becomes in ((old, new), (_CLASSES.get(old), _CLASSES.get(new))):
            at = _last_name(file, call.func, was) if was is not None else None
            if at is not None and becomes is not None:
                return (Edit(at, becomes),)
    return ()


def without_at(project: Project, at: Location) -> tuple[Edit, ...]:
    """See `without`; the activation is the expression at a place."""
    file = source_file(project, at)
    node = node_at(file, at) if file is not None else None
    return without(file, node) if file is not None and node is not None else ()


def without_op(trace: Trace, project: Project, op: Op) -> tuple[Edit, ...]:
    """See `without`; the activation is an operator of a trace. Nothing where the code that applied
    it applied others as well, which would go with it."""
    at = written_at(trace, op)
    alike = (other for other in trace.ops if other.name == op.name and other is not op)
    if at is None or any(written_at(trace, other) == at for other in alike):
        return ()
    return without_at(project, at)


def renamed_at(project: Project, at: Location, old: str, new: str) -> tuple[Edit, ...]:
    """See `renamed`; the operation is the expression at a place that a trace names."""
    file = source_file(project, at)
    node = node_at(file, at) if file is not None else None
    return renamed(file, node, old, new) if file is not None and node is not None else ()


def _last_name(file: SourceFile, callee: ast.expr, name: str) -> Location | None:
    """Where a dotted callee has this last name; a bare name would need an import."""
    if not isinstance(callee, ast.Attribute) or callee.attr != name:
        return None
    at = file.location(callee)
    return replace(at, line=at.end_line, column=at.end_column - len(name))


def _maker(file: SourceFile, callee: ast.expr) -> ast.Call | None:
    """The call that makes the module that is called, if only this function calls it."""
    if isinstance(callee, ast.Call):
        return callee
    if not isinstance(callee, ast.Name | ast.Attribute):
        return None
    place = size_source(callee, file.statement_at(callee), Nobody(is_seen=True))
    if place is None or place.file is not file or not isinstance(place.expression, ast.Call):
        return None
    return place.expression


def _is_own(callee: ast.Attribute) -> bool:
    return isinstance(callee.value, ast.Name) and callee.value.id == "self"


def _without_maker(file: SourceFile, callee: ast.Attribute) -> tuple[Edit, ...]:
    """The edit that takes out the line that makes a module, where nothing else calls it."""
    place = size_source(callee, file.statement_at(callee), Nobody())
    if place is None or place.file is not file or not isinstance(place.expression, ast.Call):
        return ()
    made: Statement = place.statement
    if not isinstance(made.node, ast.Assign) or len(made.node.targets) != 1:
        return ()
    edit = without_line(file, made.node)
    return (edit,) if edit is not None else ()


def _out_of_container(
    file: SourceFile, node: ast.Call, parents: dict[ast.AST, ast.AST]
) -> Edit | None:
    """Take a layer out of the container that it is built in; None where it is in none."""
    item: ast.AST = node
    around = parents.get(item)
    if isinstance(around, ast.Tuple) and len(around.elts) == 2 and around.elts[1] is node:
        # ("softmax", nn.Softmax()) of an OrderedDict
        item, around = around, parents.get(around)
    members: list[ast.expr] = []
    match around:
        case ast.Call() if file.dotted(around.func) == "torch.nn.Sequential":
            members = around.args
        case ast.Call(func=ast.Attribute(attr="add_module" | "append" | "register_module")):
            statement = parents.get(around)
            return without_line(file, statement) if isinstance(statement, ast.Expr) else None
        case ast.Assign(targets=[ast.Subscript()]):
            return without_line(file, around)
        case ast.List() | ast.Tuple():
            members = around.elts
    if item not in members:
        return None
    if len(members) == 1:
        return None
    index = members.index(item)
    line = without_line(file, members[index])
    if line is not None:
        return line
    if index:
        return between(file, members[index - 1], item)
    first, second = file.location(item), file.location(members[1])
    end = replace(first, end_line=second.line, end_column=second.column)
    return Edit(end, "")


def _parents(file: SourceFile) -> dict[ast.AST, ast.AST]:
    return {child: node for node in ast.walk(file.tree) for child in ast.iter_child_nodes(node)}
