"""`archcheck init`: look at a project, and propose its configuration."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from archcheck.frontends.cli.terminal import complain, show


def init(
    yes: Annotated[bool, typer.Option("--yes", help="Write it without asking.")] = False,
) -> None:
    """Propose a [tool.archcheck] section for pyproject.toml, and write it if you agree."""
    from archcheck.core.atomic_write import write_whole
    from archcheck.engine.init.propose import propose

    proposal = propose(Path.cwd())
    show(proposal.diff)
    for sentence in proposal.said:
        complain(sentence)
    if not yes:
        if not sys.stdin.isatty():
            complain("nothing is written: `archcheck init --yes` does it")
            return
        if not typer.confirm(f"Write this into {proposal.path}?", default=True, err=True):
            return
    write_whole(proposal.path, proposal.text.encode())
    complain(f"{proposal.path} is written: `archcheck` checks what it names")
