"""Which folders a check depends on, and what changes in them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from archcheck.core.discovery import SUFFIXES
from archcheck.core.report import Report
from archcheck.core.target import UsageError, parse_target

# In milliseconds.
_GLANCE = 500


def require_watchfiles() -> None:
    """Refuse to watch without the library that does so.

    Raises:
        UsageError: watchfiles is not installed.
    """
    try:
        import watchfiles  # noqa: F401
    except ModuleNotFoundError:
        raise UsageError("--watch needs watchfiles: pip install 'archcheck-torch[lsp]'") from None


def changes_in(folders: Sequence[str]) -> Iterator[list[str]]:
    """Watch folders from this call on, and yield the files that change together, by path."""
    from watchfiles import PythonFilter, watch

    wanted = PythonFilter(extra_extensions=(*SUFFIXES, ".toml"))
    # It watches from the first time on that it is asked, and says when that is over.
    noticed = watch(*folders, watch_filter=wanted, rust_timeout=_GLANCE, yield_on_timeout=True)
    next(noticed)
    return (sorted({os.path.relpath(path) for _, path in seen}) for seen in noticed if seen)


def watched_folders(targets: Sequence[str], report: Report, root: Path) -> list[str]:
    """Return the folders that all lies in which a check depends on; none lies in another.

    Args:
        targets: What is checked; nothing stands for what the configuration names.
        root: The folder that the configuration is relative to.
    """
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
