"""Imports that read some files from memory: the text that a fix would leave."""

from __future__ import annotations

import contextlib
import linecache
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType


@contextlib.contextmanager
def imports_read(buffers: Mapping[str, bytes]) -> Iterator[None]:
    """Import the files at these absolute paths from the bytes that are given for them."""
    texts = {os.path.realpath(path): data for path, data in buffers.items()}
    finder = _Finder(texts)
    if texts:
        sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)
        for path in finder.shown:
            linecache.cache.pop(path, None)


class _Finder:
    """Finds modules as Python does, and has those files read from memory."""

    def __init__(self, texts: Mapping[str, bytes]) -> None:
        self.texts = texts
        self.shown: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.origin is None or not isinstance(spec.loader, SourceFileLoader):
            return None
        data = self.texts.get(os.path.realpath(spec.origin))
        if data is None:
            return None
        spec.loader = _Loader(name, spec.origin, data)
        # Tracebacks and inspect.getsource must not show the text on the disk.
        with contextlib.suppress(ImportError):
            lines = (spec.loader.get_source(name) or "").splitlines(keepends=True)
            linecache.cache[spec.origin] = (len(data), None, lines, spec.origin)
            self.shown.add(spec.origin)
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, data: bytes) -> None:
        super().__init__(name, path)
        self._data = data

    def get_data(self, path: str) -> bytes:
        return self._data if path == self.path else super().get_data(path)

    def path_stats(self, path: str) -> Mapping[str, float]:
        # Without them, Python neither reads nor writes bytecode.
        raise OSError
