"""Where a layer of torch was told, or not told, that the batch is its first dimension."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from archcheck.analysis.edits.syntax_edits import after, insertion, replacement
from archcheck.analysis.shapes.failures import node_at, source_file
from archcheck.core.finding import Edit, Fix, Location
from archcheck.python.names.scope import has_star

if TYPE_CHECKING:
    from archcheck.evidence.records import Module, Op
    from archcheck.evidence.trace import Trace
    from archcheck.python import Project, SourceFile

TAKE_BATCH_FIRST = frozenset(
    "MultiheadAttention LSTM GRU RNN Transformer TransformerEncoderLayer "
    "TransformerDecoderLayer".split()
)
_WRAPPERS = frozenset("TransformerEncoder TransformerDecoder".split())


def layer_of(trace: Trace, op: Op) -> Module | None:
    """The layer that decides an op's layout, None where no layer of torch does."""
    module = trace.module_of(op)
    return module if module is not None and "batch_first" in module.attributes else None


def constructor_of(project: Project, layer: Module) -> tuple[SourceFile, ast.Call] | None:
    """The constructor that takes `batch_first` for a layer, where the code writes it."""
    if layer.constructed is None:
        return None
    file = source_file(project, layer.constructed)
    node = node_at(file, layer.constructed) if file is not None else None
    if file is None or not isinstance(node, ast.Call):
        return None
    if _callee(node) in _WRAPPERS:
        node = _wrapped(file, node)
    if node is None or _callee(node) not in TAKE_BATCH_FIRST or has_star(node):
        return None
    return file, node


def _callee(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _wrapped(file: SourceFile, call: ast.Call) -> ast.Call | None:
    """The layer that a stack is made of: its first argument, or what that name was bound to."""
    given = call.args[0] if call.args else None
    named = (k.value for k in call.keywords if (k.arg or "").endswith("_layer"))
    given = given or next(named, None)
    if isinstance(given, ast.Call):
        return given
    if not isinstance(given, ast.Name):
        return None
    bound = [
        node.value
        for node in ast.walk(file.tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and node.lineno <= call.lineno
        and any(isinstance(t, ast.Name) and t.id == given.id for t in node.targets)
    ]
    return max(bound, key=lambda node: node.lineno) if bound else None


def told_batch_first(file: SourceFile, call: ast.Call) -> Fix:
    """The constructor with `batch_first=True`."""
    return Fix("safe", (_edit(file, call),))


def _edit(file: SourceFile, call: ast.Call) -> Edit:
    for keyword in call.keywords:
        if keyword.arg == "batch_first":
            return replacement(file, keyword.value, "True")
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    if given:
        last = max(given, key=lambda node: (node.end_lineno or 0, node.end_col_offset or 0))
        return after(file, last, ", batch_first=True")
    at: Location = file.location(call)
    return insertion(at.path, at.end_line, at.end_column - 1, "batch_first=True")
