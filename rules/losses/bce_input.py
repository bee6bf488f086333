"""A binary cross entropy is fed the wrong one of scores and probabilities.

What it does
------------
Follows what `nn.BCEWithLogitsLoss` and `nn.BCELoss` (or their functions) are given back to the
operation that it comes out of: a sigmoid before the first, raw scores into the second. `--loss bce`
and `--loss bce_with_logits` say which of them a traced model is trained with.

Why it is bad
-------------
BCEWithLogitsLoss applies the sigmoid itself: fed with probabilities, it sees values between 0.5 and
0.73 and cannot push them further. BCELoss stops on the first score outside of 0 to 1, "all elements
of input should be between 0 and 1", and learns nonsense until one comes.

Example
-------
    probability = torch.sigmoid(self.head(x))
    loss = F.binary_cross_entropy_with_logits(probability, y)

Use instead
-----------
    score = self.head(x)
    loss = F.binary_cross_entropy_with_logits(score, y)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.dataflow.final_op_in_source import AFFINE, endings, surely
from archcheck.analysis.dataflow.final_op_in_trace import only_outcome, written_at
from archcheck.core.finding import Edit, Finding, Fix, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project, SourceFile

from ._rewrite_ops import renamed, without, without_op

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC405", "bce-input", Severity.ERROR, fix="safe")

WITH_LOGITS, PLAIN = "binary_cross_entropy_with_logits", "binary_cross_entropy"
SCORES = (*sorted(AFFINE), "batch_norm", "layer_norm", "tanh", "leaky_relu", "log_softmax")
GETS_PROBABILITIES = "BCEWithLogitsLoss takes scores, and gets probabilities"
GETS_SCORES = "BCELoss takes probabilities, and gets scores"


@rule.on_source
def into_the_wrong_loss(file: SourceFile) -> Iterator[Finding]:
    for loss in file.losses:
        if loss.prediction is None or loss.loss not in (WITH_LOGITS, PLAIN):
            continue
        given = endings(loss.prediction)
        edits: tuple[Edit, ...] = ()
        if loss.loss == WITH_LOGITS and surely(given, "sigmoid"):
            message, help = GETS_PROBABILITIES, "give it the scores: leave the sigmoid out"
            for ending in given:
                edits += without(ending.file, ending.node)
        elif loss.loss == PLAIN and surely(given, *SCORES):
            message, help = GETS_SCORES, "BCEWithLogitsLoss takes scores, and is stable"
            edits = renamed(file, loss.call.node, PLAIN, WITH_LOGITS)
        else:
            continue
        places = [one.location for one in given if one.location != loss.location]
        yield Finding(
            message,
            loss.location,
            label=message.rpartition("and ")[2],
            related=tuple(Related(place, "comes out of here") for place in places),
            help=help,
            fix=Fix("safe", edits) if edits else None,
        )


@rule.on_trace
def returned_to_the_wrong_loss(trace: Trace, project: Project) -> Iterator[Finding]:
    op = only_outcome(trace)
    at = written_at(trace, op) if op is not None else None
    if op is None or at is None:
        return
    if trace.request.loss == "bce_with_logits" and op.name == "sigmoid":
        edits = without_op(trace, project, op)
        yield Finding(
            GETS_PROBABILITIES, at, label="a sigmoid", help="return the scores",
            fix=Fix("safe", edits) if edits else None,
        )  # fmt: skip
    elif trace.request.loss == "bce" and op.name in SCORES:
        yield Finding(GETS_SCORES, at, label="scores", help="use BCEWithLogitsLoss")
