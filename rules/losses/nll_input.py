"""A loss on log-probabilities is fed something else, or the other way round.

What it does
------------
Follows what `nn.NLLLoss` and `nn.CTCLoss` (or their functions) are given back to the operation that
it comes out of, and reports scores, probabilities and activations: anything but a logarithm.
Likewise log-probabilities that go into `nn.CrossEntropyLoss`, which takes their log-softmax again.
`--loss nll` says that a traced model is trained so.

Why it is bad
-------------
NLLLoss computes no logarithm: it returns the negative of the number that it finds at the label. Fed
with scores, it falls without bound while the model learns nothing useful; fed with probabilities,
its gradients fade where they are needed most. The log-softmax of log-probabilities changes nothing
and costs a pass, and whoever reads the code cannot tell which of the two is meant.

Example
-------
    scores = model(images)
    loss = F.nll_loss(scores, labels)

Use instead
-----------
    scores = model(images)
    loss = F.cross_entropy(scores, labels)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.dataflow.final_op_in_source import AFFINE, FinalOp, endings, surely
from archcheck.analysis.dataflow.final_op_in_trace import only_outcome, written_at
from archcheck.core.finding import Edit, Finding, Fix, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import LossCall, Project, SourceFile

from ._rewrite_ops import renamed, renamed_at, without, without_op

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC404", "nll-input", Severity.ERROR, fix="safe")

# What comes out of these is no logarithm.
SCORES = (*sorted(AFFINE), "batch_norm", "layer_norm", "relu", "leaky_relu", "gelu", "tanh")
PROBABILITIES = ("softmax", "sigmoid", "softplus")
LOGARITHMS = {"nll_loss": "NLLLoss", "ctc_loss": "CTCLoss"}
KINDS = dict.fromkeys(SCORES, "scores") | dict.fromkeys(PROBABILITIES, "probabilities")


@rule.on_source
def into_the_wrong_loss(file: SourceFile) -> Iterator[Finding]:
    for loss in file.losses:
        if loss.prediction is None or loss.loss not in (*LOGARITHMS, "cross_entropy"):
            continue
        given = endings(loss.prediction)
        if loss.loss in LOGARITHMS and surely(given, *KINDS):
            yield from _finding(loss, given, KINDS[given[0].operation])
        elif loss.loss == "cross_entropy" and surely(given, "log_softmax"):
            yield from _finding(loss, given, "log-probabilities")


@rule.on_trace
def returned_to_the_wrong_loss(trace: Trace, project: Project) -> Iterator[Finding]:
    op = only_outcome(trace)
    at = written_at(trace, op) if op is not None else None
    if op is None or at is None:
        return
    edits: tuple[Edit, ...] = ()
    if trace.request.loss == "nll" and op.name in KINDS:
        message = f"NLLLoss takes log-probabilities, and the model returns {KINDS[op.name]}"
        label, help = KINDS[op.name], "return F.log_softmax(scores, dim=1)"
        if op.name == "softmax":
            edits = renamed_at(project, at, "softmax", "log_softmax")
    elif trace.request.loss == "cross_entropy" and op.name == "log_softmax":
        message = "CrossEntropyLoss takes scores, and the model returns log-probabilities"
        label, help = "a log-softmax", "return the scores, or use NLLLoss"
        edits = without_op(trace, project, op)
    else:
        return
    yield Finding(
        message,
        at,
        label=label,
        help=help,
        fix=Fix("safe", edits) if edits else None,
        # From the source alone, which knows no loss, a softmax at the end is but suspicious.
        covers=(("AC401", at),),
    )


def _finding(loss: LossCall, given: tuple[FinalOp, ...], what: str) -> Iterator[Finding]:
    edits: tuple[Edit, ...] = ()
    if what == "log-probabilities":
        takes, better = "CrossEntropyLoss takes scores", "take the log-softmax out, or use NLLLoss"
        for ending in given:
            edits += without(ending.file, ending.node)
    elif surely(given, "softmax"):
        takes = f"{LOGARITHMS[loss.loss]} takes log-probabilities"
        better = "take the log-softmax in its place"
        for ending in given:
            edits += renamed(ending.file, ending.node, "softmax", "log_softmax")
    elif loss.loss == "ctc_loss":
        takes, better = "CTCLoss takes log-probabilities", "give it scores.log_softmax(dim=-1)"
    else:
        takes, better = (
            "NLLLoss takes log-probabilities",
            "CrossEntropyLoss takes scores as they are",
        )
        if not surely(given, *PROBABILITIES):
            edits = renamed(loss.call.scope.file, loss.call.node, "nll_loss", "cross_entropy")
    places = [Related(one.location, what) for one in given if one.location != loss.location]
    yield Finding(
        f"{takes}, and gets {what}",
        loss.location,
        label=f"gets {what}",
        related=tuple(places),
        help=better,
        fix=Fix("safe", edits) if edits else None,
    )
