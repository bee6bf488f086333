"""What a target's code asks the world for: the facts that its trace holds under.

A worker serves several targets, and keeps the user's modules from one to the next. So what a module
asked for while it was imported, or in a function that may keep what it found, counts for all later
targets too; what only the target's own slice asked for, and archcheck for it, counts for this one.

Nobody can see what compiled code opens by itself. Of packages that are known to read files in that
way, or that nothing is known of, no trace is kept where the user's own code imports them.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import BuiltinFunctionType, FrameType, FunctionType, ModuleType
from typing import Any

from archcheck.core import facts
from archcheck.core.dependencies import Dependencies
from archcheck.core.facts import Fact, Filesystem, stamp
from archcheck.worker.sandbox.environment import folders_of
from archcheck.worker.sandbox.user_paths import is_users

# What happens out of sight: another process, the network, a library of somebody else's.
_UNSEEN = frozenset(
    (
        *("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn"),
        *("os.spawn", "os.startfile", "socket.connect", "socket.getaddrinfo", "socket.sendto"),
        *("socket.gethostbyname", "urllib.Request", "sqlite3.connect", "ctypes.dlopen"),
    )
)
_LISTINGS = ("os.listdir", "os.scandir")
# Compiled packages that open files through Python, or none at all.
_SEEN = frozenset(
    (
        *("torch", "functorch", "torchvision", "torchaudio", "numpy", "scipy", "PIL", "pandas"),
        *("sklearn", "yaml", "_yaml", "regex", "markupsafe", "fvcore", "triton", "flash_attn"),
        *("xformers", "mamba_ssm", "causal_conv1d", "einops", "transformers", "timm", "pydantic"),
    )
)
# The machine, not the project.
_MACHINE = ("/proc/", "/dev/", "/sys/")
_SUFFIXES = tuple(importlib.machinery.EXTENSION_SUFFIXES)


class Watch:
    """Notes what is asked for while a target is loaded and run."""

    def __init__(self, is_slice: Callable[[ModuleType], bool]) -> None:
        self._is_slice = is_slice
        self._records = False
        self._facts: set[Fact] = set()
        self._lasting: set[Fact] = set()
        self._opened: set[str] = set()
        # Everything is noted as it was when it was first seen.
        self._stamps: dict[str, str] = {}
        self._world = Filesystem()
        # What was imported since torch was, and what of it the user's own code asked for.
        self._imported: set[str] = set()
        self._wanted: set[str] = set()
        self._installed: dict[str, str] = {}
        sys.addaudithook(self._hear)
        for name in ("stat", "lstat", "access"):
            function = getattr(os, name)
            asking = self._asking(function)
            setattr(os, name, asking)
            for able in (
                os.supports_dir_fd,
                os.supports_effective_ids,
                os.supports_fd,
                os.supports_follow_symlinks,
            ):
                if function in able:
                    able.add(asking)
        for variables in (os.environ, getattr(os, "environb", None)):
            if variables is not None:
                variables.__class__ = _watched(type(variables), self._read_variable)

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        """Note what happens in this block, from none on."""
        self._facts.clear()
        self._opened.clear()
        self._records = True
        try:
            yield
        finally:
            self._records = False

    def opened_below(self, *folders: str | os.PathLike[str]) -> set[str]:
        """The files below these folders that were opened for reading, and are still there."""
        tops = tuple(os.path.realpath(folder) + os.sep for folder in folders)
        return {
            path
            for path in map(os.path.realpath, self._opened)
            if path.startswith(tops) and "__pycache__" not in path and os.path.isfile(path)
        }

    def dependencies(self, files: set[str], buffers: Mapping[str, bytes]) -> Dependencies:
        """What the trace of this target came of; to be asked before the search path is put back.

        Args:
            files: The user's files that it was made from.
            buffers: The files whose text was given: what is on the disk in their place is nothing
                to it.
        """
        records, self._records = self._records, False
        asked = {*self._facts, *self._lasting, *(("content", path) for path in files)}
        asked |= {("modules", folder, names) for folder, names in self._lookups()}
        asked |= {("unseen", name) for name in self._unknown_packages()}
        given = {os.path.realpath(path) for path in buffers}
        asked = {fact for fact in asked if len(fact) < 2 or os.path.realpath(fact[1]) not in given}
        for module in list(sys.modules.values()):
            path = getattr(module, "__file__", None)
            if isinstance(path, str) and path not in self._installed and not is_users(path):
                self._installed[path] = self._stamps.get(path) or stamp(path)
        answers = {fact: self._world.look(fact) for fact in asked if fact[0] == "modules"}
        paths = {fact[1] for fact in asked if fact[0] in ("content", "entries")}
        stamps = {path: self._seen(path) for path in paths}
        self._records = records
        return Dependencies(frozenset(asked), answers, stamps, dict(self._installed))

    def _seen(self, path: str) -> str:
        """The stamp of a file or folder when it was first seen."""
        if path not in self._stamps:
            self._stamps[path] = stamp(path)
        return self._stamps[path]

    def _note(self, fact: Fact, frame: FrameType | None) -> None:
        self._facts.add(fact)
        if fact not in self._lasting and self._outlives(frame):
            self._lasting.add(fact)

    def _outlives(self, frame: FrameType | None) -> bool:
        """Whether somebody asks who is there for later targets too."""
        asker = _nearest(frame)
        if asker is not None and _kind(asker.f_code.co_filename) == "installed":
            return True
        while frame is not None:
            if _kind(frame.f_code.co_filename) == "user":
                module = sys.modules.get(frame.f_globals.get("__name__", ""))
                if module is not None and not self._is_slice(module):
                    return True
            frame = frame.f_back
        return False

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "import":
            self._hear_import(arguments[0])
        elif event == "open":
            self._hear_opening(*arguments)
        elif self._records and event in _LISTINGS:
            frame = sys._getframe(1)
            if not frame.f_code.co_filename.startswith(("<frozen importlib", _OWN)):
                self._note_path("entries", arguments[0], frame)
        elif self._records and event in _UNSEEN:
            self._note(("unseen", event), sys._getframe(1))

    def _hear_import(self, name: str) -> None:
        self._imported.add(name)
        if self._records:
            asker = _nearest(sys._getframe(2))
            if asker is not None and _kind(asker.f_code.co_filename) == "user":
                self._wanted.add(name.partition(".")[0])
            for folder in sys.path:
                self._world.entries(os.path.abspath(folder))

    def _hear_opening(self, path: Any, mode: Any, flags: Any) -> None:
        reads = "r" in mode if isinstance(mode, str) else not (flags or 0) & os.O_WRONLY
        if not isinstance(path, str | bytes | os.PathLike) or not reads:
            return
        file = os.path.abspath(os.fsdecode(path))
        if "__pycache__" in file:
            with contextlib.suppress(ValueError, NotImplementedError):
                file = importlib.util.source_from_cache(file)
        if self._records:
            self._opened.add(file)
            self._note_path("content", file, sys._getframe(2))
        elif _kind(file) == "user":
            self._seen(file)

    def _asking(self, function: Any) -> Any:
        """`os.stat` or one of its kind, noting what it is asked."""
        follows_links = function is os.stat

        def asking(path: Any, *arguments: Any, **keywords: Any) -> Any:
            if self._records and isinstance(path, str | bytes | os.PathLike):
                frame = sys._getframe(1)
                asker = _nearest(frame)
                if asker is not None and _kind(asker.f_code.co_filename) != "archcheck":
                    # They may look at the time and the length, too.
                    self._note_path("content", path, frame)
                elif follows_links and frame.f_code.co_filename != _LOOKING:
                    self._note_path("kind", path, frame)
            return function(path, *arguments, **keywords)

        return asking

    def _note_path(self, kind: str, path: Any, frame: FrameType) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        place = os.path.abspath(os.fsdecode(path))
        if place.startswith(_MACHINE):
            return
        if kind == "content" and _kind(place) == "installed":
            kind = "stamp"
        if kind != "kind":
            self._seen(place)
        self._note((kind, place), frame)

    def _read_variable(self, name: str | None) -> None:
        if self._records:
            frame = sys._getframe(2)
            asker = _nearest(frame)
            if asker is None or _kind(asker.f_code.co_filename) != "archcheck":
                self._note(("environment",) if name is None else ("variable", name), frame)

    def _lookups(self) -> Iterator[tuple[str, str]]:
        """The folders in which imports may find something, with the names that they look for."""
        first = " ".join(sorted({name.partition(".")[0] for name in self._imported}))
        for folder in dict.fromkeys(map(os.path.abspath, sys.path)):
            yield folder, first
        for name, module in list(sys.modules.items()):
            folders = [path for path in folders_of(module) if is_users(os.path.join(path, "x.py"))]
            if folders:
                below = {
                    other.removeprefix(f"{name}.").partition(".")[0]
                    for other in self._imported
                    if other.startswith(f"{name}.")
                }
                for folder in folders:
                    yield os.path.abspath(folder), " ".join(sorted(below))

    def _unknown_packages(self) -> Iterator[str]:
        """The compiled packages that the user's own modules use, and nothing is known of."""
        loaded = [
            (name.partition(".")[0], module, getattr(module, "__file__", None))
            for name, module in list(sys.modules.items())
        ]
        used = set(self._wanted)
        for _, module, file in loaded:
            if isinstance(file, str) and is_users(file):
                used.update(map(_origin, vars(module).values()))
        compiled = {top for top, _, file in loaded if str(file).endswith(_SUFFIXES)}
        return iter(sorted(used & compiled - _SEEN - sys.stdlib_module_names))


