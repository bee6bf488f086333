"""`archcheck diff`: what changed in the models, against the lock file or between revisions."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from archcheck.core.config import Model, read_config
from archcheck.core.target import UsageError, parse_target
from archcheck.frontends.cli.options import Inputs, Timeout, Train, mode_of, overridden
from archcheck.frontends.cli.terminal import complain, show, wants_color, write
from archcheck.output.diff import FORMATS, render

DiffFormat = StrEnum("DiffFormat", {name: name for name in FORMATS})  # type: ignore[misc]
TEXT = DiffFormat("text")


def diff(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[REVISION|LOCKFILE] [TARGET]…",
            help="What to compare with: a lock file (archcheck.lock), a git revision, old..new, "
            "or old...new for what new has changed since the two diverged. Then the models, "
            "file.py:Name; without any, those of the configuration.",
        ),
    ] = None,
    inputs: Inputs = None,
    train: Train = None,
    format: Annotated[DiffFormat, typer.Option(help="How to show the difference.")] = TEXT,
    output: Annotated[
        Path | None,
        typer.Option(help="Write the difference into this file, and text to the terminal."),
    ] = None,
    timeout: Timeout = None,
) -> None:
    """Show what changed in the architectures of the models."""
    from archcheck.engine.compare.sides import difference

    config, root = read_config(Path.cwd())
    config = overridden(config, timeout=timeout)
    asked = Model(
        "",
        inputs=tuple(inputs or ()),
        mode=mode_of(train),
    )
    against, targets = _sorted_out(arguments or ())
    found = difference(against, targets, config, asked, root)
    if output is None:
        show(render(found, format.value, color=wants_color()))
    else:
        write(output, render(found, format.value), "--output")
        show(render(found, "text", color=wants_color()))
    for sentence in (*found.unknown, *found.usage_errors):
        complain(sentence)
    raise typer.Exit(found.exit_code)


def _sorted_out(arguments: list[str] | tuple[()]) -> tuple[str | None, list[str]]:
    """What to compare with, and the models."""
    targets = [text for text in arguments if parse_target(text) is not None]
    others = [text for text in arguments if text not in targets]
    if len(others) > 1:
        raise UsageError(
            f"`{others[0]}` and `{others[1]}`: name one revision or lock file to compare with; "
            f"two revisions are written `{others[0]}..{others[1]}`"
        )
    return next(iter(others), None), targets
