"""Styled lines become plain text, coloured text or a picture."""

from __future__ import annotations

from collections.abc import Iterable
from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from archcheck.output.terminal.styled import Styled


def paint(lines: Iterable[Styled], color: bool) -> str:
    """The lines, with ANSI colours or without."""
    if not color:
        return "".join(f"{line.plain}\n" for line in lines)
    console, stream = _console(100, "standard")
    for line in lines:
        console.print(line, soft_wrap=True)
    return stream.getvalue()


def svg(lines: Iterable[RenderableType], width: int, title: str, identifier: str) -> str:
    """A picture of a terminal with these lines; the same lines give the same bytes."""
    console, _stream = _console(width, "truecolor", record=True)
    for line in lines:
        console.print(line, soft_wrap=True)
    return console.export_svg(title=title, unique_id=identifier)


def _console(width: int, colors: str, record: bool = False) -> tuple[Console, StringIO]:
    # Imported only now: without colours, nothing needs it.
    from rich.console import Console

    stream = StringIO()
    console = Console(
        file=stream,
        record=record,
        force_terminal=True,
        # Whether to colour was decided by the caller: NO_COLOR and TERM have been asked.
        no_color=False,
        color_system=colors,  # type: ignore[arg-type]
        width=width,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
        _environ={},
    )
    return console, stream
