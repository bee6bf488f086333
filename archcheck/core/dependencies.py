"""What an answer depends on besides the question, for whoever finds one and whoever keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What of the world outside an answer came of; see `archcheck.engine.cache`.

    Attributes:
        facts: Questions about the disk and the environment, whose answers it depends on.
        answers: Those of some of them, as they were when it was found.
        stamps: What files and folders were like when they were first looked at, by path.
        installed: The same of the files of installed packages that were loaded.
    """

    facts: frozenset[tuple[str, ...]]
    answers: Mapping[tuple[str, ...], str]
    stamps: Mapping[str, str]
    installed: Mapping[str, str]
