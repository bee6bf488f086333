"""A report becomes text, one file for each format.

In: a `Report`. Out: text. May not be imported by what it shows: evidence, engine, rules.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import NamedTuple, cast

from archcheck.core.report import Report

FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "text": "archcheck.output.text:render",
        "concise": "archcheck.output.concise:render",
        "json": "archcheck.output.json:render",
        "sarif": "archcheck.output.sarif:render",
        "github": "archcheck.output.github:render",
        "gitlab": "archcheck.output.gitlab:render",
        "junit": "archcheck.output.junit:render",
        "markdown": "archcheck.output.markdown:render",
        "html": "archcheck.output.html.page:render",
        "torchinfo": "archcheck.output.terminal.torchinfo_table:render",
        "agent": "archcheck.output.agent:render",
    }
)
# The first format of a suffix is the one that a file's name alone asks for.
SUFFIXES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        ".json": ("json", "gitlab", "sarif"),
        ".sarif": ("sarif",),
        ".xml": ("junit",),
        ".md": ("markdown",),
        ".html": ("html",),
        ".htm": ("html",),
    }
)
# They have no place for what was not checked, and why.
WITHOUT_UNCHECKED = frozenset({"json", "github", "gitlab"})


class Options(NamedTuple):
    """How a report is to be shown; formats for machines look at none of it.

    Attributes:
        color: Write ANSI colours.
        width: In terminal cells.
        depth: How deep the layer table goes; None lets it choose.
        statistics: Count the findings by rule in place of listing them.
        quiet: Findings only: no layer table, no totals, no summary.
    """

    color: bool = False
    width: int = 100
    depth: int | None = None
    statistics: bool = False
    quiet: bool = False


def render(
    report: Report,
    format: str,
    *,
    color: bool = False,
    width: int | None = None,
    depth: int | None = None,
    statistics: bool = False,
    quiet: bool = False,
) -> str:
    """The report in one of `FORMATS`, ending in a newline unless it is empty.

    `width` is in terminal cells; by default that of the terminal, COLUMNS, or 100.

    Raises:
        KeyError: There is no such format.
    """
    module, _, function = FORMATS[format].partition(":")
    write = cast(Callable[[Report, Options], str], getattr(import_module(module), function))
    return write(report, Options(color, page_width(width), depth, statistics, quiet))


def format_of(suffix: str, asked: str | None) -> str:
    """Return the format of a file by its suffix, or the one asked for where that suits it too."""
    usual = SUFFIXES.get(suffix.lower())
    if usual is None:
        return asked or "text"
    return asked if asked in usual else usual[0]


def notebook_frame(report: Report) -> str:
    """Return the page of a report in a frame of its own, for a notebook's cell."""
    from archcheck.output.html.page import frame

    return frame(report)


def page_width(width: int | None) -> int:
    """The width to draw for: as asked, else that of the terminal, COLUMNS, or 100."""
    return max(width or shutil.get_terminal_size((100, 24)).columns, 40)
