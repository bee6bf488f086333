"""SARIF 2.1.0, which code scanning services read: rules with their help, results, fixes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import quote

from archcheck._version import __version__
from archcheck.core.finding import Finding, Fix, Location, Severity
from archcheck.core.fingerprint import fingerprints
from archcheck.core.report import Report, severity_of
from archcheck.core.rule import HEADINGS, Rule
from archcheck.output import Options
from archcheck.output.wording import details

_SCHEMA = (
    "https://raw.githubusercontent.com/oasis-tcs/sarif-spec/master/Schemata/sarif-schema-2.1.0.json"
)


def render(report: Report, options: Options) -> str:
    """One run. It names no times and no folders of this machine, so its bytes are stable."""
    codes = sorted({*(rule.code for rule in report.rules), *(one.code for one in report.findings)})
    known = {rule.code: rule for rule in report.rules}
    names = {finding.code: finding.name for finding in report.findings}
    pairs = zip(report.findings, fingerprints(report), strict=True)
    run = {
        "tool": {
            "driver": {
                "name": "archcheck",
                "semanticVersion": __version__,
                "rules": [
                    _rule(known[code]) if code in known else {"id": code, "name": names[code]}
                    for code in codes
                ],
            }
        },
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {
                "executionSuccessful": not (report.usage_errors or report.defects),
                "exitCode": report.exit_code,
                "toolExecutionNotifications": [
                    *({"level": "error", "message": {"text": one}} for one in report.usage_errors),
                    *({"level": "note", "message": {"text": one}} for one in report.unchecked),
                ],
            }
        ],
        "results": [_result(finding, mark, codes) for finding, mark in pairs],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(rule: Rule) -> dict[str, Any]:
    sections = rule.sections
    titled = [(heading, sections[heading]) for heading in HEADINGS if heading in sections]
    return {
        "id": rule.code,
        "name": rule.name,
        "shortDescription": {"text": sections[""] or rule.name},
        "fullDescription": {"text": sections.get("What it does") or rule.name},
        "help": {
            "text": "\n\n".join(f"{title}\n\n{text}" for title, text in titled) or rule.name,
            "markdown": "\n\n".join(f"**{title}**\n\n{text}" for title, text in titled)
            or rule.name,
        },
        "defaultConfiguration": {"level": rule.severity.value, "enabled": rule.runs_by_default},
        "properties": {
            "tags": ["pytorch", *([rule.path.parent.name] if rule.path else [])],
            "evidence": rule.evidence,
            # GitHub sorts by it: very-high, high, medium or low.
            "precision": "high" if rule.severity > Severity.NOTE else "medium",
        },
    }


def _result(finding: Finding, fingerprint: str, codes: Sequence[str]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": codes.index(finding.code),
        "level": severity_of(finding).value,
        "message": {"text": "\n".join((_told(finding), *details(finding)))},
        "locations": [{**_location(finding.location), **_logical(finding)}],
        "partialFingerprints": {"archcheckFinding/v1": fingerprint},
    }
    if finding.related:
        result["relatedLocations"] = [
            {"id": number, "message": {"text": one.message}, **_location(one.location)}
            for number, one in enumerate(finding.related)
        ]
    if finding.trail:
        steps = [(note.location, note.text) for note in finding.trail]
        steps.append((finding.location, finding.label or finding.message))
        result["codeFlows"] = [
            {
                "threadFlows": [
                    {
                        "locations": [
                            {"location": {"message": {"text": text}, **_location(place)}}
                            for place, text in steps
                        ]
                    }
                ]
            }
        ]
    if finding.fix:
        result["fixes"] = [_fix(finding.fix, finding.help or finding.message)]
    if finding.target:
        result["properties"] = {"target": finding.target}
    return result


def _told(finding: Finding) -> str:
    cell = finding.location.cell
    if cell is None:
        return finding.message
    return f"{finding.message} (cell {cell}, line {finding.location.line})"


def _logical(finding: Finding) -> dict[str, Any]:
    names = [(finding.scope, "function"), (finding.module, "module")]
    logical = [{"fullyQualifiedName": name, "kind": kind} for name, kind in names if name]
    return {"logicalLocations": logical} if logical else {}


def _location(place: Location) -> dict[str, Any]:
    # A notebook's own lines are those of its JSON: only the file itself can be named.
    region = {"region": _region(place)} if place.cell is None else {}
    return {"physicalLocation": {"artifactLocation": _artifact(place.path), **region}}


def _artifact(path: str) -> dict[str, Any]:
    windows = PureWindowsPath(path)
    if windows.drive and not path.startswith("/"):
        return {"uri": f"file:///{quote(windows.as_posix(), safe='/:')}"}
    if path.startswith("/"):
        return {"uri": f"file://{quote(path)}"}
    return {"uri": quote(PurePosixPath(path).as_posix()), "uriBaseId": "%SRCROOT%"}


def _region(place: Location) -> dict[str, Any]:
    region = {"startLine": place.line, "startColumn": place.column}
    if place.end_line and place.end_column:
        region |= {"endLine": place.end_line, "endColumn": place.end_column}
    return region


def _fix(fix: Fix, description: str) -> dict[str, Any]:
    paths = dict.fromkeys(edit.location.path for edit in fix.edits)
    return {
        "description": {"text": description},
        "artifactChanges": [
            {
                "artifactLocation": _artifact(path),
                "replacements": [
                    {"deletedRegion": _region(edit.location), "insertedContent": {"text": edit.new}}
                    for edit in fix.edits
                    if edit.location.path == path
                ],
            }
            for path in paths
        ],
        "properties": {"safety": fix.safety, "verified": fix.verified},
    }
