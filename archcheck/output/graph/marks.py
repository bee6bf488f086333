"""What findings and failures say about the calls and operators of one trace."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from archcheck.core.finding import Finding, Location
from archcheck.evidence.target_summary import TargetReport
from archcheck.output.wording import one_line

if TYPE_CHECKING:
    from archcheck.evidence.records import Failure, ModuleCall, Op

Key = TypeVar("Key")
# A file, a line and a column.
Start: TypeAlias = tuple[str, int, int]

# A label that says what arrived has numbers; `got [8, 2048], expects [*, 4608]` has two parts.
_NUMBER = re.compile(r"\d")
_PARTS = re.compile(r", (?=[a-z])")
_BOTH = re.compile(r" against | by ")
# Of a message, so much stands in the graph.
_LONGEST = 80


class Marks:
    """The findings and failures of one target, asked for by call, operator, module and place."""

    def __init__(self, target: TargetReport, findings: Iterable[Finding]) -> None:
        self.trace = target.trace
        self.findings = tuple(one for one in findings if one.target in (None, target.name))

    # Failures -----------------------------------------------------------------------------

    @cached_property
    def after_failures(self) -> frozenset[int]:
        """The values that hang on a result that was never computed."""
        missing = [value.index for value in self.trace.values if value.guessed]
        missing += (index for op in self.trace.ops if self.failure_of(op) for index in op.outputs)
        return self.trace.dataflow.after(missing) if missing else frozenset()

    def failure_of(self, op: Op) -> Failure | None:
        return None if op.failure is None else self.trace.failures[op.failure]

    def failures_in(self, call: ModuleCall) -> list[Failure]:
        """What failed in a call or in one below it."""
        return self._failures.get(call.index, [])

    @cached_property
    def _failures(self) -> dict[int, list[Failure]]:
        found: dict[int, list[Failure]] = {}
        for failure in self.trace.failures:
            call = failure.call if failure.op is None else self.trace.ops[failure.op].call
            while call is not None:
                found.setdefault(call, []).append(failure)
                call = self.trace.calls[call].parent
        return found

    def trouble(self, failure: Failure, path: str | None) -> tuple[str, ...]:
        """What arrived and what was expected, as the finding on the failure has it; else its
        message. `path` is that of the module that failed, if one did."""
        for finding in self.findings:
            if _is_about(finding, failure, path) and _NUMBER.search(finding.label):
                said = _PARTS.split(one_line(finding.label))
                if len(said) == 1 and not _BOTH.search(finding.label):
                    said.append(_short(finding.message))
                return tuple(said)
        return (_short(f"{failure.error}: {failure.message}"),)

    # Findings -----------------------------------------------------------------------------

    def codes_of(self, path: str) -> tuple[str, ...]:
        """The rules that found something on a module."""
        return self._codes_of.get(path, ())

    def codes_at(self, place: Location | None) -> tuple[str, ...]:
        """The rules that found something on an expression, and on no module."""
        return self._codes_at.get(start(place), ()) if start(place) else ()

    @cached_property
    def _codes_of(self) -> dict[str, tuple[str, ...]]:
        return _codes((one.module, one.code) for one in self.findings if one.module)

    @cached_property
    def _codes_at(self) -> dict[Start | None, tuple[str, ...]]:
        return _codes((start(one.location), one.code) for one in self.findings if not one.module)

    def operator_at(self, finding: Finding) -> Op | None:
        """The operator that a finding on an expression is about."""
        if finding.module or finding not in self.findings or start(finding.location) is None:
            return None
        return self._operators.get(start(finding.location))

    @cached_property
    def _operators(self) -> dict[Start | None, Op]:
        return {start(op.location): op for op in reversed(self.trace.ops) if op.location}

    def call_of(self, finding: Finding) -> ModuleCall | None:
        """The first call of the module that a finding is about."""
        if not finding.module or finding not in self.findings:
            return None
        module = self.trace.module(finding.module)
        return self.trace.calls[module.calls[0]] if module and module.calls else None


def start(place: Location | None) -> Start | None:
    """Where a span begins; equal starts are one expression to a reader.

    None in a document, where what a trace says of lines is about other lines than a finding's.
    """
    if place is None or not place.path.endswith(".py"):
        return None
    return place.path, place.line, place.column


def _is_about(finding: Finding, failure: Failure, path: str | None) -> bool:
    place = start(failure.location)
    if place is None:
        return path is not None and finding.module == path
    return start(finding.location) == place and finding.module in (path, None)


def _short(message: str) -> str:
    text = one_line(message).replace("`", "")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _codes(pairs: Iterable[tuple[Key, str]]) -> dict[Key, tuple[str, ...]]:
    found: dict[Key, dict[str, None]] = {}
    for key, code in pairs:
        found.setdefault(key, {})[code] = None
    return {key: tuple(codes) for key, codes in found.items()}
