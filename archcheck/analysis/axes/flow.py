"""Which input dimensions each dimension of each value of a pass holds.

Get it as `trace.analysed(AxisFlow)`, which makes it once. Ops are followed in their order; what an
op makes of its inputs' axes is told by the rules of `moves` and `mixes`. Where no rule tells, a
value has no axes, and nobody says anything about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from archcheck.analysis.axes.mixes import MIXES
from archcheck.analysis.axes.moves import MOVES, unknown_op
from archcheck.analysis.axes.parts import Axes, size_of
from archcheck.analysis.axes.step import AxisState, Step, Unfollowed

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace


class AxisFlow(AxisState):
    """What the dimensions of a trace's values hold, every op followed."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace)
        self._follow()

    def _follow(self) -> None:
        for op in self.trace.ops:
            if not op.outputs:
                continue
            rule = MOVES.get(op.name) or MIXES.get(op.name) or unknown_op
            made: Sequence[Axes | None] = ()
            if op.failure is None:
                try:
                    made = rule(Step(self, op))
                except (Unfollowed, LookupError, TypeError, ValueError):
                    made = ()
            for place, index in enumerate(op.outputs):
                axes = made[place] if place < len(made) else None
                shape = self.trace.values[index].shape
                fits = axes is not None and tuple(map(size_of, axes)) == shape
                self._axes[index] = axes if fits else None
