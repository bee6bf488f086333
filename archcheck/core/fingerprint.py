"""What stays the same about a finding while the lines around it move."""

from __future__ import annotations

import hashlib
from collections import Counter

from archcheck.core.finding import Finding
from archcheck.core.report import Report, source_key


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


def _parts(finding: Finding, report: Report) -> tuple[str, ...]:
    place = finding.location
    lines = report.sources.get(source_key(place), ())
    text = lines[place.line - 1] if 1 <= place.line <= len(lines) else finding.message
    return (
        finding.code,
        place.path,
        finding.scope or "",
        finding.module or "",
        "".join(text.split()),
    )
