"""Reshapes that give a dimension the size of another one, and not its places.

`x.view(time, batch, features)` of a `[batch, time, features]`: the sizes are there, in another
order, and every row holds pieces of several others. Numbers may be equal by chance, so what they
show is only supposed; the symbolic sizes of the trace tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from archcheck.analysis.axes.flow import AxisFlow
from archcheck.analysis.axes.parts import Axis, roots_of, wide
from archcheck.analysis.axes.step import Reshape, Root
from archcheck.evidence.records import Op, SizeRead
from archcheck.evidence.sizes import Size

if TYPE_CHECKING:
    from archcheck.core.target import Shape
    from archcheck.evidence.trace import Trace

# A number, which may be any of its like; a function of the input's sizes; None where not told.
_Dims: TypeAlias = "Sequence[int | Size | None]"

# The relative shift of attention scores: a column is added, and the rows are read anew.
_SHIFTS = frozenset("cat pad constant_pad_nd new_zeros zeros setitem".split())
_SLICES = frozenset("getitem narrow index_select".split())


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A dimension of a reshape's result that does not hold what its size says.

    Attributes:
        dim: The dimension of the result.
        meant: What it would hold: the places of the source that its size counts.
        held: What it holds, None where it begins or ends within a place.
        source: The dimension of the source that it has the size of.
    """

    op: Op
    dim: int
    meant: Axis
    held: Axis | None
    source: int

    @property
    def roots(self) -> frozenset[Root]:
        """The input dimensions that come apart."""
        return roots_of(self.meant) | roots_of(self.held or ())


def why(misplaced: Misplaced, after: Shape) -> str:
    """What is wrong with it, as a half sentence."""
    size = after[misplaced.dim]
    if misplaced.source == misplaced.dim:
        return f"dimension {misplaced.dim} has {size} places, which hold pieces of several"
    return (
        f"dimension {misplaced.dim} takes the size of dimension {misplaced.source}, and its "
        f"{size} places hold pieces of several"
    )


def remedy(misplaced: Misplaced, name: str) -> str:
    """What to write instead: a reshape joins and parts neighbours, and moves nothing."""
    if misplaced.source == misplaced.dim:
        return "move the parts that belong together side by side first: view, transpose, reshape"
    return (
        f"a reshape moves nothing: {name}.transpose({misplaced.dim}, {misplaced.source}) first, "
        "then reshape"
    )


def misplaced(trace: Trace) -> Iterator[Misplaced]:
    """The first such dimension of each reshape."""
    flow = trace.analysed(AxisFlow)
    for reshape in flow.reshapes:
        op = trace.ops[reshape.op]
        before, after = _sizes(trace, op.inputs[0]), _sizes(trace, op.outputs[0])
        if _is_shift(trace, op, before, after):
            continue
        found = next(_wrong(flow, op, reshape, before, after), None)
        if found is not None:
            yield found


def _sizes(trace: Trace, value: int) -> _Dims:
    """The sizes that may be told from others: all numbers, where there are no symbols."""
    shape = trace.shape(value)
    if trace.symbolic is None:
        return shape
    known = trace.symbolic.shapes.get(value, (None,) * len(shape))
    return [None if size is None or size.constant is not None else size for size in known]


def _wrong(
    flow: AxisFlow, op: Op, reshape: Reshape, before: _Dims, after: _Dims
) -> Iterator[Misplaced]:
    shape = flow.trace.shape(op.outputs[0])
    literal = set() if flow.trace.symbolic is not None else _literal(op, len(shape))
    for dim, size in enumerate(after):
        held = wide(reshape.result[dim]) if dim < len(reshape.result) else None
        options = [
            (place, wide(axis))
            for place, (axis, other) in enumerate(zip(reshape.source, before, strict=True))
            if size is not None and other == size and dim not in literal
        ]
        counting = [(place, meant) for place, meant in options if roots_of(meant)]
        if counting and shape[dim] > 1 and all(meant != held for _, meant in options):
            place, meant = counting[0]
            yield Misplaced(op, dim, meant, held, place)
        if held is None:
            return


def _literal(op: Op, rank: int) -> set[int]:
    """The dimensions whose sizes the code gives as numbers, which count nothing that varies."""
    given = [a for a in op.arguments.values() if isinstance(a, list | tuple) and len(a) == rank]
    return {
        dim
        for sizes in given
        for dim, size in enumerate(sizes)
        if isinstance(size, int) and not isinstance(size, SizeRead) and size >= 0
    }


def _is_shift(trace: Trace, op: Op, before: _Dims, after: _Dims) -> bool:
    """Whether two dimensions change places beside a padding, or a slice that drops one place."""
    if sorted(map(_key, before)) != sorted(map(_key, after)):
        return False
    producer = trace.dataflow.producer(op.inputs[0])
    users = [trace.ops[user].name for user in trace.values[op.outputs[0]].users]
    return not _SLICES.isdisjoint(users) or (
        producer is not None and producer.name in _SHIFTS | _SLICES
    )


def _key(size: int | Size | None) -> str:
    return size.key if isinstance(size, Size) else str(size)
