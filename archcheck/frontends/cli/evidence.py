"""`archcheck evidence`: what rules see of a target, for those who write rules."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from archcheck.core.config import Model, read_config
from archcheck.frontends.cli.options import Inputs, Timeout, overridden
from archcheck.frontends.cli.terminal import show


class EvidenceFormat(StrEnum):
    """As what evidence is shown."""

    TEXT = "text"
    JSON = "json"


def evidence(
    target: Annotated[
        str, typer.Argument(help="file.py for its source, file.py:Name for a trace.")
    ],
    inputs: Inputs = None,
    train: Annotated[
        bool, typer.Option("--train/--eval", help="The mode that is traced (train).")
    ] = True,
    format: Annotated[EvidenceFormat, typer.Option(help="As what it is shown.")] = (
        EvidenceFormat.TEXT
    ),
    timeout: Timeout = None,
) -> None:
    """Show what rules see: the SourceFile of a file, or the Trace of a model."""
    from archcheck.core.target import parse_target
    from archcheck.engine.evidence import source_of, trace_of
    from archcheck.output.evidence import render_source, render_trace

    config, root = read_config(Path.cwd())
    as_json = format is EvidenceFormat.JSON
    if parse_target(target) is None:
        show(render_source(source_of(target, root), as_json=as_json))
        return
    model = Model(target, tuple(inputs or ()), mode="train" if train else "eval")
    trace = trace_of(model, overridden(config, timeout=timeout), root)
    show(render_trace(trace, as_json=as_json))
    raise typer.Exit(int(bool(trace.failures) or not trace.complete))
