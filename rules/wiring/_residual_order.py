"""Where a residual block activates: before its sum, or after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from archcheck.analysis.dataflow.final_op_in_source import AFFINE as AFFINE_LAYERS
from archcheck.evidence.dataflow import AFFINE, MOVES, indices

if TYPE_CHECKING:
    from archcheck.evidence.records import Op
    from archcheck.evidence.trace import Trace
    from archcheck.python import Flow, Step

ACTIVATIONS: Final = frozenset(
    "relu relu6 leaky_relu prelu elu selu celu gelu silu mish hardswish softplus".split()
)
_THROUGH: Final = MOVES | frozenset("dropout dropout2d".split())


def sums_after_activation(trace: Trace) -> Iterator[tuple[Op, Op]]:
    """The sums that end a module call with a skip whose other operand was activated, with that
    activation; left out where what comes next activates the sum."""
    flow = trace.dataflow
    for call in trace.calls:
        outputs = {flow.origin(value) for value in indices(call.outputs)}
        for op in flow.joins(call):
            if op.name != "add" or op.call != call.index or outputs.isdisjoint(op.outputs):
                continue
            users = [trace.ops[i] for value in op.outputs for i in trace.values[value].users]
            if any(user.name in ACTIVATIONS for user in users):
                continue
            last = [flow.last_nonlinear(value, _THROUGH) for value in op.inputs]
            active = [
                one
                for one in last
                if one is not None
                and one.name in ACTIVATIONS
                and call.first_op <= one.index < call.end_op
                and any(step.name in AFFINE for step in trace.ops[call.first_op : one.index])
            ]
            if len(active) == 1 and flow.reaches(
                indices(call.inputs), active[0].outputs, flow.ops_of(call)
            ):
                yield op, active[0]


def activated_before_sum(flow: Flow) -> Iterator[tuple[Step, Step]]:
    """The same in the source: a returned sum of an activation and of something else."""
    own = flow.derived
    for step, _ in flow.returns:
        if step.operation not in ("+", "add") or len(step.inputs) != 2 or step.kind == "merge":
            continue
        first, second = step.inputs
        for active, other in ((first, second), (second, first)):
            weighed = any(earlier.operation in AFFINE_LAYERS for earlier in active.before())
            if active.operation in ACTIVATIONS and weighed and other in own:
                idle = other.operation not in ACTIVATIONS
                if idle and other.kind in ("input", "layer"):
                    yield step, active
