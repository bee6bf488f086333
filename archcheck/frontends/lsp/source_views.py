"""One look at an open document from its source: what the editor shows without running anything."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from archcheck.engine.baseline import Baseline
from archcheck.engine.checker import CheckResult
from archcheck.engine.session import Session
from archcheck.frontends.lsp.documents import OpenDocument
from archcheck.python.syntax.parse import Parse, parse
from archcheck.python.text.document import Document


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
    session = Session.of(Path(os.path.abspath(path)).parent)
    buffers = {opened.path: opened.data for opened in documents.values()}
    known = session.baseline()
    examined = session.look([Path(path)], buffers=buffers, parse=parse)
    return Look(documents[path], documents, examined, known)
