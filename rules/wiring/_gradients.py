"""Parameters that no gradient reaches, and what keeps it from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from archcheck.analysis.module_classes import class_of

if TYPE_CHECKING:
    from archcheck.core.finding import Location
    from archcheck.evidence.records import Op, Value
    from archcheck.evidence.trace import Trace
    from archcheck.python import AttributeWrite, Project


class Cut(NamedTuple):
    """A place that no gradient passes, and the modules whose parameters lie behind it."""

    at: Location
    op: Op
    owners: tuple[str, ...]


def cut_off(trace: Trace) -> Iterator[Cut]:
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
    places: dict[Location, tuple[Op, dict[str, None]]] = {}
    for value in trainable:
        if value.index in flow.reached_by_gradient or value.index not in flow.live:
            continue
        for op in flow.barriers(value.index)[:1]:
            at = _written(trace, op)
            if at is not None and (not inference or op.name in ("detach", "data")):
                places.setdefault(at, (op, {}))[1][_owner(value)] = None
    for at, (op, owners) in places.items():
        yield Cut(at, op, tuple(owners))


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
