"""What the user asks for on the command line: targets and inputs, as text and as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias


class UsageError(Exception):
    """The call itself is wrong. The text is one line: what is wrong, and how to mend it."""


Size: TypeAlias = int | str  # a letter leaves the size free


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One `--input`: a tensor, or a list of them where forward wants one."""

    shapes: tuple[tuple[Size, ...], ...]
    dtype: str | None = None
    name: str | None = None
    nested: bool = False  # written in brackets: a list of tensors


@dataclass(frozen=True, slots=True)
class Target:
    """A model to trace: `path/to/file.py:Name(…)`, `notes.md:331:Name`, `package.module:Name`.

    Attributes:
        text: As the user wrote it.
        place: The file's path or the module's dotted name.
        is_file: Which of the two.
        name: The (dotted) name in it.
        call: The source text of the call's arguments, None where the target is no call.
        line: Take the definition at or after this line.
    """

    text: str
    place: str
    is_file: bool
    name: str
    call: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """Everything that a worker needs to know to make one `Trace`; plain data, and a cache key."""

    target: Target
    inputs: tuple[InputSpec, ...] = ()
    mode: Literal["train", "eval"] = "train"
    timeout: float = 60.0
    memory_limit: int | None = None  # bytes; None: 80 % of what is free
    import_whole: bool = False
    find_sizes: bool = True
    options: Mapping[str, str] = field(default_factory=dict)
