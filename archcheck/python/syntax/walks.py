"""Loops over modules: whether they only look at them and initialise them, or call and keep them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

Parents: TypeAlias = Mapping[ast.AST, ast.AST]

# Functions that give the same elements again, or some of them.
_PASSING: Final = frozenset({"enumerate", "zip", "reversed", "list", "tuple", "sorted", "iter"})
_VIEWS: Final = frozenset({"items", "values"})
# Functions that look at an object and keep nothing of it.
_TELLING: Final = frozenset({
    "isinstance", "issubclass", "hasattr", "getattr", "type", "id", "print", "len", "str", "repr",
    "callable", "range", "bool", "sum", "min", "max", "any", "all",
})  # fmt: skip
# What a module gives away of itself, so that somebody else may train, save or call it.
_GIVING: Final = frozenset({
    "parameters", "named_parameters", "state_dict", "load_state_dict", "modules", "children",
    "named_modules", "named_children", "buffers", "named_buffers", "forward", "_modules",
    "_parameters",
})  # fmt: skip
_INITIALISING: Final = (
    "init", "reset", "weight", "normal", "uniform", "xavier", "kaiming", "orthogonal", "freeze",
    "fill", "constant",
)  # fmt: skip
_KEEPING: Final = frozenset({"append", "extend", "add", "insert", "update", "add_param_group"})


def parents_in(node: ast.AST) -> Parents:
    """The node around each node below this one."""
    return {child: parent for parent in ast.walk(node) for child in ast.iter_child_nodes(parent)}


def is_only_measured(container: ast.expr, parents: Parents) -> bool:
    """Whether a use of a list or dict of modules neither calls, keeps nor registers one: it is
    walked, counted, or asked whether it holds something."""
    read = elements_read(container, parents)
    if read is not None:
        return all(is_only_looked_at(name, parents) for name in read)
    parent = parents.get(container)
    match parent:
        case ast.Subscript(value=value) if value is container:
            is_slice = isinstance(parent.slice, ast.Slice)
            return (
                is_only_measured(parent, parents)
                if is_slice
                else is_only_looked_at(parent, parents)
            )
        case ast.Call(func=ast.Name(id=name)):
            return name in _TELLING
        case ast.Compare() | ast.If() | ast.Assert():
            return True
        case ast.UnaryOp(op=ast.Not()):
            return True
    return False


def elements_read(container: ast.expr, parents: Parents) -> Iterator[ast.Name] | None:
    """Where a loop over a container, or a comprehension, reads what stands for its elements.

    None where the expression is not what a loop runs over.
    """
    node: ast.AST = container
    while True:
        parent = parents.get(node)
        match parent:
            case ast.Call(func=ast.Name(id=name)) if name in _PASSING and node is not parent.func:
                node = parent
            case ast.Attribute(attr=name) if name in _VIEWS:
                call = parents.get(parent)
                if not isinstance(call, ast.Call):
                    return None
                node = call
            case ast.For(iter=iterated) | ast.AsyncFor(iter=iterated) if iterated is node:
                return _reads(parent.target, parent, parents)
            case ast.comprehension(iter=iterated) if iterated is node:
                return _reads(parent.target, parents[parent], parents)
            case _:
                return None


def _reads(target: ast.expr, within: ast.AST, parents: Parents) -> Iterator[ast.Name]:
    names = {part.id for part in ast.walk(target) if isinstance(part, ast.Name)}
    for part in ast.walk(within):
        if isinstance(part, ast.Name) and part.id in names and isinstance(part.ctx, ast.Load):
            yield part


def is_only_looked_at(element: ast.expr, parents: Parents) -> bool:
    """Whether a use of a module neither calls nor keeps it: it is asked for its class or sizes,
    moved, frozen or initialised."""
    parent = parents.get(element)
    match parent:
        case ast.Attribute(attr=name):
            if name in _GIVING:
                return _runs_over_parameters(parent, parents)
            call = parents.get(parent)
            if not (isinstance(call, ast.Call) and call.func is parent):
                return True
            return isinstance(parents.get(call), ast.Expr)
        case ast.Call(func=function) if function is not element:
            if isinstance(function, ast.Name) and function.id in _TELLING:
                return True
            name = getattr(function, "attr", getattr(function, "id", "")).lower()
            known = any(word in name for word in _INITIALISING)
            return known and isinstance(parents.get(parent), ast.Expr)
        case ast.Compare() | ast.FormattedValue() | ast.Subscript() | ast.BinOp():
            return True
    return False


def _runs_over_parameters(attribute: ast.Attribute, parents: Parents) -> bool:
    """Whether `parameters()` is what a loop runs over that keeps none of them."""
    if attribute.attr not in ("parameters", "named_parameters"):
        return False
    loop = parents.get(parents.get(attribute, attribute))
    if not isinstance(loop, ast.For):
        return False
    inside = [part for statement in loop.body for part in ast.walk(statement)]
    return not any(
        isinstance(part, ast.AugAssign | ast.Yield | ast.Return)
        or (isinstance(part, ast.Attribute) and part.attr in _KEEPING)
        or (isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store))
        for part in inside
    )
