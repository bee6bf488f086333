"""GitLab's code quality report: a JSON list with one entry for each finding."""

from __future__ import annotations

import json
from typing import Any

from archcheck.core.finding import Finding, Severity
from archcheck.core.fingerprint import fingerprints
from archcheck.core.report import Report, severity_of
from archcheck.output import Options

_SEVERITIES = {Severity.ERROR: "major", Severity.WARNING: "minor", Severity.NOTE: "info"}


def render(report: Report, options: Options) -> str:
    """The list, in the order of the findings."""
    pairs = zip(report.findings, fingerprints(report), strict=True)
    return json.dumps([_entry(finding, mark) for finding, mark in pairs], indent=2) + "\n"


def _entry(finding: Finding, fingerprint: str) -> dict[str, Any]:
    place = finding.location
    cell = "" if place.cell is None else f"cell {place.cell}, line {place.line}: "
    # A notebook's own lines are those of its JSON: only the file itself can be named.
    first = place.line if place.cell is None else 1
    last = max(place.end_line, first) if place.cell is None else first
    return {
        "description": f"{finding.code} {finding.name}: {cell}{finding.message}",
        "check_name": finding.code,
        "fingerprint": fingerprint,
        "severity": _SEVERITIES[severity_of(finding)],
        "location": {"path": place.path, "lines": {"begin": first, "end": last}},
    }
