"""`archcheck annotate`: forward() with the shape of every value beside its line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from archcheck.core.config import Model, read_config
from archcheck.frontends.cli.options import Inputs, Timeout, overridden
from archcheck.frontends.cli.terminal import complain, show, wants_color


def annotate(
    target: Annotated[str, typer.Argument(help="file.py:Name, the model to trace.")],
    inputs: Inputs = None,
    train: Annotated[
        bool, typer.Option("--train/--eval", help="The mode that is traced (train).")
    ] = True,
    depth: Annotated[
        int | None,
        typer.Option(min=0, help="How many forwards deep to go (those of the model's file)."),
    ] = None,
    symbolic: Annotated[
        bool,
        typer.Option("--symbolic", help="Sizes as functions of the input's: [B, 64, H/2, W/2]."),
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Put the shapes into the file as comments.")
    ] = False,
    timeout: Timeout = None,
) -> None:
    """Show forward() with the shape of every value beside its line."""
    from archcheck.engine.annotate.run import annotated
    from archcheck.output import page_width
    from archcheck.output.annotated_source import render as render_annotation

    config, root = read_config(Path.cwd())
    asked = Model(target, tuple(inputs or ()), mode="train" if train else "eval", symbolic=symbolic)
    config = overridden(config, timeout=timeout)
    annotation, said = annotated(asked, config, root, depth=depth, write=write)
    show(render_annotation(annotation, color=wants_color(), width=page_width(None)))
    for sentence in said:
        complain(sentence)
    raise typer.Exit(int(annotation.failed))
