"""What autograd saves for the backward pass: which ops keep their input, which their output.

A tensor that is written in place after it was saved raises in `backward`: "one of the variables
needed for gradient computation has been modified by an inplace operation". The tables hold what
torch 2.13 does; `tests/rules/test_rules_wiring.py` tries each of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from archcheck.evidence.records import Op
    from archcheck.evidence.trace import Trace
    from archcheck.python import Flow, Step

SAVES_OUTPUT: Final = frozenset(
    "relu sigmoid tanh exp expm1 softmax log_softmax softmin sqrt rsqrt reciprocal cumprod prod "
    "amax norm".split()
)
SAVES_INPUT: Final = frozenset(
    "gelu silu leaky_relu elu selu celu softplus hardtanh relu6 hardswish hardsigmoid mish "
    "logsigmoid softsign hardshrink log log2 log1p sin cos atan erf abs square clamp max_pool1d "
    "max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d layer_norm batch_norm group_norm "
    "instance_norm glu prelu normalize".split()
)
# Those that keep their input for the sake of their weight.
WEIGHTED: Final = frozenset("linear conv1d conv2d conv3d".split())


def saved_before(trace: Trace, write: Op) -> Iterator[Op]:
    """The earlier ops whose backward needs a tensor as it was before this op wrote into it."""
    flow, values = trace.dataflow, trace.values
    storage = values[write.inputs[0]].storage
    for op in trace.ops[: write.index]:
        if not op.grad_enabled or flow.reached_by_gradient.isdisjoint(op.outputs):
            continue
        if any(values[index].storage == storage for index in _saved(trace, op)):
            yield op


def _saved(trace: Trace, op: Op) -> tuple[int, ...]:
    carrying = trace.dataflow.carrying
    if op.name in SAVES_OUTPUT and op.outputs and op.inputs and op.inputs[0] in carrying:
        return op.outputs[:1]
    if op.in_place or not op.inputs:
        return ()
    if op.name in WEIGHTED and len(op.inputs) > 1 and op.inputs[1] in carrying:
        return op.inputs[:1]
    return op.inputs[:1] if op.name in SAVES_INPUT and op.inputs[0] in carrying else ()


def saved_before_step(flow: Flow, write: Step) -> Step | None:
    """The same, read from the source: the earlier step whose backward needs what a step writes
    into, where weights come before it."""
    kept = write.inputs[0]
    if kept.operation in SAVES_OUTPUT and kept.kind != "input":
        return kept if _has_weights_before(kept) else None
    for step in flow.steps:
        if step is write:
            break
        data = step.inputs[0] if step.inputs else None
        if data is kept and not step.in_place:
            weighs = step.layer is not None and step.operation in WEIGHTED
            if weighs or (step.operation in SAVES_INPUT and _has_weights_before(kept)):
                return step
    return None


def _has_weights_before(step: Step) -> bool:
    """Whether a gradient certainly goes back from a value: to a weight that nothing cuts it off."""
    before = [step, *step.before()]
    if any(one.operation in ("detach", "argmax") or one.name == "data" for one in before):
        return False
    return any(one.kind == "layer" and one.operation in WEIGHTED for one in before)
