"""The text of a target's file, as a slicer wants it."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from archcheck.core.discovery import meant_instead
from archcheck.core.target import Target, UsageError
from archcheck.python.documents.read import read_document
from archcheck.python.syntax.parse import parse
from archcheck.python.text.document import Document, DocumentError, SyntaxProblem
from archcheck.worker.slicing.units import ModuleUnits


@dataclass(frozen=True, eq=False, slots=True)
class ModuleSource:
    """A file, read and parsed.

    Attributes:
        path: Absolute.
        document: With its code as it is run: repaired where that was certain.
        problems: What was wrong with its syntax.
        complete: Nothing was left out of `tree`.
        buffers: The bytes of files that are read in the place of the disk's, by absolute path.
    """

    path: Path
    document: Document
    tree: ast.Module
    units: ModuleUnits
    problems: tuple[SyntaxProblem, ...]
    complete: bool
    buffers: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def is_document(self) -> bool:
        """Whether code blocks stand between other text, rather than being the whole file."""
        return self.document.kind != "python"

    def line_in_code(self, target: Target) -> int | None:
        return None if target.line is None else self.document.code_line(target.line)


def read_source(path: Path, buffers: Mapping[str, bytes]) -> ModuleSource:
    """Read and parse a file, or what is given in its place.

    Raises:
        UsageError: It is not there, or is no text.
    """
    data = buffers.get(str(path.absolute()))
    if data is None and not path.exists():
        raise UsageError(f"{path.as_posix()}: no such file{meant_instead(path)}")
    if path.is_dir():
        raise UsageError(f"{path.as_posix()} is a folder; name the file that the model is in")
    try:
        parsed = parse(read_document(path, data=data))
    except DocumentError as error:
        raise UsageError(str(error)) from None
    return ModuleSource(
        path.absolute(),
        parsed.document,
        parsed.tree,
        ModuleUnits(parsed.tree),
        parsed.problems,
        parsed.complete,
        buffers,
    )
