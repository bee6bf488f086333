"""Probabilities go into a loss that applies log-softmax itself.

What it does
------------
Follows what `nn.CrossEntropyLoss` (or `F.cross_entropy`) is given back to the operation that it
comes out of: through the model's forward, its Sequentials, helper functions, other files, a
Lightning `training_step`, a loss that a function is given. Where no loss is in sight, a model
whose last layer's scores it returns through a softmax is a warning; `--loss` says which loss it
is. Attention, gates, policies and models that return probabilities only in one of their modes are
left alone.

Why it is bad
-------------
The loss takes the softmax of the probabilities. They lie between 0 and 1, so the result is nearly
uniform whatever the model says: the loss cannot fall much below its start, gradients are a
fraction of what they should be, and nothing crashes.

Example
-------
    class Net(nn.Module):
        def forward(self, x):
            return F.softmax(self.classifier(x), dim=1)

    loss = nn.CrossEntropyLoss()(Net()(images), labels)

Use instead
-----------
    class Net(nn.Module):
        def forward(self, x):
            return self.classifier(x)

    loss = nn.CrossEntropyLoss()(Net()(images), labels)
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from archcheck.analysis.dataflow.final_op_in_source import endings, surely
from archcheck.analysis.dataflow.final_op_in_trace import only_outcome, written_at
from archcheck.analysis.shapes.failures import node_at
from archcheck.core.finding import Edit, Finding, Fix, Location, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import ModuleClass, Project, SourceFile

from ._classifiers import classifier_of, returned_softmaxes
from ._losses_nearby import cross_entropy_of_any_model
from ._rewrite_ops import without, without_op

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC401", "softmax-before-cross-entropy", Severity.ERROR, fix="safe")

HELP = "return the logits; take the softmax where probabilities are wanted"


@rule.on_source
def into_cross_entropy(file: SourceFile) -> Iterator[Finding]:
    for loss in file.losses:
        if loss.loss == "cross_entropy" and loss.prediction is not None:
            found = endings(loss.prediction)
            for ending in found if surely(found, "softmax") else ():
                edits = without(ending.file, ending.node)
                yield _certain(ending.location, edits, loss.location)


@rule.on_source
def no_loss_in_sight(file: SourceFile) -> Iterator[Finding]:
    for module, ending in returned_softmaxes(file):
        yield _likely(module, ending.location, ending.node)


@rule.on_trace
def probabilities_returned(trace: Trace, project: Project) -> Iterator[Finding]:
    op = only_outcome(trace)
    at = written_at(trace, op) if op is not None and op.name == "softmax" else None
    if op is None or at is None:
        return
    if trace.request.loss == "cross_entropy":
        yield _certain(at, without_op(trace, project, op))
    elif trace.request.loss is None and trace.mode == "train":
        module = classifier_of(trace, op, project)
        if module is not None:
            yield _likely(module, at, node_at(module.file, at))


def _certain(at: Location, edits: tuple[Edit, ...], loss: Location | None = None) -> Finding:
    return Finding(
        "probabilities go into cross entropy, which takes logits and applies log-softmax itself",
        at,
        label="a softmax before the loss's own",
        related=(Related(loss, "the loss"),) if loss is not None and loss != at else (),
        help=HELP,
        fix=Fix("safe", edits) if edits else None,
        # Who takes the softmax of these probabilities again, elsewhere, does so for the same cause.
        covers=(("AC407", at),),
    )


def _likely(module: ModuleClass, at: Location, node: ast.AST | None) -> Finding:
    edits = without(module.file, node) if node is not None and at.path == module.file.path else ()
    loss = cross_entropy_of_any_model(module.file, module.name)
    would = "would take" if loss is None else "takes"
    finding = Finding(
        f"`{module.name}` returns probabilities: CrossEntropyLoss {would} the softmax again",
        at,
        label="a softmax at the end",
        help=f"{HELP}, or say which loss it is: --loss nll",
        fix=Fix("unsafe", edits) if edits else None,
        severity=Severity.WARNING,
        guesses_loss=True,
    )
    if loss is not None:
        return replace(finding, related=(Related(loss, "the loss, of any model that comes here"),))
    note = "no loss is in sight; with NLLLoss on their logarithm, probabilities are right"
    return replace(finding, notes=(note,))
