"""What a second trace, with symbols, adds to the result of the first."""

from __future__ import annotations

from dataclasses import replace

from archcheck.core.finding import Finding, Location
from archcheck.engine.checker import TargetResult
from archcheck.engine.merge import Found
from archcheck.evidence.symbolic import SymbolicShapes
from archcheck.evidence.trace import Trace

FIRST = Trace("net.py:Net", "net.py", complete=True)
SECOND = replace(FIRST, symbolic=SymbolicShapes())
PLACE = Location("net.py", 3, 1, 3, 9)


def found(code: str, *, tentative: bool = False) -> Found:
    return Found(Finding("…", PLACE, code=code, tentative=tentative), "trace")


def test_rules_read_the_second_trace_and_the_first_is_shown() -> None:
    first = TargetResult(FIRST, (found("AC222", tentative=True),))
    assert first.needs_symbols
    both = first.with_symbols(TargetResult(SECOND, (found("AC222"),)))
    assert (both.trace, both.read) == (FIRST, SECOND)
    assert both.found == (found("AC222"),) and not both.needs_symbols


def test_a_second_trace_that_ends_early_is_no_fault_of_the_model() -> None:
    first = TargetResult(FIRST, (found("AC222", tentative=True), found("AC304")))
    late = TargetResult(replace(SECOND, complete=False), (found("AC005"),), defects=("…",))
    unserved = TargetResult(None, usage_error="no such file")
    assert first.with_symbols(late) == replace(first, defects=("…",))
    assert first.with_symbols(unserved) == first
