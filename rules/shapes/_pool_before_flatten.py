"""The fix of a model that takes one size of input only: it pools before it flattens."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from archcheck.analysis.edits.syntax_edits import after, before
from archcheck.analysis.shapes.failures import ShapeError, is_built_once, node_at, source_file
from archcheck.core.finding import Edit, Fix

from ._widths import origin

if TYPE_CHECKING:
    from archcheck.core.target import Shape
    from archcheck.python import SourceFile

_FLATTENS = frozenset({"view", "reshape", "flatten", "view_as", "reshape_as"})


def lifted(fault: ShapeError, folded: Shape) -> Fix | None:
    """The fix that has a linear layer take any size of input.

    The pooling before the flattening becomes an adaptive one. Where there is none, one is put
    there that changes nothing at the size at hand.

    Args:
        folded: The sizes that the flattening multiplied: channels, then spatial ones.
    """
    return _with_adaptive_pooling(fault, folded) or _with_another_pooling(fault, folded)


def _with_adaptive_pooling(fault: ShapeError, folded: Shape) -> Fix | None:
    """An adaptive pooling in the place of the one before the flattening, and a width to match."""
    trace = fault.trace
    before = trace.dataflow.producer(origin(trace, fault.values[0]).value.index)
    declared = fault.declared("in_features", 0)
    if before is None or "pool" not in before.name or declared is None:
        return None
    pool = ShapeError.of(trace, fault.project, before)
    kind = pool.declared_type()
    if pool.layer is None or kind is None or len(pool.layer.calls) != 1:
        return None
    callee, dot, name = pool.text(kind.location).rpartition(".")
    if not dot or name != pool.layer.type:
        return None
    if declared.location == declared.constructor or not (
        is_built_once(trace, declared.constructor) and is_built_once(trace, kind.constructor)
    ):
        return None
    if fault.text(declared.location).isidentifier():
        return None  # a parameter: the number is worked out elsewhere
    way = "Max" if "max" in before.name else "Avg"
    adaptive = f"{callee}.Adaptive{way}Pool{len(folded) - 1}d(1)"
    edits = (Edit(kind.constructor, adaptive), Edit(declared.location, str(folded[0])))
    return Fix("unsafe", edits)


def _with_another_pooling(fault: ShapeError, folded: Shape) -> Fix | None:
    """A pooling right before the flattening, to the sizes that the layer was made for."""
    if not 2 <= len(folded) <= 4:
        return None
    value = origin(fault.trace, fault.values[0]).value
    if len(value.shape) != len(folded) + 1:
        return None
    flatten = next(
        (fault.trace.ops[user] for user in value.users if fault.trace.ops[user].name in _FLATTENS),
        None,
    )
    if flatten is None:
        return None
    flattening = ShapeError.of(fault.trace, fault.project, flatten)
    built = flattening.call is not None and flattening.trace.module(flattening.call.path)
    at = built.constructed if built and built.forward is None else flatten.location
    file = source_file(fault.project, at) if at is not None else None
    node = node_at(file, at) if file is not None and at is not None else None
    if file is None or not isinstance(node, ast.Call):
        return None
    sizes = ", ".join(map(str, folded[1:]))
    sizes = f"({sizes})" if len(folded) > 2 else sizes
    rank = len(folded) - 1
    if built and built.forward is None:
        callee, dot, _ = file.text(node.func).rpartition(".")
        if not dot:
            return None
        return Fix("unsafe", (before(file, node, f"{callee}.AdaptiveAvgPool{rank}d({sizes}), "),))
    functional = _functional(file)
    operand = _operand(file, node)
    if functional is None or operand is None:
        return None
    opening = before(file, operand, f"{functional}.adaptive_avg_pool{rank}d(")
    return Fix("unsafe", (opening, after(file, operand, f", {sizes})")))


def _operand(file: SourceFile, node: ast.Call) -> ast.expr | None:
    """What a call of `x.view(…)` or `torch.flatten(x, 1)` flattens."""
    if file.dotted(node.func) is not None:
        return node.args[0] if node.args and not isinstance(node.args[0], ast.Starred) else None
    return node.func.value if isinstance(node.func, ast.Attribute) else None


def _functional(file: SourceFile) -> str | None:
    """What the file calls torch.nn.functional."""
    names = {dotted: name for name, dotted in file.imports.items()}
    for package, rest in (
        ("torch.nn.functional", ""),
        ("torch.nn", ".functional"),
        ("torch", ".nn.functional"),
    ):
        if package in names:
            return f"{names[package]}{rest}"
    return None
