"""Outcomes: the operator that an output of a traced model comes out of, and where it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archcheck.dataflow import AFFINE, MOVES, indices

if TYPE_CHECKING:
    from archcheck.evidence import Op, Trace
    from archcheck.finding import Location


def only_outcome(trace: Trace) -> Op | None:
    """The operator that the only output comes out of; None where there are several outputs."""
    values = tuple(indices(trace.outputs))
    return trace.dataflow.last_nonlinear(values[0]) if len(values) == 1 else None


def before(trace: Trace, op: Op) -> Op | None:
    """The operator that the first operand comes out of, seen through what only moves it."""
    return trace.dataflow.last_nonlinear(op.inputs[0], MOVES) if op.inputs else None


def is_logits(op: Op | None) -> bool:
    """Whether what comes out of an operator are raw scores: of a linear layer, a convolution."""
    return op is not None and op.name in AFFINE


def written_at(trace: Trace, op: Op) -> Location | None:
    """Where the author wrote an activation: the call, or the constructor in a Sequential."""
    module = trace.module_of(op)
    if module is not None and module.forward is None and module.constructed is not None:
        holder = trace.module(module.path.rpartition(".")[0])
        if holder is not None and holder.forward is None and holder is not module:
            return module.constructed
    return op.location
