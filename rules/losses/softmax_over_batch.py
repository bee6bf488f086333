"""A softmax that normalises across the samples of the batch.

What it does
------------
Looks for a softmax over the dimension that counts the samples, where nothing else can be meant:
the result is what the model returns, or what comes in was made by convolutions or batched matrix
products. Weights for a sum over a set are left alone.

Why it is bad
-------------
The probabilities of one sample do not add up to one, and depend on which other samples are in the
batch. In a batch of one everything is 1.

Example
-------
    class Net(nn.Module):
        def forward(self, x):
            return nn.functional.softmax(self.classifier(x), dim=0)

Use instead
-----------
    class Net(nn.Module):
        def forward(self, x):
            return nn.functional.softmax(self.classifier(x), dim=1)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from archcheck.analysis.dataflow.final_op_in_trace import (
    is_returned,
    resolved_dim,
    softmax_call,
    with_dim,
    written_at,
)
from archcheck.analysis.shapes.arithmetic import text
from archcheck.analysis.shapes.batch_axis import batch_axes
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.evidence.dataflow import MOVES
from archcheck.python import Project

if TYPE_CHECKING:
    from archcheck.evidence.records import Op
    from archcheck.evidence.trace import Trace

rule = Rule("AC403", "softmax-over-batch", Severity.ERROR, fix="safe")

# Ops whose leading dimension is always that of the batch, and what may follow them.
BATCHED = frozenset("conv1d conv2d conv3d conv_transpose2d batch_norm bmm baddbmm matmul".split())
BETWEEN = MOVES | frozenset("div mul masked_fill relu leaky_relu tanh dropout".split())


@rule.on_trace
def across_the_samples(trace: Trace, project: Project) -> Iterator[Finding]:
    softmaxes = [op for op in trace.ops if op.name in ("softmax", "log_softmax") and op.inputs]
    axes = batch_axes(trace) if softmaxes else {}
    for op in softmaxes:
        shape, dim = trace.shape(op.inputs[0]), resolved_dim(trace, op)
        at = written_at(trace, op)
        if at is None or dim is None or axes.get(op.inputs[0]) != dim:
            continue
        answers = is_returned(trace, op) and max(shape[1:], default=1) > 1
        if not answers and not _is_batched(trace, op):
            continue
        right = -1 if len(shape) < 4 else 1
        call = softmax_call(trace, project, op)
        fix = with_dim(*call, right) if call is not None else None
        places = dict.fromkeys((at, *((call[0].location(call[1]),) if call else ())))
        yield Finding(
            f"the softmax over dimension {dim} of {text(shape)} normalises across the "
            f"{shape[dim]} samples of the batch",
            at,
            label="mixes the samples",
            help=f"dim={right} normalises over the classes of each sample",
            # A softmax over the samples gives no probabilities that other rules could ask about.
            fix=replace(fix, reveals=True) if fix is not None else None,
            covers=tuple(("AC402", place) for place in places),
        )


def _is_batched(trace: Trace, op: Op) -> bool:
    source = trace.dataflow.last_nonlinear(op.inputs[0], BETWEEN)
    return source is not None and source.name in BATCHED and len(trace.shape(op.inputs[0])) > 2
