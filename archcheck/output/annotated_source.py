"""Annotated source as text: the code, and the shapes in a column of their own beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from archcheck.output.terminal.cells import cell_len, fit, spread, window, wrap
from archcheck.output.terminal.console import paint
from archcheck.output.terminal.styled import Styled
from archcheck.output.wording import one_line

if TYPE_CHECKING:
    from archcheck.engine.annotate.annotation import Annotation, Line, Method

_GUTTER, _SHAPE, _DEAD, _FAILED, _TITLE = "blue", "cyan", "bright_black", "bold red", "bold"
_GAP = 4
_LEAST_CODE = 24
_DEAD_MARK, _FAILED_MARK = "-", "✗"


def render(annotation: Annotation, *, color: bool, width: int) -> str:
    """The annotated source as a terminal shows it."""
    return paint(annotation_text(annotation, width, color), color)


def annotation_text(annotation: Annotation, width: int, color: bool) -> Iterator[Styled]:
    """The lines, with their styles; lines that never ran are marked where nothing is coloured."""
    yield Styled.of((one_line(annotation.target), _TITLE), f" ({annotation.mode})")
    last = max((line.number for one in annotation.methods for line in one.lines), default=0)
    for method in annotation.methods:
        yield Styled()
        yield _head(method, width)
        yield from _body(method, len(str(last)), width, color)
    remarks = [(text, _FAILED_MARK, _FAILED) for text in annotation.failures]
    remarks += [(text, "-", "") for text in annotation.notes]
    if remarks:
        yield Styled()
    for text, mark, style in remarks:
        for number, part in enumerate(wrap(one_line(text), width - 2, width - 2)):
            yield Styled.of(("  " if number else f"{mark} ", style), part)
    if not color and any(not line.ran for one in annotation.methods for line in one.lines):
        yield Styled()
        yield Styled(f"{_DEAD_MARK} never ran")


def _head(method: Method, width: int) -> Styled:
    place = method.location
    cell = f":cell {place.cell}" if place.cell is not None else ""
    where = f"  {place.path}{cell}:{place.line}"
    times = f"  ×{method.calls}" if method.calls > 1 else ""
    paths = ", ".join(path for path in method.paths if path)
    text = Styled.of((method.name, _TITLE), (where, _GUTTER), times)
    room = width - text.width - 2
    if paths and room > 10:
        text.append(f"  {fit(one_line(paths), room)}")
    return text


def _body(method: Method, digits: int, width: int, color: bool) -> Iterator[Styled]:
    spreads = [spread(line.code) for line in method.lines]
    dedent = min((one.indentation for one in spreads if one.text.strip()), default=0)
    room = max(width - digits - 5, _LEAST_CODE)
    texts = [one_line(", ".join(bound.text for bound in line.bound)) for line in method.lines]
    longest = max(
        (one.width - dedent for one, text in zip(spreads, texts, strict=True) if text), default=0
    )
    widest = max(map(cell_len, texts), default=0)
    column = min(longest, max(room - _GAP - widest, _LEAST_CODE)) + _GAP
    for line, source, shapes in zip(method.lines, spreads, texts, strict=True):
        code = window(source.text, dedent, column - _GAP if shapes else room, dedent).rstrip()
        mark, style = _sign(line, color)
        gutter, plain = (_GUTTER, "") if line.ran else (_DEAD, _DEAD)
        row = Styled.of(
            (mark, style),
            (f" {line.number:>{digits}} |", gutter),
            (f" {code}" if code else "", plain),
        )
        if shapes:
            row.append(" " * (column - cell_len(code)))
            row.append(fit(shapes, max(room - column, _LEAST_CODE)), _SHAPE)
        yield row
        if line.failure is not None:
            yield from _failure(line.failure, digits, width, max(source.indentation - dedent, 0))


def _sign(line: Line, color: bool) -> tuple[str, str]:
    if line.failure is not None:
        return _FAILED_MARK, _FAILED
    return (" " if line.ran or color else _DEAD_MARK), _DEAD


def _failure(text: str, digits: int, width: int, indentation: int) -> Sequence[Styled]:
    room = max(width - digits - 5 - indentation, _LEAST_CODE)
    margin = f"{' ' * (digits + 2)} |"
    return [
        Styled.of((margin, _GUTTER), " " * (indentation + 1), (part, _FAILED))
        for part in wrap(one_line(text), room, room)
    ]
