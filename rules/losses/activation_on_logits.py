"""A ReLU or a dropout between the last layer and the loss.

What it does
------------
Looks for a ReLU or a dropout that is applied to the scores of the last layer: right before the
softmax that ends a model, or on what goes into CrossEntropyLoss, BCEWithLogitsLoss or NLLLoss.

Why it is bad
-------------
A ReLU sets every negative score to zero: classes can no longer be ruled out, and where all scores
are negative no gradient flows at all. A dropout sets scores of random classes to zero, which is
noise on the label.

Example
-------
    model = nn.Sequential(
        nn.Linear(64, 10),
        nn.ReLU(),
        nn.Softmax(dim=1),
    )

Use instead
-----------
    model = nn.Sequential(
        nn.Linear(64, 10),
        nn.Softmax(dim=1),
    )
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from archcheck.analysis.dataflow.final_op_in_source import AFFINE, endings, surely
from archcheck.analysis.dataflow.final_op_in_trace import (
    SOFTMAXES,
    before,
    is_logits,
    only_outcome,
    written_at,
)
from archcheck.analysis.module_classes import class_of
from archcheck.core.finding import Edit, Finding, Fix, Location, Severity
from archcheck.core.rule import Rule
from archcheck.evidence.dataflow import MOVES
from archcheck.python import Project, SourceFile

from ._classifiers import ends_a_model
from ._losses_nearby import gives_weights
from ._rewrite_ops import without_at, without_op

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC406", "activation-on-logits", Severity.WARNING, fix="unsafe")

ACTIVATIONS = {"relu": "a ReLU", "relu6": "a ReLU", "dropout": "a dropout"}
NORMS = ("batch_norm", "layer_norm", "batch_norm1d")
TAKE_SCORES = ("cross_entropy", "nll_loss", "nll", "binary_cross_entropy_with_logits")
WANTED = ("cross_entropy", "nll", "bce_with_logits")


@rule.on_source
def into_a_loss(file: SourceFile) -> Iterator[Finding]:
    for loss in file.losses:
        if loss.loss in TAKE_SCORES and loss.prediction is not None:
            for ending in endings(loss.prediction):
                if ending.operation in ACTIVATIONS and surely(ending.before(), *AFFINE, *NORMS):
                    edits = without_at(file.project, ending.location)
                    yield _finding(ending.location, ending.operation, "the loss", edits)


@rule.on_source
def before_the_last_softmax(file: SourceFile) -> Iterator[Finding]:
    for chain in file.chains:
        *others, activation, last = (None, None, *chain.links)
        if last is None or activation is None or last.operation not in SOFTMAXES:
            continue
        scores = [link for link in others if link is not None and link.operation not in NORMS]
        if activation.operation not in ACTIVATIONS or not scores:
            continue
        if scores[-1].operation in AFFINE and ends_a_model(chain):
            edits = without_at(file.project, activation.location)
            yield _finding(activation.location, activation.operation, "the softmax", edits)


@rule.on_trace
def in_front_of_the_output(trace: Trace, project: Project) -> Iterator[Finding]:
    last = only_outcome(trace)
    if last is None or trace.request.loss not in (None, *WANTED):
        return
    op = before(trace, last) if last.name in SOFTMAXES else last if trace.request.loss else None
    source = trace.dataflow.last_nonlinear(op.inputs[0], MOVES | set(NORMS)) if op else None
    if op is None or op.name not in ACTIVATIONS or not is_logits(source):
        return
    readers = {reader for value in op.outputs for reader in trace.values[value].users}
    if readers - {last.index}:
        return  # features, which another layer reads as well
    known = class_of(trace.modules[0], project)
    at = written_at(trace, op)
    if at is not None and (trace.request.loss or known is None or not gives_weights(known)):
        what = "the loss" if op is last else "the softmax"
        yield _finding(at, op.name, what, without_op(trace, project, op))


def _finding(at: Location, operation: str, what: str, edits: Sequence[Edit]) -> Finding:
    name = ACTIVATIONS[operation]
    effect = "sets negative scores to zero" if "ReLU" in name else "sets random scores to zero"
    return Finding(
        f"{name} between the last layer and {what} {effect}",
        at,
        label=effect,
        help=f"let the last layer's scores go into {what} as they are",
        fix=Fix("unsafe", tuple(edits)) if edits else None,
    )
