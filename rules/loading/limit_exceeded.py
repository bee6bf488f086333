"""Loading, building or tracing the model took more time or memory than it was allowed.

What it does
------------
Reports a target that was ended because it passed the time limit (`--timeout`, 60 s) or the memory
limit (`--memory-limit`, 80 % of what is free), with the line that it was at.

Why it is bad
-------------
The model cannot be checked. A model that is built and run without data should take neither long
nor much memory: something in its code waits, loops, downloads, or allocates at import.

Example
-------
    weights = load_all_checkpoints()      # minutes, before the first layer is made

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.weights = weights

Use instead
-----------
    class Net(nn.Module):
        def __init__(self, weights=None):
            super().__init__()
            self.weights = weights
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.exception_text import callers, failed_at, raised_text, subject
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule

if TYPE_CHECKING:
    from archcheck.evidence.records import Failure
    from archcheck.evidence.trace import Trace

rule = Rule("AC005", "limit-exceeded", Severity.ERROR)

_ASKED = re.compile(r"you tried to allocate (\d+) bytes")
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


@rule.on_trace
def passed_a_limit(trace: Trace) -> Iterator[Finding]:
    for failure in trace.failures:
        if failure.stage == "limit" and failure.consequence_of is None:
            yield Finding(
                _message(failure, trace),
                failed_at(failure, trace),
                label="it was here" if failure.error == "TimeoutError" else "allocated here",
                related=callers(failure),
                help=_help(failure),
            )


def _message(failure: Failure, trace: Trace) -> str:
    asked = _ASKED.search(failure.message)
    if asked is not None:
        return f"`{subject(trace)}` asks for {_size(int(asked[1]))} of memory at once"
    if failure.error == "MemoryError" and failure.message.startswith("Unable to allocate"):
        return f"`{subject(trace)}` runs out of memory: {raised_text(failure)}"
    if failure.error == "MemoryError" and not failure.message:
        return f"`{subject(trace)}` asks for more memory than it is allowed"
    return failure.message


def _size(count: int) -> str:
    amount, unit = float(count), 0
    while amount >= 1024 and unit + 1 < len(_UNITS):
        amount /= 1024
        unit += 1
    return f"{amount:.3g} {_UNITS[unit]}"


def _help(failure: Failure) -> str:
    if failure.error == "TimeoutError":
        return "let it wait for nothing; --timeout SECONDS gives it longer"
    return "allocate less; --memory-limit SIZE gives it more"
