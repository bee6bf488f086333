"""Where the samples of a batch are, and what reshapes do to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import TYPE_CHECKING

from archcheck.analysis.shapes.arithmetic import prefix_products

if TYPE_CHECKING:
    from archcheck.core.finding import Location
    from archcheck.core.target import Shape
    from archcheck.evidence.records import Op
    from archcheck.evidence.trace import Trace

RESHAPES = frozenset("view reshape flatten unflatten view_as reshape_as".split())
_PERMUTES = frozenset("permute transpose t T mT movedim swapaxes".split())
_REDUCES = frozenset("mean sum amax amin max min argmax norm std var".split())


def batch_axes(trace: Trace) -> Mapping[int, int]:
    """The dimension that counts the samples, of each value that still has it.

    All inputs must agree on the size of the batch, and have more than one sample; a value whose
    dimension cannot be followed is left out.
    """
    given = [v for v in trace.values if v.kind == "input" and v.shape]
    sizes = {value.shape[0] for value in given}
    if len(sizes) != 1 or (size := sizes.pop()) < 2:
        return {}
    axes = {value.index: 0 for value in given}
    for op in trace.ops:
        fed = next((index for index in op.inputs if index in axes), None)
        if fed is None:
            continue
        for made in op.outputs:
            axis = _carried(trace, op, fed, made, axes[fed])
            shape = trace.shape(made)
            if axis is not None and axis < len(shape) and shape[axis] == size:
                axes[made] = axis
    return axes


def _carried(trace: Trace, op: Op, fed: int, made: int, axis: int) -> int | None:
    before, after = trace.shape(fed), trace.shape(made)
    if op.name in RESHAPES:
        # The same number of elements before the batch, and the same number after it.
        starts = [1, *prefix_products(after)]
        wanted = prod(before[:axis])
        return next(
            (
                place
                for place, start in enumerate(starts[:-1])
                if start == wanted and after[place] == before[axis]
            ),
            None,
        )
    if op.name in _PERMUTES:
        return _permuted(op, len(before), axis)
    if op.name in ("unsqueeze", "squeeze", "getitem", "select", "stack", "unbind"):
        return axis if axis == 0 and after[:1] == before[:1] and op.name != "unsqueeze" else None
    if op.name in _REDUCES and len(after) < len(before):
        return axis if axis == 0 and after[:1] == before[:1] else None
    if len(after) == len(before):
        return axis
    return axis if axis == 0 and after[:1] == before[:1] else None


def _permuted(op: Op, rank: int, axis: int) -> int | None:
    arguments = op.arguments
    if op.name == "permute":
        dims = arguments.get("dims")
        if isinstance(dims, list | tuple) and all(isinstance(dim, int) for dim in dims):
            order = [dim % rank for dim in dims]
            return order.index(axis) if axis in order else None
        return None
    one, two = arguments.get("dim0"), arguments.get("dim1")
    if op.name in ("t", "T") and rank == 2:
        one, two = 0, 1
    if op.name == "mT":
        one, two = rank - 2, rank - 1
    if not isinstance(one, int) or not isinstance(two, int):
        return None
    swapped = {one % rank: two % rank, two % rank: one % rank}
    return swapped.get(axis, axis)


def mixed(before: Shape, after: Shape, axis: int) -> str | None:
    """Why rows of a reshape's result hold elements of several samples; None if they do not."""
    batch, lead = before[axis], prod(before[:axis])
    sizes = after
    while sizes[:1] == (1,):
        sizes = sizes[1:]
    if len(sizes) < 2:
        return None
    if axis == 0:
        if any(total % batch == 0 for total in list(prefix_products(sizes))[:-1]):
            return None
        return f"its rows run across the {batch} samples"
    # The batch stands behind other dimensions: one that takes its size, but not its place.
    if lead in (1, batch) or after[0] != batch:
        return None
    starts = [1, *prefix_products(after)]
    if lead in starts and after[starts.index(lead) :][:1] == (batch,):
        return None
    return f"the batch is dimension {axis} here, and the result takes dimension 0 for it"


def cut_up(trace: Trace, op: Op, batch: int) -> str | None:
    """Why a reshape has cut samples into pieces that pass for samples; None if it has not.

    Certain only where the pieces do not end where a dimension does, go into a linear layer, and
    come out of the model.
    """
    before, after = trace.shape(op.inputs[0]), trace.shape(op.outputs[0])
    if len(after) != 2 or len(before) < 3 or after[0] % batch or after[0] == batch:
        return None
    if any(prod(before[start:]) == after[1] for start in range(len(before) + 1)):
        return None
    returned = {shape[0] for index in trace.dataflow.outputs if (shape := trace.shape(index))}
    if after[0] not in returned or batch in returned:
        return None
    users = [trace.ops[user] for index in op.outputs for user in trace.values[index].users]
    if not any(user.name in ("linear", "dropout", "relu", "batch_norm") for user in users):
        return None
    return f"each of the {batch} samples falls into {after[0] // batch} rows"


def misled(trace: Trace, op: Op) -> Iterator[Location]:
    """Where linear layers reject what a reshape gives, and would take a whole sample of what it
    got: the width is right, and the reshape is wrong."""
    features = prod(trace.shape(op.inputs[0])[1:])
    for index in op.outputs:
        for user in (trace.ops[user] for user in trace.values[index].users):
            if user.name != "linear" or user.failure is None or user.location is None:
                continue
            if trace.shape(user.inputs[1])[-1] == features:
                yield user.location
