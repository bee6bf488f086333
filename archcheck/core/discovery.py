"""Which files a path stands for."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from archcheck.core.target import UsageError

SUFFIXES = (".py", ".md", ".markdown", ".ipynb")

# What a folder walk passes over even where no .gitignore says so. Names with a leading dot too.
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})


def source_files(
    places: Iterable[Path],
    exclude: Sequence[str] = (),
    root: Path | None = None,
    *,
    force: bool = False,
) -> Iterator[Path]:
    """The files to check below these places, each once, in a stable order.

    A file that is named is taken whatever its suffix. In a folder, Python files, Markdown
    documents and notebooks are taken, less what .gitignore files and `exclude` leave out; links
    to folders are not followed, so that a loop of links ends.

    Args:
        exclude: Patterns as in a .gitignore file that stands in `root`, by default in each place.
        force: Leave out files that are named, too.

    Raises:
        UsageError: A place does not exist.
    """
    seen: set[Path] = set()
    excluded = _matcher(exclude)
    for place in places:
        if place.is_dir():
            found: Iterable[Path] = _walk(place, excluded, root or place)
        elif place.exists():
            shut_out = force and excluded and excluded(_below(place, root or place.parent))
            found = () if shut_out else (place,)
        else:
            raise UsageError(f"{place}: no such file or folder{meant_instead(place)}")
        for path in found:
            key = Path(os.path.realpath(path))
            if key not in seen:
                seen.add(key)
                yield path


def meant_instead(place: Path) -> str:
    """`; did you mean …?` for a place that is not there, where one beside it has such a name."""
    from difflib import get_close_matches

    try:
        beside = [
            path.name
            for path in place.parent.iterdir()
            if path.name.endswith(SUFFIXES) or path.is_dir()
        ]
    except OSError:
        return ""
    near = get_close_matches(place.name, beside, n=1, cutoff=0.75)
    return f"; did you mean {place.with_name(near[0]).as_posix()}?" if near else ""


Matcher = Callable[[str], bool]


def _matcher(lines: Iterable[str]) -> Matcher | None:
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    if not lines:
        return None
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec.from_lines(lines).match_file


def _below(place: Path, root: Path) -> str:
    return os.path.relpath(place, root).replace(os.sep, "/")


def _walk(folder: Path, excluded: Matcher | None, base: Path) -> Iterator[Path]:
    # By the absolute folder that the patterns start from.
    ignores = {} if excluded is None else {os.path.abspath(base): [excluded]}
    for root, folders, files in os.walk(folder):
        here = os.path.abspath(root)
        if ".gitignore" in files:
            try:
                text = Path(root, ".gitignore").read_text(encoding="utf-8", errors="replace")
            except OSError:
                text = ""
            matcher = _matcher(text.splitlines())
            if matcher is not None:
                ignores.setdefault(here, []).append(matcher)

        def left_out(name: str, here: str = here) -> bool:
            path = os.path.join(here, name)
            # A pattern such as `build/` means folders only, so the slash at the end matters.
            slash = "/" if name.endswith("/") else ""
            return any(
                path.startswith(place + os.sep)
                and matcher(os.path.relpath(path, place).replace(os.sep, "/") + slash)
                for place, matchers in ignores.items()
                for matcher in matchers
            )

        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and name not in _SKIPPED and not left_out(name + "/")
        )
        for name in sorted(files):
            path = Path(root, name)
            if name.endswith(SUFFIXES) and not left_out(name) and not _may_never_end(path):
                yield path


def _may_never_end(path: Path) -> bool:
    """Whether reading it may wait for ever: it is a pipe, a socket or a device."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False  # whoever reads it says what is wrong
    return not stat.S_ISREG(mode)
