"""The documents that the editor has open, as it has them: files, and notebooks in cells."""

from __future__ import annotations

import io
import json
import os
import re
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from lsprotocol import types
from pygls.uris import from_fs_path, to_fs_path
from pygls.workspace import Workspace

from archcheck.core.discovery import SUFFIXES

# The lines of the protocol and of Python, and no others: str.splitlines knows more.
_LINE_END = re.compile(r"\r\n|\r|\n")
# A line with its end.
LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_SUFFIX_OF_LANGUAGE: Mapping[str, str] = {"python": ".py", "markdown": ".md"}


@dataclass(frozen=True)
class Part:
    """A text that the editor counts positions in: a file, or one cell of a notebook.

    Attributes:
        cell: The cell's number in its notebook, from 1.
    """

    uri: str
    text: str
    cell: int | None = None
    version: int | None = None

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """Without their ends."""
        return tuple(_LINE_END.split(self.text))


@dataclass(frozen=True)
class OpenDocument:
    """A document at one moment.

    Attributes:
        path: As findings carry it: relative to the working directory where it is below that.
        parts: The file, or the code cells of the notebook.
        data: The bytes that the file would have if it were saved now.
    """

    uri: str
    path: str
    parts: tuple[Part, ...]
    data: bytes

    @property
    def versions(self) -> tuple[tuple[str, int | None], ...]:
        """What tells one moment from another."""
        return tuple((part.uri, part.version) for part in self.parts)

    @cached_property
    def is_saved(self) -> bool:
        """Whether the disk has the same bytes."""
        try:
            return Path(self.path).read_bytes() == self.data
        except OSError:
            return False


def open_documents(workspace: Workspace) -> dict[str, OpenDocument]:
    """What is open and can hold Python code, by path."""
    found = (*_notebooks(workspace), *_files(workspace))
    return {document.path: document for document in found}


def document_uri(uri: str, workspace: Workspace) -> str:
    """The document that a text belongs to: itself, or the notebook whose cell it is."""
    notebook = workspace.get_notebook_document(cell_uri=uri)
    return uri if notebook is None else notebook.uri


def shown_path(uri: str, language: str | None = None) -> str:
    """The path of a document, as findings carry it; of one without a file, a name for it."""
    place = to_fs_path(uri) if urlsplit(uri).scheme == "file" else None
    if place is None:
        name = PurePosixPath(unquote(urlsplit(uri).path)).name or "untitled"
        suffix = _SUFFIX_OF_LANGUAGE.get(language or "", "")
        return name if name.endswith(SUFFIXES) else name + suffix
    real, here = os.path.realpath(place), os.getcwd()
    return Path(os.path.relpath(real, here) if real.startswith(here + os.sep) else real).as_posix()


def uri_of(path: str) -> str:
    """The URI of a file that is not open."""
    return from_fs_path(os.path.abspath(path)) or ""


def _files(workspace: Workspace) -> Iterator[OpenDocument]:
    for text in workspace.text_documents.values():
        if workspace.get_notebook_document(cell_uri=text.uri) is not None:
            continue
        path = shown_path(text.uri, text.language_id)
        if path.endswith(SUFFIXES) or text.language_id in _SUFFIX_OF_LANGUAGE:
            part = Part(text.uri, text.source, version=text.version)
            yield OpenDocument(text.uri, path, (part,), _encoded(part.text))


def _notebooks(workspace: Workspace) -> Iterator[OpenDocument]:
    for notebook in workspace.notebook_documents.values():
        cells: list[dict[str, Any]] = []
        parts: list[Part] = []
        for number, cell in enumerate(notebook.cells, start=1):
            text = workspace.text_documents.get(unquote(cell.document))
            is_code = cell.kind == types.NotebookCellKind.Code and text is not None
            if text is not None and is_code and text.language_id in (None, "python"):
                parts.append(Part(cell.document, text.source, number, text.version))
                cells.append({"cell_type": "code", "source": text.source})
            else:
                cells.append({"cell_type": "raw", "source": ""})
        data = json.dumps({"cells": cells, "nbformat": 4}, ensure_ascii=False)
        path = shown_path(notebook.uri)
        if not path.endswith(".ipynb"):
            path += ".ipynb"
        yield OpenDocument(notebook.uri, path, tuple(parts), data.encode("utf-8", "replace"))


def _encoded(text: str) -> bytes:
    """The text in the encoding that it declares, which is what reads it back."""
    head = text[:4096].encode("utf-8", "replace")
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(head).readline)
        return text.encode(encoding)
    except (SyntaxError, UnicodeEncodeError):
        return text.encode("utf-8", "replace")
