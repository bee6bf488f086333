"""The checkpoint has a key of another shape than the model.

What it does
------------
Compares the shapes of the file that `--weights` names with those of the model's `state_dict()`, key
by key, and tells the cause: another number of classes, another vocabulary, a table of positions for
another image size, another width or depth of the same family, LSTM against GRU.

Why it is bad
-------------
No shape is forgiven, not by `strict=False` either: `load_state_dict` raises, after it has copied
every key that fits.

Example
-------
    # the file is of a model with 1000 classes
    model = Net(num_classes=10)
    model.load_state_dict(torch.load("imagenet.pt"))

Use instead
-----------
    model = Net(num_classes=1000)
    model.load_state_dict(torch.load("imagenet.pt"))
    model.fc = nn.Linear(model.fc.in_features, 10)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

from ._checkpoint import coverage, diagnosis_of, layer_location

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC802", "checkpoint-shapes", Severity.ERROR)


@rule.on_trace
def other_shapes(trace: Trace, project: Project) -> Iterator[Finding]:
    diagnosis = diagnosis_of(trace)
    if diagnosis is None:
        return
    from archcheck.analysis.state_dicts.shape_causes import shape_causes

    for cause in shape_causes(diagnosis):
        if all(map(diagnosis.signature.renames_itself, cause.names)):
            continue
        yield Finding(
            cause.message,
            layer_location(trace, cause.names[0], project),
            module=cause.names[0].rpartition(".")[0] or None,
            notes=(coverage(diagnosis),),
            help=cause.help or None,
        )
