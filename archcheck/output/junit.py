"""JUnit XML, which every CI server shows as tests: a finding is a test that failed."""

from __future__ import annotations

import re
from collections import Counter
from itertools import groupby
from xml.etree import ElementTree

from archcheck.core.finding import Finding
from archcheck.core.report import Report, severity_of, source_key
from archcheck.output import Options
from archcheck.output.concise import line
from archcheck.output.wording import details

# What XML 1.0 cannot hold in any form.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(report: Report, options: Options) -> str:
    """A suite for each file with findings, and one for the traced targets and the check itself."""
    root = ElementTree.Element("testsuites", name="archcheck")
    for path, findings in groupby(report.findings, lambda one: one.location.path):
        suite = _suite(root, path)
        seen: Counter[str] = Counter()
        for finding in findings:
            name = _name(finding)
            seen[name] += 1
            _case(suite, report, finding, name if seen[name] == 1 else f"{name} ({seen[name]})")
    _rest(_suite(root, "archcheck"), report)
    for suite in root:
        for kind, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
            suite.set(kind, str(sum(1 for _ in suite.iter(tag))))
    for kind in ("tests", "failures", "errors"):
        root.set(kind, str(sum(int(suite.get(kind, "0")) for suite in root)))
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _suite(root: ElementTree.Element, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(root, "testsuite", name=_clean(name))


def _name(finding: Finding) -> str:
    """What CI servers know a failure by from run to run, so that no line number is in it."""
    scope = f" in {finding.scope}" if finding.scope else ""
    return f"{finding.code} {finding.name}{scope}"


def _case(suite: ElementTree.Element, report: Report, finding: Finding, name: str) -> None:
    place = finding.location
    case = ElementTree.SubElement(
        suite,
        "testcase",
        name=_clean(name),
        classname=_clean(source_key(place)),
        file=_clean(place.path),
        line=str(place.line),
    )
    text = _clean("\n".join((line(finding), *details(finding))))
    if severity_of(finding) >= report.fail_on:
        failure = ElementTree.SubElement(
            case, "failure", type=severity_of(finding).value, message=_clean(finding.message)
        )
        failure.text = text
    else:
        ElementTree.SubElement(case, "system-out").text = text


def _rest(suite: ElementTree.Element, report: Report) -> None:
    """Targets without a failing finding pass; a complaint about the call is an error."""
    failing = {finding.target for finding in report.failing}
    for target in report.targets:
        if target.name not in failing:
            ElementTree.SubElement(
                suite, "testcase", name=_clean(target.name), classname="archcheck"
            )
    for usage_error in report.usage_errors:
        case = ElementTree.SubElement(suite, "testcase", name="call", classname="archcheck")
        ElementTree.SubElement(case, "error", type="usage", message=_clean(usage_error))
    if report.ok and not report.usage_errors:
        files = f"{report.files} file{'' if report.files == 1 else 's'} checked"
        ElementTree.SubElement(suite, "testcase", name=files, classname="archcheck")
    if report.unchecked:
        notes = "\n".join(f"not checked: {sentence}" for sentence in report.unchecked)
        ElementTree.SubElement(suite, "system-out").text = _clean(notes)


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
