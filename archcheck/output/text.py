"""The report for a person at a terminal: findings, layer tables, totals, one summary line."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO

from rich.text import Text

from archcheck.output import Options
from archcheck.output.cells import wrap
from archcheck.output.excerpt import finding_text
from archcheck.output.table import target_text
from archcheck.output.words import count_by_rule, summary
from archcheck.report import Report


def render(report: Report, options: Options) -> str:
    """The report as a terminal shows it."""
    lines = list(report_text(report, options))
    if not options.color:
        return "".join(f"{line.plain}\n" for line in lines)
    # The console is what makes rich slow to import, and only colours need it.
    from rich.console import Console

    stream = StringIO()
    console = Console(
        file=stream, force_terminal=True, color_system="standard", width=options.width
    )
    for line in lines:
        console.print(line, soft_wrap=True)
    return stream.getvalue()


def report_text(report: Report, options: Options) -> Iterator[Text]:
    """The lines of the report, with their styles."""
    if options.statistics:
        yield from map(Text, count_by_rule(report))
        yield Text()
    else:
        for finding in report.findings:
            yield from finding_text(finding, report.sources, options.width)
            yield Text()
    if options.quiet:
        return
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


def to_html(report: Report, width: int = 100) -> str:
    """The report as a `<pre>` that brings its own colours, for a notebook's cell."""
    from rich.console import Console

    console = Console(
        file=StringIO(), record=True, force_terminal=True, width=width, color_system="truecolor"
    )
    for line in report_text(report, Options(color=True, width=width)):
        console.print(line, soft_wrap=True)
    return console.export_html(
        inline_styles=True,
        code_format='<pre style="font-family: monospace; line-height: 1.3">{code}</pre>',
    )
