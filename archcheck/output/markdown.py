"""A comment for a pull request: the findings, what the models cost, their graphs and layers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from archcheck.core.finding import Finding, Severity
from archcheck.core.report import Report, severity_of, source_key
from archcheck.evidence.target_summary import TargetReport
from archcheck.output import Options
from archcheck.output.costs import cost_table
from archcheck.output.graph.build import Graph
from archcheck.output.graph.mermaid import mermaid
from archcheck.output.layer_rows import Row, table_rows
from archcheck.output.wording import (
    byte_text,
    count_by_rule,
    help_and_code,
    one_line,
    printable,
    scaled,
    shape_text,
    summary,
    tensors_text,
    valid_sizes_text,
)

# A comment holds 65,536 characters.
_MOST_CHARACTERS = 60_000
# Whether to show layers, and how many findings: what fits is taken.
_ATTEMPTS = ((True, 50), (False, 50), (False, 10))
_ACTIVE = re.compile(r"([\\`*_{}\[\]<>#|~$&])")
_SIGNS = {Severity.ERROR: "❌", Severity.WARNING: "⚠️", Severity.NOTE: "ℹ️"}  # noqa: RUF001


def render(report: Report, options: Options) -> str:
    """GitHub-flavoured Markdown, short enough for one comment."""
    text = ""
    for layers, most in _ATTEMPTS:
        text = "".join(f"{line}\n" for line in _lines(report, options, layers, most))
        if len(text) <= _MOST_CHARACTERS:
            break
    return text


def _lines(report: Report, options: Options, layers: bool, most: int) -> Iterator[str]:
    yield f"### archcheck: {prose(summary(report))}"
    if options.statistics:
        yield from ("", "```text", *count_by_rule(report), "```")
    elif report.findings:
        yield ""
        yield from table(("", "Where", "Finding"), "lll", map(_finding, _worst(report, most)))
        if len(report.findings) > most:
            yield ""
            yield f"and {len(report.findings) - most:,} more"
        for finding in _worst(report, most):
            yield from _help_code(finding)
    if options.quiet:
        return
    if report.targets:
        titles = ("Model", "Input", "Output", "Parameters", "MACs (fvcore)", "FLOPs (torch)")
        yield ""
        yield from table(
            (*titles, "Peak activations", "Valid sizes"), "lllrrrrl", map(_costs, report.targets)
        )
        for target in report.targets:
            yield from _training(target)
        for target in report.targets:
            if target.built and layers:
                yield from _graph(target, report)
                yield from _layers(target, report, options.depth)
    if report.unchecked:
        yield from ("", "Not checked:", "")
        for sentence in report.unchecked:
            yield f"- {prose(sentence)}"


def _worst(report: Report, most: int) -> list[Finding]:
    """The findings that fit, the worst kept, in the report's order."""
    ranked = sorted(enumerate(report.findings), key=lambda item: -severity_of(item[1]).rank)
    return [finding for _place, finding in sorted(ranked[:most], key=lambda item: item[0])]


def table(titles: Sequence[str], align: str, rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(titles)} |"
    yield f"| {' | '.join('---:' if one == 'r' else '---' for one in align)} |"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _finding(finding: Finding) -> Sequence[str]:
    text = f"**{finding.code}** {finding.name}: {prose(finding.message)}"
    for note in finding.notes:
        text += f"<br>{prose(note)}"
    if finding.help:
        sentence, lines = help_and_code(finding)
        text += f"<br>*help:* {prose(sentence.rstrip(':') + ', below' if lines else sentence)}"
    return _SIGNS[severity_of(finding)], _place(finding), text


def _help_code(finding: Finding) -> Iterator[str]:
    """The code of a finding's help, which a table's cell cannot hold."""
    _sentence, lines = help_and_code(finding)
    if not lines:
        return
    # Longer than any run of backticks inside, so that no line of the code closes it.
    runs = (len(run) for line in lines for run in re.findall("`+", line))
    fence = "`" * max(3, 1 + max(runs, default=0))
    yield ""
    yield f"{finding.code} at {_place(finding)}:"
    yield ""
    yield f"{fence}python"
    yield from map(printable, lines)
    yield fence


def _place(finding: Finding) -> str:
    return code(f"{source_key(finding.location)}:{finding.location.line}")


def _costs(target: TargetReport) -> Sequence[str]:
    outputs = "" if target.outputs is None else prose(tensors_text(target.outputs))
    peak = target.peak_activation_bytes
    return (
        code(target.name),
        f"{prose(tensors_text(target.inputs))}, {target.mode} mode",
        outputs,
        _number(target.params.total if target.params else None),
        _number(target.macs),
        _number(target.flops),
        "" if peak is None else byte_text(peak),
        prose(valid_sizes_text(target) or ""),
    )


def _training(target: TargetReport) -> Iterator[str]:
    """A training step and generation as a table, where they were asked for."""
    rows = [(prose(name), prose(value)) for name, value in cost_table(target.trace)]
    if rows:
        yield ""
        yield from table((f"Costs of {code(target.name)}", ""), "ll", rows)


def _number(number: int | None) -> str:
    if number is None:
        return ""
    return f"{number:,}" if number < 1000 else f"{scaled(number)}<br>{number:,}"


def _graph(target: TargetReport, report: Report) -> Iterator[str]:
    """The top level, in sight where it is the only one."""
    if not target.trace.calls:
        return
    lines = mermaid(Graph(target, report.findings).root)
    if not lines:
        return
    state = " open" if len(report.targets) == 1 else ""
    yield ""
    yield f"<details{state}><summary>Graph of {escape(one_line(target.name))}</summary>"
    yield from ("", "```mermaid", *lines, "```", "", "</details>")


def _layers(target: TargetReport, report: Report, depth: int | None) -> Iterator[str]:
    yield ""
    yield f"<details><summary>Layers of {escape(one_line(target.name))}</summary>"
    yield ""
    titles = ("Layer", "Type", "Output", "Parameters", "MACs", "")
    yield from table(titles, "lllrrl", map(_row, table_rows(target, report, depth)))
    yield ""
    yield "</details>"


def _row(row: Row) -> Sequence[str]:
    indentation = "&nbsp;&nbsp;" * row.depth
    findings = (code for _severity, code in row.codes)
    return (
        f"{indentation}{prose(row.label)}",
        prose(row.type),
        ", ".join(prose(shape_text(tensor)) for tensor in row.outputs[:2]),
        f"{row.params:,}" if row.params else "",
        scaled(row.macs) if row.macs else "",
        ", ".join((*findings, *map(prose, row.remarks))),
    )


def prose(text: str) -> str:
    """Text as Markdown that shows exactly it; what stands in backticks becomes code."""
    pieces = one_line(text).split("`")
    if len(pieces) % 2 == 0:
        return _escaped(one_line(text))
    return "".join(
        code(piece) if number % 2 and piece else _escaped(piece)
        for number, piece in enumerate(pieces)
    )


def _escaped(text: str) -> str:
    # A zero-width space keeps `@name` from notifying the person of that name.
    return _ACTIVE.sub(r"\\\1", text).replace("@", "@\u200b")


def code(text: str) -> str:
    """Text as a code span in a table's cell."""
    text = one_line(text)
    fence = "``" if "`" in text else "`"
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}".replace("|", r"\|")
