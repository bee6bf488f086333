"""The model is not the one that the lock file has.

What it does
------------
Compares the model with its entry in `archcheck.lock`, layer by layer: paths, types, settings,
output shapes, parameters and multiply-accumulates. A model that is not locked, or locked with
other inputs or in the other mode, is not compared.

Why it is bad
-------------
A default that changed in a helper, or a skip that got lost in a refactoring, is another model:
checkpoints no longer load, and results are no longer those that were measured. The lock file makes
a pull request show it.

Example
-------
    # archcheck.lock has 34 layers and 21,797,672 parameters
    self.layer4 = self.stage(512, blocks=2)

Use instead
-----------
    self.layer4 = self.stage(512, blocks=3)  # or `archcheck lock`, if the change is meant
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.module_classes import model_location
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC604", "architecture-drift", Severity.ERROR, against_lock=True)

SHOWN = 3


@rule.on_trace
def another_architecture(trace: Trace, project: Project) -> Iterator[Finding]:
    if trace.request.architecture is None or not trace.complete or trace.failures:
        return
    # Only a model that is locked is compared.
    from archcheck.analysis.architectures.difference import compare
    from archcheck.analysis.architectures.difference_text import headline, sentences
    from archcheck.analysis.architectures.read_trace import architecture_of

    difference = compare(trace.request.architecture, architecture_of(trace))
    if difference.state == "same":
        return
    # On real tensors sizes may depend on values, which no two machines need have alike.
    follows = [change.kind == "follows" for change in difference.changes]
    if trace.rung == "real" and follows and all(follows):
        return
    first = difference.changes[0].after if difference.changes else None
    module = trace.module(first.path) if first is not None else None
    place = module.constructed if module is not None else None
    yield Finding(
        f"the model is not the one that is locked: {headline(difference)}",
        place or model_location(trace, project),
        module=module.path if module is not None and place is not None else None,
        notes=tuple(sentences(difference, most=SHOWN)),
        help="run `archcheck lock` if this is meant; `archcheck diff` shows all of it",
    )