def _watched(kind: Any, note: Callable[[str | None], None]) -> Any:
    """The class of the environment, noting which variables are read."""

    class Watched(kind):  # type: ignore[misc]
        def __getitem__(self, key: Any) -> Any:
            note(os.fsdecode(key) if isinstance(key, str | bytes) else None)
            return super().__getitem__(key)

        def __iter__(self) -> Any:
            note(None)
            return super().__iter__()

    return Watched


def _origin(value: object) -> str:
    """The package that a module, class or function comes from."""
    name: object = ""
    if isinstance(value, ModuleType):
        name = value.__name__
    elif isinstance(value, type | FunctionType | BuiltinFunctionType):
        name = value.__module__
    return name.partition(".")[0] if isinstance(name, str) else ""


def _nearest(frame: FrameType | None) -> FrameType | None:
    """The innermost frame of code that is no part of Python."""
    while frame is not None and _kind(frame.f_code.co_filename) == "python":
        frame = frame.f_back
    return frame


# What looks at the world on behalf of this watch.
_LOOKING = facts.__file__
_OWN = str(Path(__file__).absolute().parents[2]) + os.sep
_PYTHON = os.path.dirname(os.__file__) + os.sep


@cache
def _kind(path: str) -> str:
    """Whose file it is: `user`, `installed`, `python` or `archcheck`."""
    if path.startswith(_OWN):
        return "archcheck"
    if path.startswith("<") or (path.startswith(_PYTHON) and "-packages" not in path):
        return "python"
    return "user" if is_users(path) else "installed"
