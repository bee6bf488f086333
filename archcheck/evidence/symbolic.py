"""The sizes of a pass's values as functions of the sizes of its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from archcheck.evidence.sizes import Size


@dataclass(frozen=True, slots=True)
class FreeSize:
    """A size of an input that may vary, or several that vary together.

    Attributes:
        key: What it is called in expressions; see `named` for what readers call it.
        axes: (value, dimension) of the inputs that have it.
        traced: What it was in the pass.
        multiple_of: The pass takes the same way where it is a multiple of this.
        letter: The user named it so.
    """

    key: str
    axes: tuple[tuple[int, int], ...]
    traced: int
    multiple_of: int = 1
    letter: bool = False


@dataclass(frozen=True)
class SymbolicShapes:
    """The shapes of a pass's values over its free sizes.

    Each expression was compared with passes at other sizes: it held in all of them.

    Attributes:
        free: The sizes that may vary, in the order of the inputs.
        shapes: Of each value that depends on one. None stands for a size that varies, and no
            expression tells how; the number that it was is in the value's own shape.
        passes: The sizes of the passes that it was compared with, in the order of `free`.
        reason: Why nothing is free, where a model was asked and nothing is.
    """

    free: tuple[FreeSize, ...] = ()
    shapes: Mapping[int, tuple[Size | None, ...]] = field(default_factory=dict)
    passes: tuple[tuple[int, ...], ...] = ()
    reason: str | None = None
