"""The report for a person at a terminal: findings, layer tables, totals, one summary line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.output import Options
from archcheck.output.words import count_by_rule, summary
from archcheck.report import Report

if TYPE_CHECKING:
    from rich.text import Text


def render(report: Report, options: Options) -> str:
    """The report as a terminal shows it."""
    nothing_to_draw = not (report.findings or report.targets or report.unchecked)
    if nothing_to_draw and not options.color:
        # Most checks of a healthy project end here, sooner than rich could be imported.
        return "" if options.quiet else f"{summary(report)}\n"
    from archcheck.output.console import paint

    return paint(report_text(report, options), options.color)


def report_text(report: Report, options: Options) -> Iterator[Text]:
    """The lines of the report, with their styles."""
    from rich.text import Text

    from archcheck.output.cells import wrap

    if options.statistics and report.findings:
        yield from map(Text, count_by_rule(report))
        yield Text()
    elif report.findings:
        from archcheck.output.excerpt import finding_text

        for finding in report.findings:
            yield from finding_text(finding, report.sources, options.width)
            yield Text()
    if options.quiet:
        return
    if report.targets:
        from archcheck.output.table import target_text

        for target in report.targets:
            yield from target_text(target, report, options.width, options.depth)
            yield Text()
    if report.unchecked:
        yield Text("Not checked", "bold")
        for sentence in report.unchecked:
            for number, line in enumerate(wrap(sentence, options.width - 2, options.width - 2)):
                yield Text(f"{'  ' if number else '- '}{line}")
        yield Text()
    yield Text(summary(report), "bold" if report.findings else "bold green")
