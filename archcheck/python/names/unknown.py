"""The answer "cannot know", which is not an answer: rules stay silent on it."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Unknown(Enum):
    """The type of `UNKNOWN`. It is false, and equal to nothing, itself included; ask with `is`."""

    UNKNOWN = "unknown"

    def __bool__(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        # Two sizes that nobody knows are not the same size.
        return False

    __hash__ = Enum.__hash__

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown.UNKNOWN


def known(*values: object) -> bool:
    """Whether none of the values is `UNKNOWN`."""
    return all(value is not UNKNOWN for value in values)


def differ(first: object, second: object) -> bool:
    """Whether two values are certainly different: both known, and not equal."""
    return first is not UNKNOWN and second is not UNKNOWN and first != second
