"""In eval mode one sample's output depends on another sample.

What it does
------------
Runs the model in eval mode on a few random samples, changes one of them, and looks whose outputs
change. Where others do, it names the operator in which samples first meet. A model whose two equal
calls differ is random by design, and is left out; so are outputs that score each sample against
each, and inputs of which nothing says that the first dimension is the batch.

Why it is bad
-------------
What the model says of a sample depends on what happens to stand beside it: scores cannot be
reproduced one by one, and a test set leaks into its own predictions.

Example
-------
    attention = nn.MultiheadAttention(64, 4)  # takes (time, batch, 64)
    y, _ = attention(x, x, x)                 # x: (batch, time, 64)

Use instead
-----------
    attention = nn.MultiheadAttention(64, 4, batch_first=True)
    y, _ = attention(x, x, x)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from archcheck.analysis.axes.batch import Batch, Reason
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

from ._places import place_of, place_of_op, spans_around, written

if TYPE_CHECKING:
    from archcheck.evidence.probe import BatchLeak
    from archcheck.evidence.trace import Trace

rule = Rule("AC704", "batch-leak", Severity.ERROR)

# Layers that are made to look at the batch as a whole.
_ON_PURPOSE: Final = re.compile(
    r"(?i)minibatch|mini_batch|mb_?std|batch_?std|std_?dev|contrast|capacity|queue|cross_?sample"
)


@rule.on_probe
def samples_meet(trace: Trace, project: Project) -> Iterator[Finding]:
    leak = trace.probe.batch_leak if trace.probe is not None else None
    reason = _reason(trace, project) if leak is not None else None
    if leak is None or reason is None or _is_on_purpose(trace, leak):
        return
    op = leak.op
    at = place_of_op(trace, project, op) if op is not None else place_of(trace, project, "")
    where = f"`{written(project, op)}`" if op is not None else "the model"
    others = f"sample{'s' * (len(leak.others) > 1)} {' and '.join(map(str, leak.others))}"
    yield Finding(
        f"{where} mixes the samples of the batch: in eval mode, another sample {leak.sample} "
        f"changes the output of {others}",
        at,
        label="samples first meet here",
        module=(op.module or None) if op is not None else None,
        notes=(
            f"by up to {leak.change:.0%} of the greatest output, for a batch of {leak.samples}",
            f"dimension 0 is the batch: {reason.text}",
        ),
        help=_help(leak),
        # What the shapes alone let one conclude of the same place.
        covers=tuple(
            (code, span)
            for span in (spans_around(trace, op) if op is not None else ())
            for code in ("AC219", "AC403")
        ),
    )


def _reason(trace: Trace, project: Project) -> Reason | None:
    """Why the first dimension of the inputs is the batch; None where nothing says so."""
    batch = Batch(trace, project)
    inputs = [value for value in trace.values if value.kind == "input" and value.shape]
    reasons = [batch.reason((value.index, 0)) for value in inputs]
    if not all(batch.is_batch((value.index, 0)) for value in inputs):
        return None
    return next((reason for reason in reasons if reason is not None), None)


def _is_on_purpose(trace: Trace, leak: BatchLeak) -> bool:
    op = leak.op
    if op is None:
        return False
    module = trace.module(op.module)
    names = f"{op.module} {module.type if module is not None else ''}"
    return _ON_PURPOSE.search(names) is not None


def _help(leak: BatchLeak) -> str:
    if leak.op is not None and leak.op.name in ("batch_norm", "instance_norm"):
        return "keep running statistics (track_running_stats=True), or normalise each sample"
    return "let it run over another dimension than the first: batch_first=True, dim=1, a transpose"
