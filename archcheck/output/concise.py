"""One line for each finding, as compilers and editors read them, then the summary."""

from __future__ import annotations

from archcheck.core.finding import Finding
from archcheck.core.report import Report, severity_of, source_key
from archcheck.output import Options
from archcheck.output.wording import count_by_rule, one_line, summary


def render(report: Report, options: Options) -> str:
    """`path:line:column: AC201 error message`, and the summary line."""
    if options.statistics:
        lines = count_by_rule(report)
    else:
        lines = [line(finding) for finding in report.findings]
    if not options.quiet:
        lines += [f"not checked: {one_line(sentence)}" for sentence in report.unchecked]
        lines.append(summary(report))
    return "".join(f"{text}\n" for text in lines)


def line(finding: Finding) -> str:
    """One finding on one line."""
    place = finding.location
    return (
        f"{source_key(place)}:{place.line}:{place.column}: "
        f"{finding.code} {severity_of(finding)} {one_line(finding.message)}"
    )
