"""Fixes are proven: made in memory, checked again, traced again.

A fix is proven when its finding is gone, no finding is new, every file parses as far as before,
and every model comes as far as before.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

from archcheck.evidence import Trace
from archcheck.examine import Examined
from archcheck.finding import Edit, Finding
from archcheck.fix.apply import Patch, applied, compatible
from archcheck.scopes import scope_at
from archcheck.source import Project, SourceFile
from archcheck.source.document import DocumentError

Key: TypeAlias = tuple[str, str, str | None]


class Again(Protocol):
    """Looks again at what may have changed; see `Examiner.again`."""

    def __call__(self, before: Examined, buffers: Mapping[str, bytes]) -> Examined: ...


def proven(base: Examined, group: Sequence[Patch], again: Again) -> tuple[Examined, list[Patch]]:
    """The fixes that hold, of a group that can be made at once, and what is seen with them.

    All are tried together; where they fail together, parts of them, in the end one by one.
    """
    return _hold(base, base, [], list(group), again)


def _hold(
    base: Examined, known: Examined, held: list[Patch], group: list[Patch], again: Again
) -> tuple[Examined, list[Patch]]:
    """Try a group on top of fixes that hold; `known` is what is seen with those."""
    after, to_blame = _look(base, known, held, group, again)
    if not to_blame:
        return after, [*held, *group]
    if len(group) > 1:
        for part in _parts(group, to_blame):
            part, _ = compatible(part, with_all_of=held)
            if part:
                known, held = _hold(base, known, held, part, again)
        return known, held
    whole = _with_what_follows(group[0], base, known, after)
    if whole is not None and compatible([whole], with_all_of=held)[0]:
        after, to_blame = _look(base, known, held, [whole], again)
        if not to_blame:
            return after, [*held, whole]
    return known, held


def _look(
    base: Examined, known: Examined, held: list[Patch], group: list[Patch], again: Again
) -> tuple[Examined, set[str]]:
    """What is seen with these fixes, and the files in which they do not hold."""
    texts = applied([*held, *group], base.project)
    try:
        after = again(known, {**base.buffers, **texts})
        return after, _to_blame(known, after, group, texts)
    except DocumentError:
        return known, set(texts)


def _with_what_follows(
    patch: Patch, base: Examined, known: Examined, after: Examined
) -> Patch | None:
    """A fix with the safe fixes of what it brings about: a layer that changes leaves the shape
    comments behind it stale. None where it brings about anything else."""
    places = {(one.code, one.location.path, one.location.line) for one in known.findings}
    edits: list[Edit] = []
    for finding in after.findings:
        if (finding.code, finding.location.path, finding.location.line) in places:
            continue
        if finding.fix is None or finding.fix.safety != "safe":
            return None
        edits += finding.fix.edits
    if not edits or not all(_is_where_it_was(edit, base.project, after.project) for edit in edits):
        return None
    return patch.with_edits(edits, base.project)


def _is_where_it_was(edit: Edit, before: Project, after: Project) -> bool:
    """Whether a place is the same in both, because no line was inserted or taken away."""
    at = edit.location
    old, new = before.file(at.path).lines, after.file(at.path).lines
    rows = slice(at.line - 1, at.end_line)
    return len(old) == len(new) and old[rows] == new[rows]


def _parts(group: list[Patch], to_blame: set[str]) -> tuple[list[Patch], ...]:
    """A group that failed, in parts to try next; those in files that nothing was found in first."""
    innocent = [patch for patch in group if to_blame.isdisjoint(patch.edits)]
    if 0 < len(innocent) < len(group):
        return innocent, [patch for patch in group if patch not in innocent]
    return group[: len(group) // 2], group[len(group) // 2 :]


def _to_blame(
    before: Examined, after: Examined, group: Iterable[Patch], changed: Iterable[str]
) -> set[str]:
    """The files in which something went wrong; none where the group holds."""
    changed = set(changed)
    if len(after.complaints) > len(before.complaints) or len(after.defects) > len(before.defects):
        return changed
    found = {path for path in changed if not _parses_as_far(path, before.project, after.project)}
    reached = {trace.target: _reached(trace) for trace in before.traces}
    further: set[str] = set()
    for trace in after.traces:
        now, then = _reached(trace), reached.get(trace.target)
        if then is not None and now < then:
            found.update(trace.files, (trace.path,))
        if then is None or now[0] > then[0]:
            further.add(trace.target)
    mended = [finding for patch in group for finding in patch.findings]
    return found | _not_better(before, after, mended, further)


def _not_better(
    before: Examined, after: Examined, mended: Sequence[Finding], further: set[str]
) -> set[str]:
    """The files in which a mended finding is not gone, or a finding is new.

    What a model shows that now comes further than before was hidden, and is not new; neither is
    what a class shows that no rule could see into before. That the model is not what it was is no
    fault of a fix.
    """
    excused = {rule.code for rule in after.selection.rules if rule.against_lock}
    opened = {
        _outermost(finding, before.project)
        for finding in mended
        if finding.fix is not None and finding.fix.reveals
    }
    gone = Counter(key_of(finding, before.project) for finding in mended)
    known = Counter(key_of(finding, before.project) for finding in before.findings)
    now: Counter[Key] = Counter()
    shown: Counter[Key] = Counter()
    for finding in after.findings:
        if finding.code in excused:
            continue
        key = key_of(finding, after.project)
        now[key] += 1
        hidden = finding.target in further or _outermost(finding, after.project) in opened
        if hidden and not gone[key]:
            shown[key] += 1
    return {key[1] for key in {*now, *gone} if now[key] - shown[key] > known[key] - gone[key]}


def key_of(finding: Finding, project: Project) -> Key:
    """What a finding is known by, wherever the lines have moved."""
    at = finding.defect or finding.location
    return finding.code, at.path, scope_at(at, project)


def _outermost(finding: Finding, project: Project) -> tuple[str, str | None]:
    """The class or function at module level that a finding is in."""
    _, path, scope = key_of(finding, project)
    return path, scope and scope.partition(".")[0]


def _reached(trace: Trace) -> tuple[int, int]:
    """How far a model came, and how little went wrong on the way."""
    failed = [one for one in trace.failures if one.consequence_of is None]
    stages = {failure.stage for failure in failed}
    if trace.complete:
        stage = 3 if failed else 4
    elif trace.modules:
        stage = 2
    else:
        stage = 1 if "construct" in stages else 0
    return stage, -len(failed)


def _parses_as_far(path: str, before: Project, after: Project) -> bool:
    old, new = before.file(path), after.file(path)
    if new.parsed.complete < old.parsed.complete or len(new.problems) > len(old.problems):
        return False
    if len(new.document.blocks) != len(old.document.blocks):
        return False
    return _compiles(new) or not _compiles(old)


def _compiles(file: SourceFile) -> bool:
    """Whether Python takes the code: some errors come after parsing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(file.tree, file.path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
            return False
    return True
