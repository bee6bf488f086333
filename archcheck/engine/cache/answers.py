"""What archcheck remembers: the answer to a question, for as long as its facts hold.

In the key of every question are

- what the answer is made by: every file of archcheck and of the rule packs (their stamps), so that
  an edited rule or an upgrade asks anew; Python's version and prefix; where torch is, and its
  version; the system and its graphics drivers;
- the working directory, which paths are shown relative to, and the environment variables that
  Python and torch themselves listen to;
- the question itself: the target, its inputs, mode and limits, and the texts that stand in the
  place of files.

What else an answer came of is known only once it is there, and is kept beside it as facts
(`facts`): the files that were read, the variables, the folders. They are looked at whenever the
question is asked again. So there is one entry per question, and a project that goes to and fro
between two states asks anew each time. Of a source check, what came of each file is kept besides
(`files`), so that not all is read again where one file changed.

What a model draws by lot, or reads from the clock, is remembered as it came out. What it does to
other processes, the network or libraries of its own cannot be looked at again: what came of it is
not kept, and neither is a limit that was reached, or a crash.
"""

from __future__ import annotations

import io
import os
import struct
import sys
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from archcheck.core.dependencies import Dependencies
from archcheck.core.facts import DependencyRecorder, Filesystem, digest, stamp
from archcheck.core.rule import pack_folders
from archcheck.engine.cache.store import Store
from archcheck.worker.process.wire import EvidencePickler, EvidenceUnpickler

_LENGTH = struct.Struct("<Q")
_HEEDED = ("PYTHON", "TORCH", "PYTORCH", "CUDA", "OMP_", "MKL_")
_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dri")


class Memory:
    """The answers of one project.

    Args:
        root: The folder that the configuration is relative to: the cache lies in it.

    Attributes:
        notes: What the check that goes on comes of.
    """

    def __init__(self, root: Path) -> None:
        self._store = Store(root)
        self._store.prepare()
        self.begin()

    def begin(self) -> None:
        """Look at the world anew: a check begins."""
        self.notes = DependencyRecorder()
        self._world = Filesystem()
        # The lists of installed files that answers share, by their digest; None: one has changed.
        self._installed: dict[str, Mapping[str, str] | None] = {}

    @property
    def problem(self) -> str | None:
        """Why nothing can be kept, if that is so."""
        return self._store.problem

    def key(self, *question: object) -> str:
        """The name of a question, which must be data whose `repr` tells all of it."""
        return digest(self._makers, repr(question))

    def recall(self, key: str) -> tuple[Any, Dependencies] | None:
        """What was answered, and what that came of; None where it holds no longer."""
        body = self._store.read(key)
        if body is None:
            return None
        try:
            (length,) = _LENGTH.unpack_from(body)
            facts, installed = _loaded(body[_LENGTH.size :][:length])
            if not self._world.holds(facts) or not self._are_as_they_were(installed):
                return None
            value = _loaded(body[_LENGTH.size + length :])
        except Exception:
            # Whole, and yet no entry of ours: reading it may fail in any way.
            return None
        return value, Dependencies(frozenset(facts), facts, {}, self._installed[installed] or {})

    def keep(self, key: str, value: object, dependencies: Dependencies) -> None:
        """Keep an answer, unless what it came of cannot be seen, or changed meanwhile."""
        if self.problem is not None or any(fact[0] == "unseen" for fact in dependencies.facts):
            return
        world = Filesystem()
        facts = {fact: world.look(fact) for fact in dependencies.facts}
        if not world.holds(dependencies.answers) or not _are(dependencies.stamps):
            return
        items = sorted(dependencies.installed.items())
        installed = digest(*(text for item in items for text in item))
        if self._installed.get(installed) is None:
            if not _are(dependencies.installed):
                return
            self._installed[installed] = dependencies.installed
            self._store.write(installed, _dumped(dict(items)))
        head = _dumped((facts, installed))
        self._store.write(key, _LENGTH.pack(len(head)) + head + _dumped(value))

    def close(self) -> None:
        """Leave the folder in order."""
        self._store.trim()

    def _are_as_they_were(self, installed: str) -> bool:
        """Whether the files of a list of installed ones are; most answers share one list."""
        if installed not in self._installed:
            body = self._store.read(installed)
            stamps = None if body is None else _loaded(body)
            self._installed[installed] = stamps if stamps is not None and _are(stamps) else None
        return self._installed[installed] is not None

    @cached_property
    def _makers(self) -> str:
        heeded = {k: v for k, v in os.environ.items() if k.startswith(_HEEDED)}
        return repr(
            (
                *(stamp(path) for path in _own_files()),
                sys.version,
                sys.prefix,
                sys.executable,
                _torch(),
                (sys.platform, *(os.uname() if hasattr(os, "uname") else ())[4:]),
                [path for path in _DRIVERS if os.path.exists(path)],
                os.getcwd(),
                sorted(heeded.items()),
            )
        )


def _own_files() -> Iterable[str]:
    """The files of archcheck and of the rule packs."""
    here = str(Path(__file__).parents[2])
    for folder in dict.fromkeys((here, *(str(folder) for folder, _ in pack_folders()))):
        for place, folders, names in os.walk(folder):
            folders.sort()
            yield from (os.path.join(place, name) for name in sorted(names) if name.endswith(".py"))


def _torch() -> tuple[str, str] | None:
    """Where torch is, and when it was put there. It is not imported."""
    for folder in sys.path:
        version = os.path.join(folder, "torch", "version.py")
        if os.path.isfile(version):
            return version, stamp(version)
    return None


def _are(stamps: Mapping[str, str]) -> bool:
    return all(stamp(path) == then for path, then in stamps.items())


def _dumped(value: Any) -> bytes:
    held = io.BytesIO()
    EvidencePickler(held, protocol=5).dump(value)
    return held.getvalue()


def _loaded(data: bytes) -> Any:
    """What was kept: plain data and evidence, and nothing else, whoever wrote it."""
    return EvidenceUnpickler(io.BytesIO(data)).load()
