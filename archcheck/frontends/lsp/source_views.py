"""One look at an open document from its source: what the editor shows without running anything."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from archcheck.core.config import read_config
from archcheck.core.rule import load_rules
from archcheck.engine.baseline import Baseline
from archcheck.engine.checker import Checker, CheckResult
from archcheck.engine.selection import Selection
from archcheck.frontends.lsp.documents import OpenDocument
from archcheck.python.syntax.parse import Parse, parse
from archcheck.python.text.document import Document
from archcheck.worker.process.client import Workers


@dataclass(frozen=True)
class Look:
    """What was seen of a document.

    Attributes:
        documents: All that was open then, by path.
        baseline: The findings that are let stand.
    """

    opened: OpenDocument
    documents: Mapping[str, OpenDocument]
    examined: CheckResult
    baseline: Baseline | None = None

    @property
    def document(self) -> Document:
        return self.examined.project.file(self.opened.path).document


def look(path: str, documents: Mapping[str, OpenDocument], parse: Parse = parse) -> Look:
    """Run the source rules over an open document.

    Args:
        parse: What parses it, and the files that it imports.

    Raises:
        UsageError: The configuration, or the baseline that it names, is wrong.
        DocumentError: The document cannot be read.
    """
    config, root = read_config(Path(os.path.abspath(path)).parent)
    selection = Selection.of(load_rules(), config)
    buffers = {opened.path: opened.data for opened in documents.values()}
    known = Baseline.read(root / config.baseline) if config.baseline is not None else None
    with Workers() as workers:
        checker = Checker([Path(path)], [], config, workers, root, parse=parse)
        return Look(documents[path], documents, checker.examine(selection, buffers), known)
