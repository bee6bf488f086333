"""`archcheck check --watch`: check again whenever a file changes, and show what changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from archcheck.core.report import Report
from archcheck.core.target import UsageError
from archcheck.engine.watch import changes_in, require_watchfiles, watched_folders
from archcheck.frontends.cli.terminal import complain, show, wants_color
from archcheck.output import Options, page_width, render


def watch(
    look: Callable[[], Report],
    targets: Sequence[str],
    root: Path,
    depth: int | None,
    quiet: bool,
) -> None:
    """Show a report, and from then on what changes in it; until it is interrupted.

    Args:
        look: Checks everything, by the settings as they are then.
        targets: What is checked; nothing stands for what the configuration names.
        root: The folder that the configuration is relative to.

    Raises:
        UsageError: watchfiles is not installed, or the first check cannot be made.
        KeyboardInterrupt: The user has seen enough.
    """
    require_watchfiles()
    # What a terminal shows is drawn anew each time, so rich is wanted anyway.
    from archcheck.output.changes import render_changes

    options = Options(wants_color(), page_width(None), depth, quiet=quiet)
    before = look()
    _tell(before)
    show(render(before, "text", color=options.color, depth=depth, quiet=quiet))
    folders = watched_folders(targets, before, root)
    changes = changes_in(folders)
    complain(f"watching {', '.join(folders)}; Ctrl-C ends it")
    for paths in changes:
        try:
            after = look()
        except UsageError as error:
            complain(str(error))
            continue
        _tell(after)
        if after != before:
            show(f"\n{', '.join(paths)}:\n{render_changes(before, after, options)}")
        before = after


def _tell(report: Report) -> None:
    for sentence in (*report.usage_errors, *report.defects):
        complain(sentence)
