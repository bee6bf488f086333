"""Which files are the user's own, and how their paths are shown."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from archcheck.core.finding import Location
from archcheck.evidence.records import Frame
from archcheck.evidence.trace import Trace

_ARCHCHECK = os.path.realpath(Path(__file__).absolute().parents[2])


@cache
def _installed_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders.update(os.path.join(entry) for entry in sys.path if "site-packages" in entry and entry)
    return tuple({os.path.realpath(folder) + os.sep for folder in folders} | {_ARCHCHECK + os.sep})


@cache
def is_users(path: str) -> bool:
    """Whether a code object's file is the user's own: no installed package, no part of Python."""
    if path.startswith("<") or not path:
        return False
    parts = path.replace("\\", "/").split("/")
    if "site-packages" in parts or "dist-packages" in parts:
        return False
    return not os.path.realpath(path).startswith(_installed_folders())


def among(package: str) -> Callable[[str], bool]:
    """Like `is_users`, but everything in this folder counts as the user's too.

    A model that is checked as `package.module:Name` may be installed.
    """
    folder = os.path.realpath(package) + os.sep

    def belongs(path: str) -> bool:
        return is_users(path) or os.path.realpath(path).startswith(folder)

    return cache(belongs)


def shown(path: str | Path, start: str | Path) -> str:
    """The path relative to the working directory, with `/`; unchanged where it lies elsewhere."""
    absolute = os.path.abspath(os.path.join(start, path))
    inside = os.path.abspath(start) + os.sep
    if absolute.startswith(inside):
        return absolute[len(inside) :].replace(os.sep, "/")
    return absolute.replace(os.sep, "/")


def relocated(trace: Trace, show: Callable[[str], str]) -> Trace:
    """The trace with the paths of all its places as they are shown."""
    known: dict[Location, Location] = {}

    def of(place: Location | None) -> Location | None:
        if place is None:
            return None
        if place not in known:
            known[place] = replace(place, path=show(place.path))
        return known[place]

    def frame(one: Frame) -> Frame:
        return replace(one, location=of(one.location) or one.location)

    return replace(
        trace,
        path=show(trace.path) if trace.path else trace.path,
        modules=tuple(
            replace(m, constructed=of(m.constructed), defined=of(m.defined), forward=of(m.forward))
            for m in trace.modules
        ),
        calls=tuple(replace(call, location=of(call.location)) for call in trace.calls),
        ops=tuple(replace(op, location=of(op.location)) for op in trace.ops),
        lines=tuple(
            replace(line, location=of(line.location) or line.location) for line in trace.lines
        ),
        size_names=tuple(
            replace(name, location=of(name.location) or name.location) for name in trace.size_names
        ),
        failures=tuple(
            replace(f, location=of(f.location), frames=tuple(map(frame, f.frames)))
            for f in trace.failures
        ),
        probe=trace.probe.relocated(of) if trace.probe is not None else None,
    )
