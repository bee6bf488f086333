"""The input lacks its batch or channel dimension, or has its dimensions in another order.

What it does
------------
Looks for images without a batch dimension, for grey images without a channel dimension, for
channels that come last, and for any other number of dimensions than a convolution, pooling or
recurrent layer takes.

Why it is bad
-------------
The forward pass stops with a message about channels, "expected input[1, 224, 224, 3] to have 3
channels, but got 224 channels instead", or goes on and stops much later.

Example
-------
    image = torch.from_numpy(cv2.imread("cat.png")).float()  # [224, 224, 3]
    model(image.unsqueeze(0))

Use instead
-----------
    image = torch.from_numpy(cv2.imread("cat.png")).float()
    model(image.movedim(-1, 0).unsqueeze(0))  # [1, 3, 224, 224]
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from archcheck.analysis.shapes.arithmetic import text
from archcheck.analysis.shapes.failures import faults
from archcheck.core.finding import Finding, Location, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

from ._impossible_calls import described, missing_dimension, why_impossible
from ._unsuitable_inputs import RECURRENT, wrong_dtype, wrong_rank

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC218", "wrong-input-rank", Severity.ERROR)

# What a pass may show because of it.
_FOLLOWING = ("AC004", "AC205", "AC206", "AC207", "AC208", "AC209", "AC213")

_STATE = re.compile(r"Expected hidden\S* size \(([\d, ]+)\), got \[([\d, ]+)\]")


@rule.on_trace
def dimensions_that_arrived(trace: Trace, project: Project) -> Iterator[Finding]:
    for fault in faults(trace, project):
        wrong = wrong_rank(fault) if wrong_dtype(fault) is None else None
        if wrong is None:
            continue
        subject, place = fault.subject, fault.location
        if wrong.op is not None and wrong.op.location is not None:
            place = wrong.op.location
            module = trace.module_of(wrong.op)
            subject = f"`{module.path}`" if module is not None and module.path else subject
        finding = fault.finding(
            f"{subject} takes {wrong.expects}, its input {text(wrong.got)} {wrong.what}",
            label=f"got {text(wrong.got)}",
            help=wrong.help,
        )
        trail = finding.trail if place == fault.location else ()
        # With another input than it is made for, all that a model gives has other shapes.
        file = Location(trace.path, 1, 1, 1 << 30, 1)
        covers = tuple((code, file) for code in _FOLLOWING)
        yield replace(finding, location=place, trail=trail, covers=covers)
        return


@rule.on_trace
def dimension_that_is_not_there(trace: Trace, project: Project) -> Iterator[Finding]:
    for fault in faults(trace, project):
        dim = missing_dimension(fault)
        if dim is None or wrong_dtype(fault) is not None or wrong_rank(fault) is not None:
            continue
        if why_impossible(fault) is None:
            yield fault.finding(
                f"{fault.subject} works on dimension {dim}, and {described(fault)}",
                label=f"got {text(fault.got)}",
            )


@rule.on_trace
def state_of_another_shape(trace: Trace, project: Project) -> Iterator[Finding]:
    for fault in faults(trace, project, *RECURRENT, "lstm_cell", "gru_cell"):
        sizes = _STATE.search(fault.failure.message)
        if sizes is not None:
            yield fault.finding(
                f"the state that {fault.subject} starts from is [{sizes[2]}], not [{sizes[1]}]",
                label=f"the input is {text(fault.got)}",
                help="[layers x directions, batch, hidden_size], also with batch_first",
            )
