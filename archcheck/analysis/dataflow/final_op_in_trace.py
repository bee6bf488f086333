"""Outcomes: the operator that an output of a traced model comes out of, and where it is written."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from archcheck.analysis.edits.size_source import Defaults, size_source
from archcheck.analysis.edits.syntax_edits import after, insertion, replacement
from archcheck.analysis.shapes.failures import node_at, source_file
from archcheck.core.finding import Edit, Fix, Location
from archcheck.evidence.dataflow import AFFINE, MOVES, indices
from archcheck.python.names.scope import argument_of, has_star

if TYPE_CHECKING:
    from archcheck.evidence.records import Op
    from archcheck.evidence.trace import Trace
    from archcheck.python import Project, SourceFile

SOFTMAXES = ("softmax", "log_softmax", "softmin")


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


def resolved_dim(trace: Trace, op: Op) -> int | None:
    """The dimension (from 0) that a softmax normalises over; None where that is not known."""
    if not op.inputs:
        return None
    rank = len(trace.shape(op.inputs[0]))
    dim = op.arguments.get("dim")
    if dim is None:
        return 0 if rank in (0, 1, 3) else 1
    # Where there is no such dimension the call raises, and normalises over none.
    return dim % rank if isinstance(dim, int) and -rank <= dim < rank else None


def is_returned(trace: Trace, op: Op) -> bool:
    """Whether what an operator gives is an output of the model, moved or as its logarithm."""
    through = MOVES | {"log"}
    return any(
        trace.dataflow.last_nonlinear(value, through) is op for value in trace.dataflow.outputs
    )


def softmax_call(trace: Trace, project: Project, op: Op) -> tuple[SourceFile, ast.Call, int] | None:
    """The call that sets a softmax's `dim`: of the function, or of its module's constructor. With
    it the file, and the position of `dim` among the arguments."""
    module = trace.module_of(op)
    built = module.constructed if module is not None and module.forward is None else None
    at = built or op.location
    file = source_file(project, at) if at is not None else None
    node = node_at(file, at) if file is not None and at is not None else None
    if file is None or not isinstance(node, ast.Call):
        return None
    method = isinstance(node.func, ast.Attribute) and file.dotted(node.func) is None
    return file, node, 0 if built is not None or method else 1


def with_dim(file: SourceFile, node: ast.Call, position: int, dim: int) -> Fix | None:
    """The fix that sets the `dim` of a softmax, where it is given or at the one place that
    decides it; None where others read that too."""
    if has_star(node):
        return None
    edit: Edit
    given = argument_of(node, "dim", position)
    if given is not None:
        place = size_source(given, file.statement_at(given), Defaults())
        if place is None or not isinstance(place.expression, ast.Constant | ast.UnaryOp):
            return None
        edit = replacement(place.file, place.expression, str(dim))
    elif node.args or node.keywords:
        edit = after(file, (*node.args, *node.keywords)[-1], f", dim={dim}")
    else:
        at = file.location(node)
        edit = insertion(at.path, at.end_line, at.end_column - 1, f"dim={dim}")
    return Fix("safe", (edit,))
