"""What options of the command line mean, for the commands that share them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Any, TypeAlias, TypeVar

import typer

from archcheck.core.config import LOSSES, Config, Mode
from archcheck.core.target import UsageError
from archcheck.output import FORMATS

T = TypeVar("T")

Format = StrEnum("Format", {name: name for name in FORMATS})  # type: ignore[misc]
TEXT = Format("text")
Loss = StrEnum("Loss", {name: name for name in LOSSES})  # type: ignore[misc]

Inputs: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--input", help="The shape of one of forward's arguments: 8,3,224,224."),
]
Train: TypeAlias = Annotated[
    bool | None, typer.Option("--train/--eval", help="The mode that is traced (train).")
]
Timeout: TypeAlias = Annotated[
    float | None, typer.Option(help="Seconds that loading and tracing a model may take.")
]


class Import(StrEnum):
    """How much of a target's file runs."""

    SLICE = "slice"
    WHOLE = "whole"


def mode_of(train: bool | None) -> Mode | None:
    """The mode of `--train` or `--eval`; None leaves it to the configuration."""
    return None if train is None else "train" if train else "eval"


def codes(text: str | None) -> tuple[str, ...]:
    """The rules of a list such as `AC201,AC5`, in whatever case they are typed."""
    return tuple(code for code in (text or "").upper().replace(" ", "").split(",") if code)


def read(reader: Callable[[str], T], option: str, text: str | None) -> T | None:
    """Read an option's text; the reader's complaint becomes one line about this option.

    Raises:
        UsageError: The reader cannot read it.
    """
    if text is None:
        return None
    try:
        return reader(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def overridden(config: Config, **values: Any) -> Config:
    """The configuration, but for what the command line says: all values that are not None.

    Raises:
        UsageError: The time that is given is none.
    """
    timeout = values.get("timeout")
    if timeout is not None and not timeout > 0:
        raise UsageError("--timeout: must be a positive number of seconds")
    return replace(config, **{key: value for key, value in values.items() if value is not None})
