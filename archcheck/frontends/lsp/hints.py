"""Shapes beside the code: what each line of a traced forward bound."""

from __future__ import annotations

from collections.abc import Iterator

from lsprotocol import types

from archcheck.core.finding import Location
from archcheck.frontends.lsp.positions import Places
from archcheck.frontends.lsp.views import Standing, View
from archcheck.output.wording import tensors_text


def hints(view: View, places: Places) -> dict[str, list[types.InlayHint]]:
    """The hints of each text of a document, by its URI.

    A line that was changed has none. Where the program was changed at all, those of the other
    lines say that they are of what was.
    """
    found: dict[str, list[types.InlayHint]] = {}
    shown: set[int] = set()
    for standing in view.standings:
        lines = set()
        for line, text in _lines(standing, view.path):
            lines.add(line)
            if line not in shown:
                place = places.place(_end(line, view))
                if place is not None:
                    hint = _hint(place.range.start, text, standing)
                    found.setdefault(place.uri, []).append(hint)
        shown |= lines
    return found


def input_text(standing: Standing) -> str:
    """`x [8, 3, 32, 32]`, and whether archcheck chose it."""
    report = standing.traced.report
    inferred = " (inferred)" if report.trace.inferred_input is not None else ""
    return f"{tensors_text(report.inputs)}{inferred}"


def _lines(standing: Standing, path: str) -> Iterator[tuple[int, str]]:
    """The lines of the code now, and their shapes."""
    for row in standing.traced.rows:
        if row.path == path:
            now = standing.moved(Location(path, row.line))
            if now is not None:
                yield now.line, row.text if standing.holds else f"was {row.text}"


def _end(line: int, view: View) -> Location:
    """The end of the user's line that a line of the code stands on."""
    document = view.seen.document
    length = len(document.lines[line - 1]) if line <= len(document.lines) else 0
    at = document.origin(Location(view.path, line, length + 1, line, length + 1))
    if at.cell is None and at.line <= len(document.shown_lines):
        column = len(document.shown_lines[at.line - 1]) + 1
        return Location(at.path, at.line, column, at.line, column)
    return at


def _hint(position: types.Position, text: str, standing: Standing) -> types.InlayHint:
    traced = standing.traced
    told = [f"{traced.target}, {traced.report.mode} mode, input {input_text(standing)}"]
    if not standing.holds:
        told.append("before the last change: save to trace again")
    return types.InlayHint(
        position=position,
        label=text,
        kind=types.InlayHintKind.Type,
        tooltip="\n".join(told),
        padding_left=True,
    )
