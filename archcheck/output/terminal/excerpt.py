"""One finding as text: the head line, the source with its underlines, the notes, the help."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from archcheck.core.finding import Finding, Location, Severity
from archcheck.core.report import severity_of, source_key
from archcheck.output.terminal.cells import Spread, cell_len, fit, spread, window, wrap
from archcheck.output.terminal.styled import Styled
from archcheck.output.wording import one_line, printable

Sources = Mapping[str, tuple[str, ...]]

SEVERITY_STYLE: Mapping[Severity, str] = {
    Severity.ERROR: "bold red",
    Severity.WARNING: "bold yellow",
    Severity.NOTE: "bold cyan",
}
_GUTTER, _SHAPE, _HELP, _RELATED = "blue", "cyan", "green", "bright_blue"

# Lines keep this much of the indentation that they share.
_INDENTATION = 4
# Between the longest line with a shape and the column of shapes.
_GAP = 4
# A line of code keeps at least this much room beside the shapes.
_LEAST_CODE = 24


class _Mark(NamedTuple):
    """An underline: `^^^^ label` for the finding itself, `---- label` for a related place."""

    location: Location
    label: str
    sign: str
    style: str


@dataclass(slots=True)
class _Line:
    """A line of source in an excerpt, with what is said about it."""

    code: Spread
    shapes: list[str] = field(default_factory=list)
    marks: list[_Mark] = field(default_factory=list)


_Block = dict[int, _Line]


class Excerpt(NamedTuple):
    """The source that a finding speaks of, with its underlines.

    Attributes:
        remarks: What it says of places whose text is not at hand.
        pad: As wide as the line numbers.
    """

    lines: tuple[Styled, ...]
    remarks: tuple[str, ...]
    pad: str


def finding_text(finding: Finding, sources: Sources, width: int) -> Iterator[Styled]:
    """The lines that show one finding; what is wider than `width` is wrapped or cropped."""
    shown = excerpt(finding, sources, width)
    yield from _head(finding, width)
    yield from shown.lines
    for remark in (*shown.remarks, *finding.notes):
        yield from _remark(shown.pad, remark, width)
    if finding.help:
        yield from _remark(shown.pad, finding.help, width, "help: ")


def excerpt(finding: Finding, sources: Sources, width: int) -> Excerpt:
    """What a finding shows of the source."""
    marks = [
        _Mark(finding.location, finding.label, "^", SEVERITY_STYLE[severity_of(finding)]),
        *(_Mark(one.location, one.message, "-", _RELATED) for one in finding.related),
    ]
    places = [mark.location for mark in marks] + [note.location for note in finding.trail]
    excerpts = {
        key: _blocks(key, finding, marks, sources.get(key, ()))
        for key in dict.fromkeys(map(source_key, places))
    }
    last = max((n for blocks in excerpts.values() for block in blocks for n in block), default=0)
    pad = " " * len(str(max(last, finding.location.line)))

    lines: list[Styled] = []
    remarks: list[str] = []
    for key, blocks in excerpts.items():
        here = [mark for mark in marks if source_key(mark.location) == key]
        own = key == source_key(finding.location)
        if not blocks and not own:
            # The text of that file is not at hand; the place is named all the same.
            remarks += [f"{key}:{mark.location.line}: {mark.label}" for mark in here]
            continue
        place = next(one for one in places if source_key(one) == key)
        lines.append(_arrow(pad, place, finding.scope if own else None))
        if not blocks:
            remarks += [mark.label for mark in here if mark.label]
        indentation = min(
            (
                line.code.indentation
                for block in blocks
                for line in block.values()
                if line.code.text.strip()
            ),
            default=0,
        )
        layout = _Layout(pad, width, max(0, indentation - _INDENTATION))
        for block in blocks:
            lines.append(Styled(f"{pad} |", _GUTTER))
            lines += layout.block(block)
    return Excerpt(tuple(lines), tuple(remarks), pad)


def _head(finding: Finding, width: int) -> Iterator[Styled]:
    severity = severity_of(finding)
    sign = f"{severity}[{finding.code}]"
    name = f" {finding.name}: "
    lines = wrap(one_line(finding.message), width - cell_len(sign + name), width - _INDENTATION)
    yield Styled.of((sign, SEVERITY_STYLE[severity]), (name, "bold"), Styled.quoting(lines[0]))
    for line in lines[1:]:
        yield Styled.of(" " * _INDENTATION, Styled.quoting(line))


def _arrow(pad: str, place: Location, scope: str | None) -> Styled:
    where = f" {source_key(place)}:{place.line}:{place.column}"
    return Styled.of((f"{pad}-->", _GUTTER), where, f"   in {scope}" if scope else "")


def _remark(pad: str, text: str, width: int, title: str = "") -> Iterator[Styled]:
    """A sentence, wrapped; lines behind it are code, and stay as they are."""
    margin = len(pad) + 3
    room = width - margin
    text, _, code = text.partition("\n")
    lines = wrap(text, room - len(title), room - len(title))
    yield Styled.of((f"{pad} = ", _GUTTER), (title, _HELP), Styled.quoting(lines[0]))
    for line in lines[1:]:
        yield Styled.of(" " * (margin + len(title)), Styled.quoting(line))
    for line in code.splitlines():
        yield Styled.of(" " * (margin + 4), printable(line))


def _blocks(
    key: str, finding: Finding, marks: Iterable[_Mark], source: tuple[str, ...]
) -> list[_Block]:
    """The lines of one file that a finding speaks of: those around itself first, then the rest."""
    spoken: _Block = {}

    def line_at(number: int) -> _Line | None:
        if not 1 <= number <= len(source):
            return None
        return spoken.setdefault(number, _Line(spread(source[number - 1])))

    main: set[int] = set()
    for note in finding.trail:
        if source_key(note.location) == key and (line := line_at(note.location.line)):
            line.shapes.append(one_line(note.text))
            main.add(note.location.line)
    for mark in marks:
        if source_key(mark.location) == key and (line := line_at(mark.location.line)):
            line.marks.append(mark)
            if mark.sign == "^":
                main.add(mark.location.line)

    first, last = min(main, default=0), max(main, default=0)
    blocks: list[list[int]] = []
    for number in sorted(spoken):
        # Neighbours share a block, and so do all the lines that led to the finding.
        before = blocks[-1][-1] if blocks else -2
        if number - before <= 2 or first <= before < number <= last:
            blocks[-1] += [number - 1, number] if number - before == 2 else [number]
        else:
            blocks.append([number])
    blocks.sort(key=lambda block: first not in block)
    return [{n: spoken.get(n) or _Line(spread(source[n - 1])) for n in block} for block in blocks]


class _Layout(NamedTuple):
    """How wide the gutter and the page are, and how much shared indentation is left out."""

    pad: str
    width: int
    dedent: int

    @property
    def room(self) -> int:
        """Cells for code, after `12 | `."""
        return max(self.width - len(self.pad) - 3, _LEAST_CODE)

    def block(self, block: _Block) -> Iterator[Styled]:
        with_shapes = [line for line in block.values() if line.shapes]
        texts = {id(line): ", ".join(line.shapes) for line in with_shapes}
        longest = max((line.code.width - self.dedent for line in with_shapes), default=0)
        widest = max(map(cell_len, texts.values()), default=0)
        column = min(longest, max(self.room - _GAP - widest, _LEAST_CODE)) + _GAP

        before = None
        for number, line in block.items():
            if before is not None and number > before + 1:
                yield Styled("...", _GUTTER)
            before = number
            room = column - _GAP if line.shapes else self.room
            start = self._start(line, room)
            code = window(line.code.text, start, room, self.dedent).rstrip()
            row = Styled.of((f"{number:>{len(self.pad)}} |", _GUTTER), f" {code}" if code else "")
            if line.shapes:
                row.append(" " * (column - cell_len(code)))
                row.append(fit(texts[id(line)], max(self.room - column, _LEAST_CODE)), _SHAPE)
            yield row
            for mark in line.marks:
                yield from self._underline(line.code, mark, start, room)

    def _start(self, line: _Line, room: int) -> int:
        """The first cell to show: the beginning of the line, unless its underline lies beyond."""
        if not line.marks or line.code.width - self.dedent <= room:
            return self.dedent
        begin, end = _cells(line.code, line.marks[0].location)
        if end - self.dedent < room:
            return self.dedent
        # The underline's begin matters more than its end; some of what stands before it helps.
        return max(
            self.dedent, min(begin - room // 4, end + 1 - room if end - begin < room else begin)
        )

    def _underline(self, code: Spread, mark: _Mark, start: int, room: int) -> Iterator[Styled]:
        begin, end = (cell - start for cell in _cells(code, mark.location))
        begin = max(begin, 0)
        end = max(min(end, room), begin + 1)
        margin = f"{self.pad} |"
        row = Styled.of(
            (margin, _GUTTER), " " * (begin + 1), (mark.sign * (end - begin), mark.style)
        )
        label = one_line(mark.label)
        if not label:
            yield row
        elif end + 1 + cell_len(label) <= self.room:
            yield row.append(f" {label}", mark.style)
        else:
            yield row
            indent = max(min(begin, self.room - cell_len(label), self.room // 2), 0)
            for line in wrap(label, self.room - indent, self.room - indent):
                yield Styled.of((margin, _GUTTER), " " * (indent + 1), (line, mark.style))


def _cells(code: Spread, place: Location) -> tuple[int, int]:
    """Where a span begins and ends on its first line; one of no known length is one cell."""
    begin = code.cell(place.column)
    if place.end_line > place.line:
        end = cell_len(code.text.rstrip())
    elif place.end_line:
        end = code.cell(place.end_column)
    else:
        end = begin + 1
    return begin, max(end, begin + 1)
