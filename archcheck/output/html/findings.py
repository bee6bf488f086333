"""The findings as HTML: as in the terminal, with links into the graph and the layer table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import unified_diff
from html import escape
from typing import TYPE_CHECKING

from archcheck.core.finding import Edit, Finding, Fix, Location
from archcheck.core.report import Report, severity_of, source_key
from archcheck.output.graph.build import Graph
from archcheck.output.terminal.excerpt import SEVERITY_STYLE, excerpt
from archcheck.output.wording import count_by_rule, help_and_code, one_line, printable

if TYPE_CHECKING:
    from archcheck.output.terminal.styled import Styled

# An excerpt is cropped to so many characters; the page lets it scroll.
_WIDTH = 110
# Lines of the file around a change.
_CONTEXT = 2
# The classes of the page by the styles of the terminal.
_CLASSES = {
    **{style: severity.value for severity, style in SEVERITY_STYLE.items()},
    "blue": "gutter",
    "cyan": "shape",
    "bright_blue": "related",
}


def findings_html(report: Report, graphs: Sequence[Graph | None], statistics: bool) -> str:
    """Every finding as an article; with `statistics` how often each rule fired."""
    if not report.findings:
        return '<p class="calm">Nothing was found.</p>'
    if statistics:
        return f"<pre>{escape(chr(10).join(count_by_rule(report)))}</pre>"
    return "".join(
        "".join(_article(number, finding, report, graphs))
        for number, finding in enumerate(report.findings)
    )


def _article(
    number: int, finding: Finding, report: Report, graphs: Sequence[Graph | None]
) -> Iterator[str]:
    severity = severity_of(finding).value
    shown = excerpt(finding, report.sources, _WIDTH)
    yield f'<article class="finding {severity}" id="finding-{number}" data-finding="{number}">'
    yield (
        f'<h3><span class="badge {severity}">{severity}</span> '
        f"<code>{escape(finding.code)}</code> {quoted(finding.message)} "
        f'<span class="rule">{escape(finding.name)}</span></h3>'
    )
    yield f'<pre class="excerpt" tabindex="0">{_lines(shown.lines)}</pre>'
    for note in (*shown.remarks, *finding.notes):
        yield f'<p class="remark">{quoted(note)}</p>'
    if finding.help:
        sentence, code = help_and_code(finding)
        yield f'<p class="help"><b>help</b> {quoted(sentence)}</p>'
        if code:
            yield f'<pre tabindex="0">{escape(printable(chr(10).join(code)))}</pre>'
    if finding.fix:
        yield from _fix(finding.fix, report)
    for target, graph in enumerate(graphs):
        if graph is not None and (way := graph.way_to(finding)) is not None:
            node = ".".join(map(str, way))
            yield (
                f'<p class="links"><button type="button" data-target="{target}" '
                f'data-show="{node}">Show in the graph</button>'
            )
            if finding.module:
                yield (
                    f' <button type="button" data-target="{target}" '
                    f'data-layer="{escape(finding.module)}">Show in the layer table</button>'
                )
            yield "</p>"
            break
    yield "</article>"


def quoted(text: str) -> str:
    """The text as HTML, with what stands in backticks as code."""
    pieces = one_line(text).split("`")
    if len(pieces) % 2 == 0:
        return escape(one_line(text))
    return "".join(
        f"<code>{escape(piece)}</code>" if number % 2 else escape(piece)
        for number, piece in enumerate(pieces)
    )


def _lines(lines: Sequence[Styled]) -> str:
    return "\n".join(_line(line) for line in lines)


def _line(line: Styled) -> str:
    parts = []
    for text, style in line.pieces:
        name = _CLASSES.get(style)
        piece = escape(text)
        parts.append(f'<span class="{name}">{piece}</span>' if name and piece.strip() else piece)
    return "".join(parts)


def _fix(fix: Fix, report: Report) -> Iterator[str]:
    safe = "safe" if fix.safety == "safe" else "changes the architecture"
    tried = ", tried" if fix.verified else ""
    yield f"<details open><summary>Fix <small>({safe}{tried})</small></summary>"
    yield f'<pre class="diff" tabindex="0">{_diff(fix, report)}</pre></details>'


def _diff(fix: Fix, report: Report) -> str:
    """The fix as a unified diff of the files whose text is at hand."""
    rows = []
    for key in dict.fromkeys(source_key(edit.location) for edit in fix.edits):
        edits = [edit for edit in fix.edits if source_key(edit.location) == key]
        before = report.sources.get(key, ())
        last = max(max(edit.location.line, edit.location.end_line) for edit in edits)
        if last > len(before):
            # The text of that file is not at hand.
            rows += [f"+{line}" for edit in edits for line in edit.new.split("\n")]
            continue
        after = _edited(before, edits)
        rows += list(unified_diff(before, after, key, key, n=_CONTEXT, lineterm=""))
    return "\n".join(map(_diff_row, rows)).rstrip()


def _edited(lines: Sequence[str], edits: Sequence[Edit]) -> list[str]:
    text = "\n".join(lines)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)

    def offsets(place: Location) -> tuple[int, int]:
        begin = starts[place.line - 1] + place.column - 1
        return begin, starts[place.end_line - 1] + place.end_column - 1 if place.end_line else begin

    for edit in sorted(edits, key=lambda edit: offsets(edit.location), reverse=True):
        begin, end = offsets(edit.location)
        text = text[:begin] + edit.new + text[end:]
    return text.split("\n")


def _diff_row(row: str) -> str:
    kind = (
        "head"
        if row.startswith(("---", "+++", "@@"))
        else {"+": "added", "-": "removed"}.get(row[:1], "")
    )
    shown = escape(printable(row))
    return f'<span class="{kind}">{shown}</span>' if kind else shown
