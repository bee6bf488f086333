"""`archcheck lock`: write what the models are now into the lock file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from archcheck.analysis.architectures.difference import compare, counterpart
from archcheck.analysis.architectures.difference_text import headline
from archcheck.core.atomic_write import write_whole
from archcheck.core.config import Config, Model
from archcheck.core.target import UsageError
from archcheck.engine.compare.trace_models import Traced, trace_models
from archcheck.engine.lock import LOCK_NAME
from archcheck.engine.lock.lock_file import Lock, lock_text, read_lock
from archcheck.evidence.architecture import Architecture


@dataclass(frozen=True, slots=True)
class Update:
    """What became of the lock file.

    Attributes:
        said: A line for each model that was locked or dropped.
        failed: Sentences about the models that have no architecture to lock.
        complaints: What is wrong with single targets of the call.
    """

    said: tuple[str, ...]
    failed: tuple[str, ...]
    usage_errors: tuple[str, ...]
    defects: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        return 3 if self.defects else 2 if self.usage_errors else 1 if self.failed else 0


def update_lock(targets: Sequence[str], config: Config, asked: Model, root: Path) -> Update:
    """Lock these models, and leave the others as they are; without any, lock those of the
    configuration, and drop the others.

    A model that does not run to its end is not locked; an older entry of it stays.

    Raises:
        UsageError: There is no model, or the lock file cannot be read or written.
    """
    before = _known(root / LOCK_NAME, may_be_broken=not targets)
    traced = trace_models(targets, config, asked, root)
    new = tuple(
        replace(one, target=before.named(one.target), weights=_relative(one.weights, before))
        for one in traced.architectures
    )
    kept, dropped = _others(before, new, traced, everything=not targets)
    if new or dropped:
        write_whole(before.path, lock_text((*new, *kept)).encode())
    return Update(
        (
            *(f"{one.target}: {_news(one, before)}" for one in new),
            *(f"{name}: dropped, as it is no longer configured" for name in dropped),
        ),
        tuple(f"{name} is not locked: {why}" for name, why in traced.failed.items()),
        traced.usage_errors,
        traced.defects,
    )


def _relative(path: str, lock: Lock) -> str:
    """A path as the lock names it: relative to its folder."""
    return path and os.path.relpath(path, lock.path.parent).replace(os.sep, "/")


def _known(path: Path, *, may_be_broken: bool) -> Lock:
    """What is locked so far."""
    if not path.exists():
        return Lock(path)
    try:
        return read_lock(path)
    except UsageError:
        # Where all of it is written anew, nothing of it is missed.
        if not may_be_broken:
            raise
        return Lock(path)


def _others(
    before: Lock, new: Sequence[Architecture], traced: Traced, *, everything: bool
) -> tuple[list[Architecture], list[str]]:
    """The entries that stay besides the new ones, and the targets that go."""
    locked = {(one.target, one.mode) for one in new}
    others = [one for one in before.architectures if (one.target, one.mode) not in locked]
    if not everything:
        return others, []
    waiting = {before.named(name) for name in traced.failed}
    kept = [one for one in others if one.target in waiting]
    names = {one.target for one in (*new, *kept)}
    gone = dict.fromkeys(one.target for one in others if one.target not in names)
    return kept, list(gone)


def _news(architecture: Architecture, before: Lock) -> str:
    """What is new about a model that is locked."""
    known = counterpart(architecture, before.architectures)
    if known is None:
        return f"locked, {len(architecture.layers):,} layers"
    difference = compare(known, architecture)
    if difference.state == "same":
        return "as it was"
    return f"locked: {headline(difference) or 'the same layers'}"
