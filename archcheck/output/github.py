"""Workflow commands that GitHub Actions shows as annotations in the changed files."""

from __future__ import annotations

from archcheck.core.finding import Finding, Severity
from archcheck.core.report import Report, severity_of, source_key
from archcheck.output import Options
from archcheck.output.wording import details, printable

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def render(report: Report, options: Options) -> str:
    """One `::error file=…,line=…::message` for each finding."""
    return "".join(f"{_command(finding)}\n" for finding in report.findings)


def _command(finding: Finding) -> str:
    place = finding.location
    properties = {"file": place.path}
    message = [finding.message, *details(finding)]
    if place.cell is None:
        properties |= {"line": str(place.line), "col": str(place.column)}
        if place.end_line:
            properties["endLine"] = str(place.end_line)
        if place.end_line == place.line and place.end_column > place.column:
            # GitHub takes columns only within one line, and its end is the last one marked.
            properties["endColumn"] = str(place.end_column - 1)
    else:
        # A notebook's own lines are those of its JSON, which no reader knows.
        message.insert(0, f"{source_key(place)}:{place.line}:{place.column}")
    properties["title"] = f"{finding.code} {finding.name}"
    listed = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    text = _data("\n".join(printable(line) for line in message))
    return f"::{_COMMANDS[severity_of(finding)]} {listed}::{text}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
