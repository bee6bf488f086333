"""Fixing: what is proven is applied, again and again, until nothing changes."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from archcheck.core.report import Repairs
from archcheck.engine.checker import CheckResult
from archcheck.engine.fix.apply_edits import Patch, compatible
from archcheck.engine.fix.offer import Chosen, by_safety, chosen_patches
from archcheck.engine.fix.prove import Again, Looks, Proof
from archcheck.engine.fix.verify import Key, key_of
from archcheck.engine.fix.write_files import WriteError, obstacle, write
from archcheck.python.text.document import Document

# One fix may make room for another; more rounds than this are a circle.
_MOST_ROUNDS = 50
_LINES = re.compile(r"[^\n]*\n|[^\n]+")


class FixOptions(NamedTuple):
    """What the user wants done.

    Attributes:
        unsafe: Apply the fixes too that change the architecture.
        write: Change the files; else only say how they would change.
        outside: Change files outside the working directory too.
    """

    unsafe: bool = False
    write: bool = True
    outside: bool = False


@dataclass
class _Work:
    """The fixes that were made so far, in memory."""

    start: CheckResult
    examined: CheckResult
    again: Again
    mended: Counter[Key] = field(default_factory=Counter)

    def round(self, candidates: Sequence[Patch]) -> bool:
        """Make what holds of these fixes; whether any did."""
        waiting = list(candidates)
        while waiting:
            group, waiting = compatible(waiting)
            proof = Proof(self.examined, Looks(self.again))
            proof.add(group)
            if proof.held:
                for patch in proof.held:
                    self.mended.update(key_of(f, self.examined.project) for f in patch.findings)
                self.examined = proof.known
                return True
        return False

    def counted(self) -> tuple[tuple[str, str, int], ...]:
        """The findings that were mended, by path and code. One that was mended twice (a comment,
        and again when the model changed) counts once."""
        known = Counter(key_of(finding, self.start.project) for finding in self.start.findings)
        counts: Counter[tuple[str, str]] = Counter()
        for key, number in self.mended.items():
            code, path, _ = key
            counts[path, code] += min(number, known[key] or number)
        return tuple((path, code, number) for (path, code), number in sorted(counts.items()))


def mend(
    examined: CheckResult, chosen: Chosen, again: Again, wanted: FixOptions
) -> tuple[CheckResult, Repairs]:
    """Apply the fixes that hold, and write the files.

    Gives what is seen with the fixes, and what they changed.

    Args:
        examined: What all rules showed that a fix must not offend.
        chosen: Which findings the user wants fixed.
    """
    work = _Work(examined, examined, again)
    closed: dict[str, str] = {}
    seen = {_state(examined)}
    for _ in range(_MOST_ROUNDS):
        candidates = [
            patch
            for patch in chosen_patches(work.examined, chosen)
            if (wanted.unsafe or patch.is_safe) and _is_open(patch, examined, wanted, closed)
        ]
        # What changes the architecture is tried on a model that has no other faults, if possible.
        if not any(work.round(kind) for kind in by_safety(candidates)):
            break
        if _state(work.examined) in seen:
            break
        seen.add(_state(work.examined))
    if wanted.write:
        _write(work, closed)
    sentences = (f"{path} was not fixed: it {reason}" for path, reason in sorted(closed.items()))
    return work.examined, Repairs(work.counted(), _diff(work), tuple(sentences), wanted.write)


def _is_open(patch: Patch, start: CheckResult, wanted: FixOptions, closed: dict[str, str]) -> bool:
    """Whether all files of a fix may be changed; notes why not."""
    is_open = True
    for path in patch.edits:
        if path in start.buffers:
            reason = "came from standard input" if wanted.write else None
        elif path in closed:
            reason = closed[path]
        else:
            document = start.project.file(path).document
            reason = obstacle(document, Path.cwd(), outside=wanted.outside)
        if reason is not None:
            closed[path] = reason
            is_open = False
    return is_open


def _state(examined: CheckResult) -> frozenset[tuple[str, bytes]]:
    return frozenset(examined.buffers.items())


def _changes(work: _Work) -> Iterator[tuple[Document, bytes]]:
    """The files that are changed: as they were read, and as they are to be."""
    for path, data in sorted(work.examined.buffers.items()):
        document = work.start.project.file(path).document
        if data != work.start.buffers.get(path, document.encode(document.text)):
            yield document, data


def _write(work: _Work, closed: dict[str, str]) -> None:
    """Write the files; what cannot be written is seen as it is on the disk."""
    failed = set()
    for document, data in _changes(work):
        try:
            write(document, data)
        except WriteError as error:
            closed[document.path] = str(error)
            failed.add(document.path)
    if failed:
        for key in [key for key in work.mended if key[1] in failed]:
            del work.mended[key]
        left = {path: data for path, data in work.examined.buffers.items() if path not in failed}
        work.examined = work.again(work.examined, left)


def _diff(work: _Work) -> str:
    parts: list[str] = []
    for document, data in _changes(work):
        after = data.decode(document.encoding)
        name = document.path.lstrip("/")
        lines = difflib.unified_diff(
            _LINES.findall(document.text), _LINES.findall(after), f"a/{name}", f"b/{name}"
        )
        for line in lines:
            whole = line.endswith("\n")
            parts.append(line if whole else f"{line}\n\\ No newline at end of file\n")
    return "".join(parts)
