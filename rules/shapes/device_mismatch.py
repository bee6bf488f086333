"""A tensor that `forward` creates stays on the CPU when the model moves.

What it does
------------
Looks for tensors made in the forward pass without a device (`torch.zeros(…)`, `torch.arange(…)`)
that meet parameters, inputs or what was computed from them, and are moved nowhere before. Single
numbers, and indices in square brackets, work on every device, and are left alone.

Why it is bad
-------------
On the CPU nothing is wrong. On a GPU the forward pass stops with "Expected all tensors to be on
the same device".

Example
-------
    class Positions(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(128, 64)

        def forward(self, x):
            return x + self.embed(torch.arange(x.shape[1]))

Use instead
-----------
    return x + self.embed(torch.arange(x.shape[1], device=x.device))
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.shapes.failures import ShapeError, shortened
from archcheck.core.finding import Finding, Related, Severity
from archcheck.core.rule import Rule
from archcheck.evidence.dataflow import JOINS
from archcheck.python import Project

if TYPE_CHECKING:
    from archcheck.evidence.records import Op, Value
    from archcheck.evidence.trace import Trace

rule = Rule("AC216", "device-mismatch", Severity.ERROR)

# Ops that want all their tensors on one device; copies and assignments bring them there.
MEETINGS = (JOINS - {"setitem", "copy", "index_put"}) | frozenset(
    "eq ne lt le gt ge linear embedding conv1d conv2d conv3d index_select gather lstm gru rnn_tanh "
    "rnn_relu mse_loss l1_loss cross_entropy floor_divide stft istft nll_loss huber_loss kl_div "
    "smooth_l1_loss binary_cross_entropy binary_cross_entropy_with_logits grid_sample cdist "
    "batch_norm layer_norm group_norm instance_norm lstm_cell gru_cell isin searchsorted bucketize "
    "index_fill take_along_dim take embedding_bag conv_transpose1d conv_transpose2d "
    "conv_transpose3d bitwise_xor dist cosine_similarity".split()
)


@rule.on_trace
def made_without_a_device(trace: Trace, project: Project) -> Iterator[Finding]:
    seen: set[int] = set()
    for op in trace.ops:
        if op.name not in MEETINGS or op.location is None:
            continue
        values = [trace.values[index] for index in op.inputs]
        if not any(value.device != "cpu" for value in values):
            continue
        for value in values:
            maker = _maker(trace, value) if value.device == "cpu" and value.shape else None
            if maker is None or maker.location is None or maker.index in seen:
                continue
            seen.add(maker.index)
            fault = ShapeError.of(trace, project, maker)
            written = fault.text(maker.location)
            yield Finding(
                f"`{shortened(written) or maker.name}` stays on the CPU when the model moves",
                maker.location,
                label="made without a device",
                module=fault.module_path,
                related=(Related(op.location, "meets a tensor that moves with the model"),)
                if op.location != maker.location
                else (),
                help=_help(trace, written),
            )


def _maker(trace: Trace, value: Value) -> Op | None:
    """The op that made a tensor out of nothing; None if it came from outside forward."""
    while (op := trace.dataflow.producer(value.index)) is not None:
        if not op.inputs:
            return op
        value = trace.values[op.inputs[0]]
    return None


def _help(trace: Trace, written: str) -> str:
    given = next((one.name for one in trace.inputs), "x")
    device = f"device={given}.device"
    return f"{written[:-1]}, {device})" if written.endswith(")") and len(written) < 60 else device
