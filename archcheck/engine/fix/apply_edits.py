"""Edits become texts: which fixes go together, and what files say when they are made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

from archcheck.core.finding import Edit, Finding, Location
from archcheck.python import Project
from archcheck.python.text.document import Block, Document, DocumentError, TextEdit


class Patch(NamedTuple):
    """A fix as changes of files' texts: all of them are made, or none.

    Attributes:
        findings: What it mends; several where they propose the same edits.
        made: The edits as the findings have them, in positions of the code.
        edits: By the path of the file; offsets are those of its text before any fix.
    """

    findings: tuple[Finding, ...]
    made: tuple[Edit, ...]
    edits: Mapping[str, tuple[TextEdit, ...]]

    @property
    def is_safe(self) -> bool:
        """Whether one of its findings calls it safe."""
        return any(one.fix is not None and one.fix.safety == "safe" for one in self.findings)

    def with_edits(self, more: Iterable[Edit], project: Project) -> Patch | None:
        """The fix with further edits; None where they do not go together."""
        made = tuple(dict.fromkeys((*self.made, *more)))
        edits = _text_edits(made, project)
        return Patch(self.findings, made, edits) if edits else None


def patches(findings: Iterable[Finding], project: Project) -> list[Patch]:
    """The fixes of these findings, those that come first in the files first.

    Left out is what changes nothing, and what cannot be said in the file's own encoding.
    """
    found: dict[tuple[tuple[str, tuple[TextEdit, ...]], ...], Patch] = {}
    for finding in findings:
        made = finding.fix.edits if finding.fix is not None else ()
        edits = _text_edits(made, project)
        if not edits:
            continue
        key = tuple(sorted(edits.items(), key=lambda item: item[0]))
        known = found.get(key)
        mended = (*known.findings, finding) if known is not None else (finding,)
        found[key] = Patch(mended, made, edits)
    return sorted(found.values(), key=_place)


def compatible(
    candidates: Sequence[Patch], *, with_all_of: Sequence[Patch] = ()
) -> tuple[list[Patch], list[Patch]]:
    """Those that can be made at once, the earlier ones first, and those that have to wait.

    Args:
        with_all_of: Fixes that are made too.
    """
    group: list[Patch] = []
    waiting: list[Patch] = []
    taken: dict[str, list[TextEdit]] = {}
    for patch in with_all_of:
        for path, edits in patch.edits.items():
            taken.setdefault(path, []).extend(edits)
    for patch in candidates:
        if any(
            _clash(edit, other)
            for path, edits in patch.edits.items()
            for edit in edits
            for other in taken.get(path, ())
        ):
            waiting.append(patch)
            continue
        group.append(patch)
        for path, edits in patch.edits.items():
            taken.setdefault(path, []).extend(edits)
    return group, waiting


def applied(group: Iterable[Patch], project: Project) -> dict[str, bytes]:
    """The files that compatible fixes change, as they are then, by path.

    Raises:
        UnicodeEncodeError: A file's encoding cannot say it.
    """
    edits: dict[str, list[TextEdit]] = {}
    for patch in group:
        for path, changes in patch.edits.items():
            edits.setdefault(path, []).extend(changes)
    found = {}
    for path, made in edits.items():
        document = project.file(path).document
        found[path] = document.encode(patched(document.text, made))
    return found


def patched(text: str, edits: Iterable[TextEdit]) -> str:
    """The text after edits that do not overlap."""
    parts: list[str] = []
    at = 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        parts += (text[at : edit.start], edit.new)
        at = edit.end
    return "".join((*parts, text[at:]))


def _text_edits(made: Iterable[Edit], project: Project) -> dict[str, tuple[TextEdit, ...]]:
    """The edits of a fix in the texts of files; none where they change nothing."""
    found: dict[str, list[TextEdit]] = {}
    for edit in made:
        try:
            # A file may be called by several paths: its document knows one.
            document = project.file(edit.location.path).document
        except (DocumentError, OSError):
            return {}
        found.setdefault(document.path, []).append(document.to_text(_in_block(edit, document)))
    if any(_overlap(edits) for edits in found.values()):
        return {}
    for path, edits in found.items():
        document = project.file(path).document
        text = patched(document.text, edits)
        if text == document.text or not _encodes(document, text):
            return {}
    return {path: tuple(sorted(edits, key=_order)) for path, edits in found.items()}


def _encodes(document: Document, text: str) -> bool:
    try:
        document.encode(text)
    except UnicodeEncodeError:
        return False
    return True


def _in_block(edit: Edit, document: Document) -> Edit:
    """The edit without the end of its cell's last line: the next cell is another text."""
    at = edit.location
    block = _block_of(at.line, document)
    if (
        document.kind != "notebook"
        or block is None
        or at.end_line <= block.last_line
        or at.end_column > 1
    ):
        return edit
    end = Location(at.path, block.last_line, len(document.lines[block.last_line - 1]) + 1)
    start = (at.line, at.column)
    if at.column == 1 and at.line > block.first_line and not edit.new:
        start = (at.line - 1, len(document.lines[at.line - 2]) + 1)
    return Edit(
        replace(
            at,
            line=start[0],
            column=start[1],
            end_line=end.line,
            end_column=end.column,
        ),
        edit.new.removesuffix("\n"),
    )


def _block_of(line: int, document: Document) -> Block | None:
    blocks = document.blocks
    return next((one for one in blocks if one.first_line <= line <= one.last_line), None)


def _clash(one: TextEdit, other: TextEdit) -> bool:
    """Whether edits overlap, or touch, so that their order would matter."""
    return one.start <= other.end and other.start <= one.end


def _overlap(edits: Sequence[TextEdit]) -> bool:
    ordered = sorted(edits, key=_order)
    return any(
        later.start < earlier.end or (later.start, later.end) == (earlier.start, earlier.end)
        for earlier, later in pairwise(ordered)
    )


def _order(edit: TextEdit) -> tuple[int, int]:
    return edit.start, edit.end


def _place(patch: Patch) -> tuple[str, int, int, str]:
    path = min(patch.edits)
    first = patch.edits[path][0]
    return path, first.start, first.end, patch.findings[0].code
