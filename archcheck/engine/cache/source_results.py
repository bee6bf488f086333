"""Results of source checks that are remembered file by file: what has not changed is not read.

A result holds for as long as the file it is of, and every file that was read for it, have the
same content, and all that was asked for these of the project is answered as it was then
(`source.questions`). What is remembered are these facts by file, so that files share them, and
what has changed is found once for all.

There is one entry for all files of a check, and an entry is what the last check left.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, TypeAlias

from archcheck.core.dependencies import Dependencies
from archcheck.core.facts import DependencyRecorder, Filesystem
from archcheck.engine.cache.answers import Memory
from archcheck.engine.merge import Found
from archcheck.engine.run_rules import FileResult, read_files
from archcheck.engine.selection import Selection
from archcheck.engine.suppress import Suppressions
from archcheck.python import Project
from archcheck.python.project import from_here
from archcheck.python.questions import Answer, Question, Seen

# Of each file, by its place: its content, and what was asked for it.
Facts: TypeAlias = dict[str, tuple[str, dict[Question, Answer]]]


class RememberedFiles:
    """Reads files as `read_files` does.

    Args:
        targets: What is checked: each such question has an entry of its own.
    """

    def __init__(self, memory: Memory, targets: Sequence[str]) -> None:
        self._memory = memory
        self._targets = tuple(targets)

    def read(
        self,
        paths: Sequence[Path],
        project: Project,
        selection: Selection,
        buffers: Mapping[str, bytes],
    ) -> list[FileResult]:
        """The results of these files, of which only those are read that must be."""
        notes = project.notes
        if buffers or notes is None or not all(map(_is_named_from_here, paths)):
            return read_files(paths, project, selection, buffers)
        codes = sorted(rule.code for rule in selection.rules)
        where = (project.root, project.source_roots, self._targets)
        key = self._memory.key("files", where, codes)
        found = self._memory.recall(key)
        facts: Facts
        kept: dict[str, tuple[Any, ...]]
        facts, kept = ({}, {}) if found is None else found[0]
        world = Filesystem()
        places = {path: os.path.abspath(path) for path in paths}
        held = _held(facts, project, notes, world)
        results = {
            path: _result(path.as_posix(), kept[str(path)], Seen(project.asked, place))
            for path, place in places.items()
            if place in held and str(path) in kept
        }
        others = [path for path in paths if path not in results]
        results.update(zip(others, read_files(others, project, selection, buffers), strict=True))
        if others or len(kept) > len(paths):
            whole = {path: one for path, one in results.items() if not _is_to_be_tried_again(one)}
            roots = [places[path] for path in whole]
            facts = {
                place: (world.look(("content", place)), dict(project.asked.of(place)))
                for place in project.asked.read_from(roots).union(roots)
            }
            kept = {str(path): _plain(result) for path, result in whole.items()}
            unseen = frozenset(fact for fact in notes.facts if fact[0] == "unseen")
            dependencies = Dependencies(unseen, notes.answers, notes.stamps, {})
            self._memory.keep(key, (facts, kept), dependencies)
        return [results[path] for path in paths]


def _held(
    facts: Facts, project: Project, notes: DependencyRecorder, world: Filesystem
) -> frozenset[str]:
    """The places of the files of which all that is known is as it was, and so is all that was
    read for them. The project is told what was asked for those that are themselves as they were.
    """
    for place in facts:
        notes.add("content", place)
    same = {place for place, (then, _) in facts.items() if world.look(("content", place)) == then}
    led = (facts[place][1].items() for place in same)
    project.readable = same & {
        found
        for answers in led
        for (kind, *_), (places, _) in answers
        if kind in ("import", "glance")
        for found in places
    }
    for place in sorted(same):
        asked = facts[place][1]
        if all(project.answer(question, place) == then for question, then in asked.items()):
            for question, then in asked.items():
                project.asked.add(place, question, then)
        else:
            same.discard(place)
    return frozenset(same) - project.asked.readers_of(facts.keys() - same)


def _is_named_from_here(path: Path) -> bool:
    """Whether findings show the path as it is spelled, whichever file is read first."""
    return path.as_posix() == from_here(Path(os.path.abspath(path)))


def _is_to_be_tried_again(result: FileResult) -> bool:
    return bool(result.usage_error or result.defects)


def _plain(result: FileResult) -> tuple[Any, ...]:
    """A result as plain data and evidence."""
    return (
        tuple((found.finding, found.traced, found.fallback) for found in result.found),
        tuple(
            (pragma.verb, pragma.code, pragma.location, pragma.lines, pragma.late)
            for pragma in (result.suppressions.pragmas if result.suppressions else ())
        ),
        result.skipped_blocks,
    )


def _result(path: str, plain: tuple[Any, ...], consulted: Set[str]) -> FileResult:
    found, pragmas, skipped_blocks = plain
    if pragmas:
        # Few files have any.
        from archcheck.python.text.pragmas import Pragma

        pragmas = tuple(Pragma(*fields) for fields in pragmas)
    return FileResult(
        path,
        tuple(Found(*fields) for fields in found),
        Suppressions(path, pragmas),
        skipped_blocks,
        consulted=consulted,
    )
