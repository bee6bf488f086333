"""Findings as the protocol's diagnostics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from lsprotocol import types

from archcheck.core.finding import Finding, Severity
from archcheck.core.report import severity_of
from archcheck.core.rule import Rule
from archcheck.frontends.lsp.positions import Places

SOURCE = "archcheck"
_SEVERITIES: Mapping[Severity, types.DiagnosticSeverity] = {
    Severity.ERROR: types.DiagnosticSeverity.Error,
    Severity.WARNING: types.DiagnosticSeverity.Warning,
    Severity.NOTE: types.DiagnosticSeverity.Information,
}


def diagnostics(
    findings: Iterable[Finding], rules: Iterable[Rule], places: Places
) -> dict[str, list[types.Diagnostic]]:
    """The diagnostics of each text, by its URI."""
    by_code = {rule.code: rule for rule in rules}
    found: dict[str, list[types.Diagnostic]] = {}
    for finding in findings:
        place = places.place(finding.location)
        if place is not None:
            one = _diagnostic(finding, by_code.get(finding.code), place.range, places)
            found.setdefault(place.uri, []).append(one)
    return found


def _diagnostic(
    finding: Finding, rule: Rule | None, where: types.Range, places: Places
) -> types.Diagnostic:
    return types.Diagnostic(
        range=where,
        message=message_of(finding),
        severity=_SEVERITIES[severity_of(finding)],
        code=finding.code,
        code_description=_page(rule),
        source=SOURCE,
        tags=[types.DiagnosticTag.Unnecessary] if rule is not None and rule.fades else None,
        related_information=list(_related(finding, places)) or None,
    )


def message_of(finding: Finding) -> str:
    """The finding in a few lines: what is wrong, why, what mends it."""
    help = [f"help: {finding.help}"] if finding.help else []
    return "\n".join((finding.message, *finding.notes, *help))


def _page(rule: Rule | None) -> types.CodeDescription | None:
    """The rule's own file: its docstring is the rule's page."""
    if rule is None or rule.path is None:
        return None
    return types.CodeDescription(rule.path.resolve().as_uri())


def _related(finding: Finding, places: Places) -> Iterator[types.DiagnosticRelatedInformation]:
    said = [(note.location, note.text) for note in finding.trail]
    said += [(place.location, place.message) for place in finding.related]
    for location, text in said:
        place = places.place(location)
        if place is not None:
            yield types.DiagnosticRelatedInformation(place, text)
