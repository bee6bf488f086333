"""Run the source rules over files, in several processes once that pays."""

from __future__ import annotations

import gc
import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from archcheck.core.finding import Finding
from archcheck.core.rule import Findings, Rule, load_rules
from archcheck.engine.merge import Found
from archcheck.engine.selection import Selection
from archcheck.engine.suppress import Suppressions
from archcheck.python import Project
from archcheck.python.documents.read import read_document
from archcheck.python.questions import ImportLookups
from archcheck.python.syntax.parse import Parse, parse
from archcheck.python.text.document import DocumentError

if TYPE_CHECKING:
    from archcheck.core.dependencies import Dependencies
    from archcheck.core.facts import DependencyRecorder

# Below this many bytes of source, starting processes costs more than they save.
_BYTES_WORTH_PROCESSES = 1_500_000


@dataclass(frozen=True, slots=True)
class FileResult:
    """What reading one file gave.

    Attributes:
        complaint: Why it could not be read.
        consulted: The places of the other files that it may depend on.
    """

    path: str
    found: tuple[Found, ...] = ()
    suppressions: Suppressions | None = None
    skipped_blocks: int = 0
    usage_error: str | None = None
    defects: tuple[str, ...] = ()
    consulted: Set[str] = frozenset()


# As `read_files` does: the files, their project, the rules, and the texts that are not the disk's.
Reader: TypeAlias = Callable[
    [Sequence[Path], Project, Selection, Mapping[str, bytes]], list[FileResult]
]


def open_project(
    root: Path,
    source_roots: Iterable[Path | str],
    buffers: Mapping[str, bytes],
    notes: DependencyRecorder | None = None,
    parse: Parse = parse,
) -> Project:
    """A project in which some files have another text than on the disk."""
    project = Project(root, source_roots, notes, parse)
    for path, data in buffers.items():
        project.add(read_document(Path(path), shown=path, data=data))
    return project


def read_files(
    paths: Sequence[Path],
    project: Project,
    selection: Selection,
    buffers: Mapping[str, bytes] = MappingProxyType({}),
) -> list[FileResult]:
    """Run the selected source rules over these files.

    Args:
        buffers: The files of the project whose text is not that of the disk.
    """
    sizes = {path: _size(path) for path in paths}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if cores is None or cores < 2 or sum(sizes.values()) < _BYTES_WORTH_PROCESSES:
        return _read_in_turn(paths, project, selection, releases=not buffers)
    # Imported only now: starting processes needs half of the standard library.
    from concurrent.futures import ProcessPoolExecutor

    # Neighbours share bases, so each process gets runs of neighbours; small runs even out.
    chunks = list(_chunks(sizes, sum(sizes.values()) // (cores * 8)))
    desk = WorkerArgs(
        project.root,
        project.source_roots,
        frozenset(rule.code for rule in selection.rules),
        tuple(buffers.items()),
        project.notes is not None,
    )
    read: list[FileResult] = []
    # What a process leaves behind goes with it, so that none looks for circles in its memory.
    with ProcessPoolExecutor(cores, initializer=gc.disable) as pool:
        for results, dependencies, asked in pool.map(partial(_read_chunk, desk), chunks):
            read += results
            if project.notes is not None and dependencies is not None:
                project.notes.include(dependencies)
            for place, question, answer in asked:
                project.asked.add(place, question, answer)
    return read


@dataclass(frozen=True, slots=True)
class WorkerArgs:
    """What a process needs to know to read files as the others do."""

    root: Path
    source_roots: tuple[Path, ...]
    codes: frozenset[str]
    buffers: tuple[tuple[str, bytes], ...]
    takes_notes: bool


@cache
def _tools(desk: WorkerArgs) -> tuple[Project, Selection]:
    """One project and one set of rules for all that a process reads: files share their bases."""
    rules = tuple(rule for rule in load_rules() if rule.code in desk.codes)
    notes = None
    if desk.takes_notes:
        from archcheck.core.facts import DependencyRecorder

        notes = DependencyRecorder()
    project = open_project(desk.root, desk.source_roots, dict(desk.buffers), notes)
    return project, Selection(rules, desk.codes)


@contextmanager
def _without_collection() -> Iterator[None]:
    """Trees are large and live long: looking through them again and again takes half the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _chunks(sizes: dict[Path, int], limit: int) -> Iterator[list[Path]]:
    chunk: list[Path] = []
    weight = 0
    for path, size in sizes.items():
        chunk.append(path)
        weight += size
        if weight >= limit:
            yield chunk
            chunk, weight = [], 0
    if chunk:
        yield chunk


def _read_chunk(
    desk: WorkerArgs, paths: Sequence[Path]
) -> tuple[list[FileResult], Dependencies | None, ImportLookups]:
    """What reading these files gave; what all that this process has read came of; what was asked
    for it."""
    project, selection = _tools(desk)
    results = _read_in_turn(paths, project, selection, releases=not desk.buffers)
    if project.notes is None:
        return results, None, []
    return results, project.notes.dependencies(), project.asked.news()


def _read_in_turn(
    paths: Sequence[Path], project: Project, selection: Selection, *, releases: bool
) -> list[FileResult]:
    """Read files in this process; what is released is read from the disk if asked for again."""
    results = []
    with _without_collection():
        for path in paths:
            results.append(read_file(path, project, selection))
            if releases and not results[-1].usage_error:
                project.release(project.file(path))
    return results


def read_file(path: Path, project: Project, selection: Selection) -> FileResult:
    """Run the selected source rules over one file."""
    try:
        file = project.file(path)
    except DocumentError as error:
        return FileResult(str(path), usage_error=str(error))
    found: list[Found] = []
    defects: list[str] = []
    for rule in selection.rules:
        for reader in rule.source_readers:
            found += run_reader(rule, partial(reader, file), None, defects)
    return FileResult(
        file.path,
        tuple(found),
        Suppressions.of(file),
        file.document.skipped_blocks,
        defects=tuple(defects),
        consulted=project.consulted(file),
    )


def run_reader(
    rule: Rule, reader: Callable[[], Findings], traced: str | None, defects: list[str]
) -> Iterator[Found]:
    """A reader's findings, stamped. What it raises is a defect of the rule, not of the code."""
    try:
        for finding in reader():
            yield Found(stamped(finding, rule, traced), traced, rule.fallback)
    except Exception:
        defects.append(f"{rule.code} ({rule.path}) failed:\n{traceback.format_exc()}")


def stamped(finding: Finding, rule: Rule, target: str | None) -> Finding:
    """The finding with what the engine knows of it."""
    return replace(
        finding,
        code=rule.code,
        name=rule.name,
        severity=finding.severity or rule.severity,
        target=target,
    )
