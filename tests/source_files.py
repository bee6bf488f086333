"""Source files written in a test."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from archcheck.python import Project, SourceFile
from archcheck.python.documents.read import read_document

HEAD = """\
import torch
import torch.nn as nn
import torch.nn.functional as F
"""


def source(text: str, *, head: str = HEAD, name: str = "model.py") -> SourceFile:
    """A file that exists nowhere, in a project without other files."""
    place = Path("/nowhere/at/all") / name
    data = (head + dedent(text)).encode()
    project = Project(place.parent)
    return project.add(read_document(place, shown=name, data=data), place)


def project_of(folder: Path, files: dict[str, str]) -> Project:
    """A project of files in a folder."""
    for name, text in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(dedent(text), encoding="utf-8")
    return Project(folder)
