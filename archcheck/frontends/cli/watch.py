"""`archcheck check --watch`: check again whenever a file changes, and show what changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from archcheck.core.discovery import SUFFIXES
from archcheck.core.report import Report
from archcheck.core.target import UsageError, parse_target
from archcheck.frontends.cli.terminal import complain, show, wants_color
from archcheck.output import Options, page_width, render
from archcheck.worker.process.client import Workers

Look = Callable[[Workers], Report]

# In milliseconds.
_GLANCE = 500


def watch(look: Look, targets: Sequence[str], root: Path, depth: int | None, quiet: bool) -> None:
    """Show a report, and from then on what changes in it; until it is interrupted.

    Args:
        look: Checks everything, by the settings as they are then, with a worker that is kept.
        targets: What is checked; nothing stands for what the configuration names.
        root: The folder that the configuration is relative to.

    Raises:
        UsageError: watchfiles is not installed, or the first check cannot be made.
        KeyboardInterrupt: The user has seen enough.
    """
    try:
        from watchfiles import PythonFilter
        from watchfiles import watch as changes_in
    except ModuleNotFoundError:
        raise UsageError("--watch needs watchfiles: pip install 'archcheck-torch[lsp]'") from None
    # What a terminal shows is drawn anew each time, so rich is wanted anyway.
    from archcheck.output.changes import render_changes

    options = Options(wants_color(), page_width(None), depth, quiet=quiet)
    with Workers() as workers:
        before = look(workers)
        _tell(before)
        show(render(before, "text", color=options.color, depth=depth, quiet=quiet))
        wanted = PythonFilter(extra_extensions=(*SUFFIXES, ".toml"))
        folders = _folders(targets, before, root)
        # It watches from the first time on that it is asked, and says when that is over.
        noticed = changes_in(
            *folders, watch_filter=wanted, rust_timeout=_GLANCE, yield_on_timeout=True
        )
        next(noticed)
        complain(f"watching {', '.join(folders)}; Ctrl-C ends it")
        for changes in noticed:
            if not changes:
                continue
            paths = sorted({os.path.relpath(path) for _, path in changes})
            try:
                after = look(workers)
            except UsageError as error:
                complain(str(error))
                continue
            _tell(after)
            if after != before:
                show(f"\n{', '.join(paths)}:\n{render_changes(before, after, options)}")
            before = after


def _folders(targets: Sequence[str], report: Report, root: Path) -> list[str]:
    """The folders that everything lies in which a check depends on; none lies in another."""
    places = {os.path.abspath(place) for place in _places(targets, report, root)}
    folders = {place if os.path.isdir(place) else os.path.dirname(place) for place in places}
    outermost = [
        folder
        for folder in folders
        if not any(folder.startswith(other.rstrip(os.sep) + os.sep) for other in folders)
    ]
    return sorted(map(os.path.relpath, outermost))


def _places(targets: Sequence[str], report: Report, root: Path) -> Iterable[str]:
    for text in targets:
        target = parse_target(text)
        if target is None:
            yield text
        elif target.is_file:
            yield target.place
    if not targets:
        yield str(root)
    for traced in report.targets:
        yield from (file for file in (*traced.trace.files, traced.trace.path) if file)


def _tell(report: Report) -> None:
    for sentence in (*report.usage_errors, *report.defects):
        complain(sentence)
