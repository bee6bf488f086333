"""For agents: one line a finding with its help inline, and a last line that says what was checked.

Silence is never success here: whoever reads the last line knows what was looked at, and what not.
"""

from __future__ import annotations

from collections.abc import Iterator

from archcheck.core.finding import Finding
from archcheck.core.report import Report
from archcheck.evidence.target_summary import TargetReport
from archcheck.output import Options
from archcheck.output.concise import line
from archcheck.output.wording import (
    count_by_rule,
    help_and_code,
    one_line,
    plural,
    printable,
    summary,
)


def render(report: Report, options: Options) -> str:
    """Return `path:line:column: AC201 error message | help: … | fix: --fix`, then what ran."""
    found = count_by_rule(report) if options.statistics else map(_line, report.findings)
    return "".join(f"{text}\n" for text in (*found, _checked(report)))


def _line(finding: Finding) -> str:
    parts = [line(finding)]
    if finding.module:
        parts.append(f"module: {finding.module}")
    if finding.help:
        sentence, code = help_and_code(finding)
        # Code keeps its lines, as a string in Python or JSON would.
        parts.append("\\n".join((f"help: {one_line(sentence)}", *map(printable, code))))
    if finding.fix is not None:
        parts.append("fix: --fix" if finding.fix.safety == "safe" else "fix: --unsafe-fixes")
    return " | ".join(parts)


def _checked(report: Report) -> str:
    """What was looked at, what came of it, and what was not looked at."""
    looked = [plural(report.files, "file"), *map(_traced, report.targets)]
    text = f"checked {', '.join(looked)}: {summary(report)}"
    unchecked = [one_line(sentence) for sentence in (*report.unchecked, *report.unreadable)]
    return f"{text} | not checked: {'; '.join(unchecked)}" if unchecked else text


def _traced(target: TargetReport) -> str:
    shapes = " ".join(
        f"{tensor.name}={list(map(int, tensor.shape))}" if tensor.name else str(list(tensor.shape))
        for tensor in target.inputs
    )
    return " ".join(_words(target, shapes))


def _words(target: TargetReport, shapes: str) -> Iterator[str]:
    if not target.complete:
        yield f"{target.name} (not traced to its end)"
        return
    outputs = [list(map(int, tensor.shape)) for tensor in target.outputs or ()]
    yield f"{target.name} ({shapes} -> {', '.join(map(str, outputs))},"
    if target.params is not None:
        yield f"{target.params.total} parameters,"
    yield f"{target.macs} MACs)"
