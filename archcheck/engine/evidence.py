"""The evidence of one target, as rules get it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from archcheck.core.config import Config, Model
from archcheck.core.discovery import source_files
from archcheck.core.target import UsageError
from archcheck.engine.session import Session
from archcheck.evidence.trace import Trace
from archcheck.python import Project, SourceFile
from archcheck.python.documents.read import read_document
from archcheck.python.text.document import DocumentError


def source_of(path: str, root: Path) -> SourceFile:
    """Return what source rules see of a file.

    Raises:
        UsageError: It cannot be read.
    """
    if Path(path).is_dir():
        raise UsageError(f"{path} is a folder: evidence is shown of one file, {path}/model.py")
    # Where there is no such file, this says so as every command does.
    list(source_files([Path(path)]))
    try:
        document = read_document(Path(path), shown=path)
    except DocumentError as error:
        raise UsageError(str(error)) from None
    return Project(root).add(document, Path(path).absolute())


def trace_of(model: Model, config: Config, root: Path) -> Trace:
    """Return what trace rules see of a model.

    Raises:
        UsageError: The target names no model, or cannot be served.
        WorkerDefect: archcheck failed on it.
    """
    bare = replace(config, select=(), extend_select=())
    with Session(bare, root) as session:
        (trace,) = session.trace(model).traces
    return trace
