"""The forward pass raised.

What it does
------------
Reports an exception from the forward pass that no other rule explains, at the line of the user's
own code that it came from. What only follows from an earlier failure is not reported.

Why it is bad
-------------
The model crashes on the input that it was given.

Example
-------
    def forward(self, x):
        batch, length = x.shape       # the input has three dimensions
        return self.fc(x)

Use instead
-----------
    def forward(self, x):
        batch, length, features = x.shape
        return self.fc(x)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.exception_text import callers, failed_at, input_note, raised_text
from archcheck.analysis.module_classes import class_named
from archcheck.core.finding import Finding, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

if TYPE_CHECKING:
    from archcheck.evidence.records import Failure
    from archcheck.evidence.trace import Trace

rule = Rule("AC004", "forward-failed", Severity.ERROR, fallback=True)


_ARGUMENTS = re.compile(r"(\w+)\.forward\(\) (?:takes|missing|got) ")


@rule.on_trace
def raised_in_the_pass(trace: Trace, project: Project) -> Iterator[Finding]:
    for failure in trace.failures:
        if failure.stage not in ("forward", "input") or failure.consequence_of is not None:
            continue
        yield Finding(
            _message(failure),
            failed_at(failure, trace),
            label="raised here",
            module=None if failure.call is None else trace.calls[failure.call].path,
            related=(*callers(failure), *_definition(failure, trace, project)),
            notes=input_note(trace),
        )


def _message(failure: Failure) -> str:
    if failure.error == "Crash" or "whole process" in failure.message:
        return failure.message
    return f"the forward pass raised {raised_text(failure)}"


def _definition(failure: Failure, trace: Trace, project: Project) -> Iterator[Related]:
    """Where the forward is defined that was called with other arguments than it takes."""
    match = _ARGUMENTS.match(failure.message)
    module = class_named(match[1], trace, project) if match is not None else None
    if module is not None and module.forward is not None:
        yield Related(module.file.name_location(module.forward.node), "defined here")
