"""What stays the same about a finding while the lines around it move."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping

from archcheck.finding import Finding
from archcheck.report import Report, source_key


def fingerprints(report: Report) -> tuple[str, ...]:
    """One for each finding, in their order, all different.

    Made of the code, the file, the function and submodule, and the line's text without its
    spaces; findings alike in all of these are numbered from the top of the file.
    """
    seen: Counter[tuple[str, ...]] = Counter()
    result = []
    for finding in report.findings:
        parts = _parts(finding, report)
        seen[parts] += 1
        text = "\0".join((*parts, str(seen[parts])))
        result.append(hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32])
    return tuple(result)


def line_text(finding: Finding, sources: Mapping[str, tuple[str, ...]]) -> str:
    """The line that a finding is in; its message where the text is not there.

    Args:
        sources: The lines of the files, as `Report.sources` has them.
    """
    place = finding.location
    lines = sources.get(source_key(place), ())
    return lines[place.line - 1] if 1 <= place.line <= len(lines) else finding.message


def without_spaces(text: str) -> str:
    """The text as it is compared: formatting a file changes nothing."""
    return "".join(text.split())


def _parts(finding: Finding, report: Report) -> tuple[str, ...]:
    return (
        finding.code,
        finding.location.path,
        finding.scope or "",
        finding.module or "",
        without_spaces(line_text(finding, report.sources)),
    )
