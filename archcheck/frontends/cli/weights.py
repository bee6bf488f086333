"""`archcheck weights`: what is in a checkpoint file. No tensor is read, and no pickle is run."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from archcheck.core.target import UsageError
from archcheck.frontends.cli.terminal import show, write


class Shown(StrEnum):
    """How the checkpoint is shown."""

    TEXT = "text"
    JSON = "json"


def weights(
    checkpoint: Annotated[
        str, typer.Argument(help="A checkpoint file, an index of several, or a folder with one.")
    ],
    format: Annotated[Shown, typer.Option(help="How to show it.")] = Shown.TEXT,
    output: Annotated[Path | None, typer.Option(help="Write it into this file.")] = None,
) -> None:
    """Show what is in a checkpoint: names, shapes, dtypes."""
    from archcheck.checkpoints import CheckpointError, read_checkpoint
    from archcheck.output.checkpoint import render_checkpoint, render_checkpoint_json

    try:
        found = read_checkpoint(checkpoint)
    except CheckpointError as error:
        raise UsageError(str(error)) from None
    text = (render_checkpoint if format is Shown.TEXT else render_checkpoint_json)(found)
    if output is None:
        show(text)
    else:
        write(output, text, "--output")
    raise typer.Exit(1 if found.problems else 0)
