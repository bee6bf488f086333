"""Parameters that no gradient reaches, and what keeps it from them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from archcheck.analysis.module_classes import class_of
from archcheck.analysis.shapes.failures import node_at, source_file

if TYPE_CHECKING:
    from archcheck.core.finding import Location
    from archcheck.evidence.records import Op, Value
    from archcheck.evidence.trace import Trace
    from archcheck.python import AttributeWrite, Project


class Cut(NamedTuple):
    """A place that no gradient passes, and the modules whose parameters lie behind it.

    Attributes:
        op: What cuts it, or reads the tensor that was made anew without its history.
        wraps: Whether it is such a tensor.
    """

    at: Location
    op: Op
    owners: tuple[str, ...]
    wraps: bool = False


def cut_off(trace: Trace, project: Project) -> Iterator[Cut]:
    """The places that keep the gradient from trainable parameters that the outputs depend on.

    Where no parameter gets a gradient the pass is for inference, unless a `detach` says otherwise,
    or the user, who named the loss that the model is trained with.
    """
    if not trace.complete or trace.failures:
        return
    flow = trace.dataflow
    trainable = [
        value for value in trace.values if value.kind == "parameter" and value.requires_grad
    ]
    inference = flow.reached_by_gradient.isdisjoint(value.index for value in trainable)
    inference = inference and not (trace.request.loss and trace.mode == "train")
    places: dict[Location, tuple[Op, bool, dict[str, None]]] = {}
    for value in trainable:
        if value.index in flow.reached_by_gradient or value.index not in flow.live:
            continue
        wrap = _wrapping(trace, project, value.index)
        if wrap is not None:
            places.setdefault(wrap[0], (wrap[1], True, {}))[2][_owner(value)] = None
            continue
        for op in flow.barriers(value.index)[:1]:
            at = _written(trace, op)
            if at is not None and (not inference or op.name in ("detach", "data")):
                places.setdefault(at, (op, False, {}))[2][_owner(value)] = None
    for at, (op, wraps, owners) in places.items():
        yield Cut(at, op, tuple(owners), wraps)


def _wrapping(trace: Trace, project: Project, parameter: int) -> tuple[Location, Op] | None:
    """Where a tensor that is made anew loses the gradient of a parameter, with what reads it."""
    flow = trace.dataflow
    behind = flow.after([parameter])
    for made, source in flow.wrapped.items():
        users = trace.values[made].users
        if source not in behind or not users or not trace.values[made].requires_grad:
            continue
        op = trace.ops[users[0]]
        at = _made_anew_at(op.location, project) if op.location is not None else None
        if at is not None:
            return at, op
    return None


def _made_anew_at(read: Location, project: Project) -> Location:
    """Where the function that reads a tensor made it a parameter; else where it reads it."""
    file = source_file(project, read)
    node = node_at(file, read) if file is not None else None
    if file is None or node is None:
        return read
    scope = file.statement_at(node).scope
    made = [
        at for call in file.calls_to("torch.nn.Parameter", "torch.nn.parameter.Parameter")
        if call.scope is scope and (at := file.location(call.node)).line <= read.line
    ]  # fmt: skip
    return made[-1] if made else read


def _owner(value: Value) -> str:
    name = value.name or ""
    return name.rpartition(".")[0] or name


def _written(trace: Trace, op: Op) -> Location | None:
    """Where the author wrote a barrier: below `no_grad`, the outermost call that is all below."""
    at, place = op.location, op.call
    while not op.grad_enabled and place is not None:
        call = trace.calls[place]
        if any(inner.grad_enabled for inner in trace.dataflow.ops_of(call)):
            break
        at, place = call.location or at, call.parent
    return at


class LastTurn(NamedTuple):
    """A loop whose last turn computes what nothing reads any more."""

    at: Location
    name: str
    owners: tuple[str, ...]


def last_turns(trace: Trace, project: Project) -> Iterator[LastTurn]:
    """The assignments in loops whose last value is dropped, where parameters take part in that
    turn alone."""
    if not trace.complete or trace.failures:
        return
    flow = trace.dataflow
    unused = {
        value.index: value
        for value in trace.values
        if value.kind == "parameter" and value.requires_grad
        and value.users and value.index not in flow.used
    }  # fmt: skip
    if not unused:
        return
    live = {op.location for op in trace.ops if not flow.used.isdisjoint(op.outputs)}
    for op in trace.ops:
        at = op.location
        if at is None or at not in live or any(trace.values[v].users for v in op.outputs):
            continue
        owners = {_owner(unused[v]): None for v in sorted(flow.before(op.outputs)) if v in unused}
        name = _bound_for_the_next_turn(at, project) if owners else None
        if name is not None:
            yield LastTurn(at, name, tuple(owners))


def _bound_for_the_next_turn(at: Location, project: Project) -> str | None:
    """The local name that an expression is bound to in a loop, where only the loop reads it."""
    file = source_file(project, at)
    node = node_at(file, at) if file is not None else None
    if file is None or node is None:
        return None
    statement = file.statement_at(node)
    loop, function = statement.suite.loop, statement.scope.function
    if not isinstance(loop, ast.For) or function is None:
        return None
    match statement.node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if value is node:
            pass
        case _:
            return None
    end = loop.end_lineno or 0
    after = any(read.lineno > end for read in function.name_reads.get(name, ()))
    return None if after or statement.suite.owner is not loop else name


def never_read(trace: Trace, project: Project) -> Iterator[tuple[str, AttributeWrite]]:
    """The parameters that a class of the user registers and that none of its methods names, with
    the place that sets them."""
    used = {index for op in trace.ops for index in op.inputs}
    for value in trace.values:
        if value.kind != "parameter" or not value.requires_grad or value.index in used:
            continue
        path, _, attribute = (value.name or "").rpartition(".")
        owner = trace.module(path)
        known = class_of(owner, project) if owner is not None and owner.calls else None
        if known is None or not known.surely_never_reads(attribute):
            continue
        for write in known.attributes.get(attribute, ())[:1]:
            yield value.name or "", write
