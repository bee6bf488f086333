"""Which files of a project a file is made of."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from archcheck.python.file import SourceFile


def dependencies(file: SourceFile) -> frozenset[Path]:
    """The places of a file and of every file of its project that it imports, directly or not.

    Packages' own files count, and imports within functions. An import whose name is computed is
    not seen.
    """
    found = {file.place}
    waiting = [file]
    while waiting:
        for imported in _imported(waiting.pop()):
            if imported.place not in found:
                found.add(imported.place)
                waiting.append(imported)
    return frozenset(found)


def _imported(file: SourceFile) -> Iterator[SourceFile]:
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Import):
            names, level = [alias.name for alias in node.names], 0
        elif isinstance(node, ast.ImportFrom):
            prefix = f"{node.module}." if node.module else ""
            names, level = [prefix + alias.name for alias in node.names], node.level
        else:
            continue
        for name in names:
            parts = name.split(".")
            # Importing a module runs the packages that it lies in.
            for length in range(0 if level else 1, len(parts) + 1):
                found = file.project.find(".".join(parts[:length]), file, level)
                if found is not None:
                    yield found[0]
