"""Totals and histories of a training loop, and what they keep of each step."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from archcheck.python import SourceFile
from archcheck.python.program.events import Event, Region, Run
from archcheck.python.program.things import Thing

from ._scripts import text_of


class Kept(NamedTuple):
    """What a loop keeps of each of its steps with the graph that it was computed by.

    Attributes:
        keep: Where it is added to a total, or put into a list.
        container: The total or list, as it is called there.
        value: What is kept: a name, or an expression.
        added: Its expression.
        backward: Where the graph is used.
    """

    keep: Event
    container: str
    value: str
    added: ast.expr
    backward: Event


def kept_graphs(file: SourceFile) -> Iterator[Kept]:
    """What totals and lists keep of the steps of a training loop, graph included."""
    for run in file.runs:
        if run.of("backward"):
            for keep in run.of("keep"):
                found = _kept(run, keep)
                if found is not None:
                    yield found


def _kept(run: Run, keep: Event) -> Kept | None:
    value = keep.result
    loop = next((loop for loop in keep.loops if hasattr(loop.node, "body")), None)
    container, added = _expressions(keep.node)
    name = text_of(container)
    if value is None or not value.graph or loop is None or name is None or added is None:
        return None
    if keep.is_without_gradients or isinstance(added, ast.Constant):
        return None
    backward = next((one for one in run.inside(loop, "backward") if _uses(one, value)), None)
    if backward is None or _keeps_its_graph(backward) or backward.is_without_gradients:
        return None
    if _starts_anew(keep, loop, name) or _is_used_again(run, keep, name):
        return None
    return Kept(keep, name, keep.file.text(added), added, backward)


def _expressions(node: ast.AST) -> tuple[ast.expr | None, ast.expr | None]:
    """The container and what is put into it: of `a += b`, `a = a + b`, `a.append(b)`,
    `a[k] = b`."""
    match node:
        case ast.AugAssign(target=target, value=ast.List(elts=[only])):
            return target, only
        case ast.AugAssign(target=target, value=value):
            return target, value
        case ast.Assign(targets=[target], value=ast.BinOp(left=left, right=right)):
            own = text_of(target) if isinstance(target, ast.Name | ast.Attribute) else None
            return target, right if text_of(left) == own else left
        case ast.Call(func=ast.Attribute(value=container), args=[*_, value]):
            return container, value
    return None, None


def _uses(backward: Event, value: Thing) -> bool:
    """Whether a `backward` goes through the graph of a value."""
    if backward.subject is value or value.reaches(backward.subject):
        return True
    return backward.subject.reaches(value, 8)


def _keeps_its_graph(backward: Event) -> bool:
    node = backward.node
    return isinstance(node, ast.Call) and any(
        keyword.arg in ("create_graph", "retain_graph") for keyword in node.keywords
    )


def _starts_anew(keep: Event, loop: Region, name: str) -> bool:
    """Whether the container is set to something else in each turn of the loop."""
    made = keep.subject.statement
    if made is not None and made.is_in(loop.node):
        return True
    scope, own = keep.statement.scope, keep.statement
    if "." in name:
        stores = [
            reference.statement
            for reference in scope.references
            if reference.kind == "store" and ".".join(reference.parts) == name
        ]
        return any(place is not own and place.is_in(loop.node) for place in stores)
    return any(
        binding.statement is not own
        and binding.kind == "assign"
        and binding.statement.is_in(loop.node)
        for binding in scope.bindings.get(name, [])
    )


def _is_used_again(run: Run, keep: Event, name: str) -> bool:
    """Whether something differentiates the container, may do so, or cuts it off its graph."""
    holders = (*keep.arguments, keep.subject) if keep.subject.kind != "number" else keep.arguments
    for event in run.of("backward", "grad", "opaque"):
        handed = (event.subject, *event.arguments) if event.kind == "opaque" else (event.subject,)
        if any(thing.reaches(holder, 8) for thing in handed for holder in holders):
            return True
    parts = tuple(name.split("."))
    return any(
        reference.parts[: len(parts)] == parts
        and reference.parts[-1] in ("detach_", "backward", "detach", "clear")
        for reference in keep.statement.scope.references
    )
