"""The checkpoints that a check is about: the one of `--weights`, and those that the code loads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archcheck.core.facts import DependencyRecorder
    from archcheck.evidence.checkpoint import Checkpoint, LoadInSource
    from archcheck.evidence.request import Request
    from archcheck.evidence.trace import Trace
    from archcheck.python import Project, SourceFile


def with_checkpoint(request: Request, path: str, notes: DependencyRecorder | None) -> Request:
    """Return the request with the checkpoint, or with why there is none."""
    checkpoint, error = _read(path, notes)
    return replace(request, checkpoint=checkpoint, checkpoint_error=error)


def with_loads(
    request: Request, trace: Trace, project: Project, notes: DependencyRecorder | None
) -> Request:
    """Return the request with the files that the target's own file loads into the model."""
    from archcheck.python.text.document import DocumentError

    try:
        file = project.file(trace.path)
        if not any("load_state_dict" in line for line in file.lines):
            return request
        loads = tuple(_loads(file, trace, project, notes))
    except (DocumentError, OSError):
        return request
    return replace(request, loads=loads)


def _loads(
    file: SourceFile, trace: Trace, project: Project, notes: DependencyRecorder | None
) -> Iterator[LoadInSource]:
    from archcheck.analysis.state_dicts.loads_in_source import loads_in
    from archcheck.evidence.checkpoint import LoadInSource

    root = trace.module("")
    for load in loads_in(file):
        if root is None or load.model != root.type:
            continue
        # A script is run from the project's folder, or from its own.
        for folder in (project.root, os.path.dirname(os.path.abspath(trace.path))):
            path = os.path.join(folder, load.path)
            if notes is not None:
                notes.add("content", os.path.abspath(path))
            if os.path.isfile(path):
                checkpoint, error = _read(os.path.relpath(path), notes)
                yield LoadInSource(load.location, load.keys, load.strict, checkpoint, error)
                break


def _read(path: str, notes: DependencyRecorder | None) -> tuple[Checkpoint | None, str | None]:
    from archcheck.checkpoints import CheckpointError, read_checkpoint

    if notes is not None and os.path.isfile(path) and not path.endswith(".json"):
        notes.add("content", os.path.abspath(path))
    elif notes is not None:
        notes.include_unseen("the files of a checkpoint")
    try:
        return read_checkpoint(path), None
    except CheckpointError as error:
        return None, str(error)
