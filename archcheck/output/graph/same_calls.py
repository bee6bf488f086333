"""Whether two module calls ran the same, value by value, so that one drawing serves both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from archcheck.evidence.records import ValueIndex
from archcheck.output.graph.captions import operator_settings

if TYPE_CHECKING:
    from archcheck.evidence.records import ModuleCall, Op
    from archcheck.evidence.trace import Trace


class Likeness:
    """Finds for a call an earlier one that it repeats.

    Args:
        inside: What a drawing of a call's inside says besides what ran: only calls that are equal
            in it are compared.
        said: What a drawing says of a call itself.
        flow: The values that go into a call, and those that come out of it.
    """

    def __init__(
        self,
        trace: Trace,
        inside: Callable[[ModuleCall], object],
        said: Callable[[ModuleCall], object],
        flow: Callable[[ModuleCall], Sequence[int]],
    ) -> None:
        self._trace, self._inside, self._said, self._flow = trace, inside, said, flow
        self._latest: dict[object, ModuleCall] = {}

    def original(self, call: ModuleCall) -> ModuleCall:
        """The call that this one repeats, or itself."""
        sort = (self._inside(call), call.end_op - call.first_op)
        earlier = self._latest.get(sort)
        if earlier is not None and _Matching(self._trace, self._flow).repeats(
            (earlier, *self._below(earlier)), (call, *self._below(call)), self._said
        ):
            return earlier
        self._latest[sort] = call
        return call

    def _below(self, call: ModuleCall) -> Sequence[ModuleCall]:
        """The calls in a call, in the order in which they began: they follow it directly."""
        calls = self._trace.calls
        inside = {call.index}
        end = call.index + 1
        while end < len(calls) and calls[end].parent in inside:
            inside.add(end)
            end += 1
        return calls[call.index + 1 : end]


class _Matching:
    """One comparison: which value of the one call stands for which of the other."""

    def __init__(self, trace: Trace, flow: Callable[[ModuleCall], Sequence[int]]) -> None:
        self._trace, self._flow = trace, flow
        self._there: dict[int, int] = {}
        self._back: dict[int, int] = {}

    def repeats(
        self,
        ones: Sequence[ModuleCall],
        others: Sequence[ModuleCall],
        said: Callable[[ModuleCall], object],
    ) -> bool:
        """Whether two calls, each with those below it, ran the same."""
        first, second = ones[0], others[0]
        shift = second.first_op - first.first_op
        ops = self._trace.ops
        return (
            len(ones) == len(others)
            and all(
                one.first_op + shift == other.first_op
                and one.end_op + shift == other.end_op
                and one.path.removeprefix(first.path) == other.path.removeprefix(second.path)
                and (one is first or said(one) == said(other))
                and tuple(one.inputs) == tuple(other.inputs)
                and self._match(self._flow(one), self._flow(other))
                for one, other in zip(ones, others, strict=True)
            )
            and all(
                self._same_op(one, other)
                for one, other in zip(
                    ops[first.first_op : first.end_op],
                    ops[second.first_op : second.end_op],
                    strict=True,
                )
            )
        )

    def _same_op(self, one: Op, other: Op) -> bool:
        return (
            one.failure is None
            and other.failure is None
            and one.function == other.function
            and one.location == other.location
            and one.macs == other.macs
            and self._match(one.inputs, other.inputs)
            and self._match(one.outputs, other.outputs)
            and _same_settings(one, other)
        )

    def _match(self, ones: Sequence[int], others: Sequence[int]) -> bool:
        values = self._trace.values
        return len(ones) == len(others) and all(
            self._there.setdefault(one, other) == other
            and self._back.setdefault(other, one) == one
            and values[one].shape == values[other].shape
            and values[one].kind == values[other].kind
            for one, other in zip(ones, others, strict=True)
        )


def _same_settings(one: Op, other: Op) -> bool:
    """Whether all but the tensors among the arguments are equal, as far as a caption has them."""
    given, there = one.arguments, other.arguments
    if len(given) == len(there) and all(
        value == there.get(name) or isinstance(value, ValueIndex) for name, value in given.items()
    ):
        return True
    return operator_settings(one) == operator_settings(other)
