"""One check with a session of its own, for whoever asks but once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from archcheck.core.config import Config, Model
from archcheck.core.report import Report
from archcheck.engine.session import NO_BUFFERS, Session

if TYPE_CHECKING:
    from archcheck.core.rule import Rule
    from archcheck.engine.cache.answers import Memory
    from archcheck.engine.fix.fix_files import FixOptions


def run(
    targets: Sequence[str] | None,
    config: Config,
    asked: Model,
    *,
    root: Path,
    buffers: Mapping[str, bytes] = NO_BUFFERS,
    mending: FixOptions | None = None,
    memory: Memory | None = None,
    rules: Sequence[Rule] | None = None,
) -> Report:
    """Check targets of all forms once; see `Session` and `Session.check`.

    Raises:
        UsageError: The settings are wrong.
    """
    session = Session(config, root, memory=memory, rules=rules)
    try:
        return session.check(targets, asked, buffers=buffers, fixing=mending)
    finally:
        session.end_workers()
