"""`archcheck lock`: what the models are now becomes what was agreed on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from archcheck.core.config import Model, read_config
from archcheck.frontends.cli.options import Inputs, Timeout, Train, mode_of, overridden
from archcheck.frontends.cli.terminal import DEFECT, complain, show


def lock(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TARGET]…",
            help="The models to lock, file.py:Name; without any, those of the configuration.",
        ),
    ] = None,
    inputs: Inputs = None,
    train: Train = None,
    timeout: Timeout = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A checkpoint whose keys the model must keep loading."),
    ] = None,
) -> None:
    """Write the architectures of the models into archcheck.lock."""
    from archcheck.engine.compare.update import update_lock

    config, root = read_config(Path.cwd())
    config = overridden(config, timeout=timeout)
    asked = Model(
        "",
        inputs=tuple(inputs or ()),
        mode=mode_of(train),
        weights=weights,
    )
    update = update_lock(targets or (), config, asked, root)
    show("".join(f"{line}\n" for line in update.said))
    for sentence in (*update.failed, *update.usage_errors):
        complain(sentence)
    for defect in update.defects:
        print(defect, file=sys.stderr)
        complain(DEFECT)
    raise typer.Exit(update.exit_code)
