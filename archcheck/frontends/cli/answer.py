"""What a check says, on which stream, and the code that it exits with."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from archcheck.core.target import UsageError
from archcheck.frontends.cli.terminal import DEFECT, show, usage_error, write
from archcheck.output import WITHOUT_UNCHECKED, render
from archcheck.output.wording import fixes_text, mended_text

if TYPE_CHECKING:
    from archcheck.core.report import Report


class RenderOptions(NamedTuple):
    """How a report is to be shown.

    Attributes:
        files: The formats of the files that the report goes into; the terminal gets text then.
        diff, fix_only: What is left after fixing is not what was asked.
    """

    format: str
    files: tuple[str, ...]
    color: bool
    width: int
    depth: int | None
    statistics: bool
    quiet: bool
    verbose: bool
    diff: bool = False
    fix_only: bool = False


class Answer(NamedTuple):
    """All that a check says; plain data, so that it can be said again.

    Attributes:
        shown: On standard output.
        written: Into the files that `--output` names, in their order.
        said: Lines on standard error.
    """

    shown: str
    written: tuple[str, ...]
    said: tuple[str, ...]
    exit_code: int

    @classmethod
    def of(cls, report: Report, manner: RenderOptions) -> Answer:
        """A report, put into words."""
        shown = partial(
            render,
            report,
            width=manner.width,
            depth=manner.depth,
            statistics=manner.statistics,
            quiet=manner.quiet,
        )
        said = [usage_error(text) for text in _remarks(report, manner)]
        if manner.verbose:
            said[:0] = (
                f"{target.name} printed:\n{target.trace.printed}"
                for target in report.targets
                if target.trace.printed
            )
        for defect in report.defects:
            said += (defect, usage_error(DEFECT))
        repairs = report.repairs
        if repairs is not None and (manner.diff or manner.fix_only):
            # Whether findings are left is not what was asked.
            code = int(manner.diff and bool(repairs.diff))
            code = report.exit_code if report.exit_code > 1 else code
            text = repairs.diff if manner.diff else ""
            written = (text,) * len(manner.files)
        else:
            code = report.exit_code
            text = shown("text" if manner.files else manner.format, color=manner.color)
            written = tuple(shown(format) for format in manner.files)
        return cls(text, written, tuple(said), code)

    def give(self, outputs: Sequence[Path]) -> None:
        """Say it.

        Raises:
            UsageError: A file cannot be written.
        """
        show(self.shown)
        unwritten = []
        for output, text in zip(outputs, self.written, strict=True):
            try:
                write(output, text, "--output")
            except UsageError as error:  # the other files are written all the same
                unwritten.append(str(error))
        for line in self.said:
            print(line, file=sys.stderr)
        if unwritten:
            raise UsageError("; ".join(unwritten))


def _remarks(report: Report, manner: RenderOptions) -> list[str]:
    """What is said of a report beside it."""
    remarks: list[str] = []
    repairs = report.repairs
    if repairs is not None and repairs.written and not manner.quiet:
        remarks += mended_text(repairs)
    if repairs is not None and (manner.diff or manner.fix_only):
        remarks.append(fixes_text(report))
    elif not manner.files and manner.format in WITHOUT_UNCHECKED:
        remarks += (f"not checked: {sentence}" for sentence in report.unchecked)
    if repairs is not None:
        remarks += repairs.untouched
    if report.baseline is not None and report.baseline.gone:
        remarks.append(_gone(report.baseline.gone))
    remarks += (f"not checked: {sentence}" for sentence in report.unreadable)
    return [*remarks, *report.usage_errors]


def _gone(count: int) -> str:
    """What is to be done about findings that are no more."""
    which = (
        "1 finding of the baseline is" if count == 1 else f"{count:,} findings of the baseline are"
    )
    return f"{which} gone: run --write-baseline to let the file shrink"
