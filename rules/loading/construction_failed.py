"""The constructor, or the function that makes the model, raised.

What it does
------------
Reports an exception from building the model that no other rule explains, at the line of the user's
own code that it came from.

Why it is bad
-------------
There is no model: nothing else about it can be checked.

Example
-------
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(100, 8)   # 100 is not divisible by 8

Use instead
-----------
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(96, 8)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.exception_text import callers, failed_at, raised_text, subject
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule

if TYPE_CHECKING:
    from archcheck.evidence.records import Failure
    from archcheck.evidence.trace import Trace

rule = Rule("AC003", "construction-failed", Severity.ERROR, fallback=True)


@rule.on_trace
def raised_while_building(trace: Trace) -> Iterator[Finding]:
    for failure in trace.failures:
        if failure.stage == "construct" and failure.consequence_of is None:
            yield Finding(
                _message(failure, trace),
                failed_at(failure, trace),
                label="raised here",
                related=callers(failure),
            )


def _message(failure: Failure, trace: Trace) -> str:
    if failure.error == "Crash" or "whole process" in failure.message:
        return failure.message
    return f"building `{subject(trace)}` raised {raised_text(failure)}"
