"""A softmax over a dimension of size 1.

What it does
------------
Looks for a softmax over the one feature of an `nn.Linear(…, 1)`, over the one channel of a
convolution, or over the one entry that `topk(1)`, a maximum or a slice of one left.

Why it is bad
-------------
The softmax of a single number is 1, whatever the number: the output is constant and no gradient
flows back. A single logit wants a sigmoid; weights over positions want the softmax over the
positions.

Example
-------
    model = nn.Sequential(nn.Linear(32, 1), nn.Softmax(dim=-1))

Use instead
-----------
    model = nn.Sequential(nn.Linear(32, 1), nn.Sigmoid())
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.dataflow.final_op_in_source import FinalOp, applied
from archcheck.analysis.dataflow.final_op_in_trace import before, resolved_dim, written_at
from archcheck.analysis.shapes.arithmetic import text
from archcheck.core.finding import Finding, Location, Related, Severity
from archcheck.core.rule import Rule
from archcheck.evidence.dataflow import AFFINE
from archcheck.python import SourceFile

from ._one_entry import leaves_one_entry

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

_RESHAPING = frozenset(
    "squeeze unsqueeze view reshape flatten unflatten permute transpose movedim t repeat "
    "expand".split()
)
rule = Rule("AC408", "softmax-over-one", Severity.ERROR)


@rule.on_source
def over_one_feature(file: SourceFile) -> Iterator[Finding]:
    for softmax, given in applied(file, "softmax", "log_softmax"):
        dim = softmax.argument("dim", 1)
        if given and all(_width(one, dim) == 1 for one in given) and not _is_reshaped(softmax):
            yield _finding(softmax.location, "", given[0].location)


def _is_reshaped(softmax: FinalOp) -> bool:
    """Whether the dimension of size 1 may be squeezed, viewed or indexed away on the way."""
    step = softmax.link.step if softmax.link is not None else None
    while step is not None and (step := step.source) is not None and step.kind != "layer":
        if step.operation in _RESHAPING or step.kind == "item":
            return True
    return False


def _width(ending: FinalOp, dim: object) -> object:
    """How many numbers a layer gives along a dimension, where its constructor says that."""
    layer = ending.link.layer if ending.link is not None else None
    if layer is not None and ending.operation == "linear" and dim == -1:
        return layer.argument("out_features")
    if layer is not None and ending.operation in ("conv2d", "conv3d") and dim in (1, -3):
        return layer.argument("out_channels") if dim == 1 else None
    return None


@rule.on_trace
def over_a_single_entry(trace: Trace) -> Iterator[Finding]:
    for op in trace.ops:
        if op.name not in ("softmax", "log_softmax") or not op.inputs:
            continue
        along = resolved_dim(trace, op)
        chosen = leaves_one_entry(trace, op.inputs[0], along) if along is not None else None
        if chosen is not None:
            at = written_at(trace, op)
            if at is not None:
                fed = trace.shape(op.inputs[0])
                yield _finding(at, f" of {text(fed)}", chosen.location, "leaves one entry")
            continue
        source = before(trace, op)
        if source is None or source.name not in AFFINE:
            continue
        made, fed = trace.shape(source.outputs[0]), trace.shape(op.inputs[0])
        dim, width = along, -1 if source.name in ("linear", "bilinear") else 1
        at, other = written_at(trace, op), written_at(trace, source)
        # The size must be the layer's own, not that of a short sequence or a small image.
        if made == fed and dim == width % len(fed) and fed[dim] == 1 and at is not None:
            yield _finding(at, f" of {text(fed)}", other)


def _finding(
    at: Location, of: str, source: Location | None, gives: str = "gives one number"
) -> Finding:
    return Finding(
        f"a softmax over a dimension of size 1{of} is 1 everywhere",
        at,
        label="constant",
        related=(Related(source, gives),) if source not in (None, at) else (),
        help="torch.sigmoid for a single logit; for weights, the dimension that they weigh",
        covers=(("AC401", at),),
    )
