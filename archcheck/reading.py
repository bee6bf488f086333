"""Run the source rules over files, in several processes once that pays."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from archcheck.finding import Finding
from archcheck.merge import Found
from archcheck.rule import Findings, Rule, load_rules
from archcheck.selection import Selection
from archcheck.source import Project
from archcheck.source.document import DocumentError, read_document
from archcheck.suppress import Suppressions

# Below this many bytes of source, starting processes costs more than they save.
_BYTES_WORTH_PROCESSES = 1_500_000


@dataclass(frozen=True, slots=True)
class FileResult:
    """What reading one file gave. `complaint`: why it could not be read."""

    path: str
    found: tuple[Found, ...] = ()
    suppressions: Suppressions | None = None
    skipped_blocks: int = 0
    complaint: str | None = None
    defects: tuple[str, ...] = ()


def open_project(
    root: Path, source_roots: Iterable[Path | str], buffers: Mapping[str, bytes]
) -> Project:
    """A project in which some files have another text than on the disk."""
    project = Project(root, source_roots)
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
        return [read_file(path, project, selection) for path in paths]
    # Imported only now: starting processes needs half of the standard library.
    from concurrent.futures import ProcessPoolExecutor

    # Neighbours share bases, so each process gets runs of neighbours; small runs even out.
    chunks = list(_chunks(sizes, sum(sizes.values()) // (cores * 8)))
    work = partial(
        _read_chunk,
        root=project.root,
        roots=project.source_roots,
        codes=frozenset(rule.code for rule in selection.rules),
        buffers=dict(buffers),
    )
    with ProcessPoolExecutor(cores) as pool:
        return [result for results in pool.map(work, chunks) for result in results]


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
    paths: Sequence[Path],
    *,
    root: Path,
    roots: Sequence[Path],
    codes: frozenset[str],
    buffers: Mapping[str, bytes],
) -> list[FileResult]:
    rules = tuple(rule for rule in load_rules() if rule.code in codes)
    project = open_project(root, roots, buffers)
    return [read_file(path, project, Selection(rules, codes)) for path in paths]


def read_file(path: Path, project: Project, selection: Selection) -> FileResult:
    """Run the selected source rules over one file."""
    try:
        file = project.file(path)
    except DocumentError as error:
        return FileResult(str(path), complaint=str(error))
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
