"""The report for a person at a terminal: findings, layer tables, totals, one summary line."""

from __future__ import annotations

from collections.abc import Iterator

from archcheck.core.report import Report
from archcheck.output import Options
from archcheck.output.terminal.cells import wrap
from archcheck.output.terminal.console import paint
from archcheck.output.terminal.styled import Styled
from archcheck.output.wording import count_by_rule, summary


def render(report: Report, options: Options) -> str:
    """The report as a terminal shows it."""
    return paint(report_text(report, options), options.color)


def report_text(report: Report, options: Options) -> Iterator[Styled]:
    """The lines of the report, with their styles."""
    if options.statistics and report.findings:
        yield from map(Styled, count_by_rule(report))
        yield Styled()
    elif report.findings:
        from archcheck.output.terminal.excerpt import finding_text

        for finding in report.findings:
            yield from finding_text(finding, report.sources, options.width)
            yield Styled()
    if options.quiet:
        return
    if report.targets:
        from archcheck.output.terminal.layer_table import target_text

        for target in report.targets:
            yield from target_text(target, report, options.width, options.depth)
            yield Styled()
    if report.unchecked:
        yield Styled("Not checked", "bold")
        for sentence in report.unchecked:
            for number, line in enumerate(wrap(sentence, options.width - 2, options.width - 2)):
                yield Styled(f"{'  ' if number else '- '}{line}")
        yield Styled()
    if report.files or not report.usage_errors:
        yield Styled(summary(report), "bold" if report.findings else "bold green")
