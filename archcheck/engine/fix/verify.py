"""Whether fixes hold, by what is seen with them and without.

They hold when their findings are gone, no finding is new, every file parses as far as before, and
every model comes as far as before.
"""

from __future__ import annotations

import ast
import warnings
from collections import Counter
from collections.abc import Container, Iterable
from typing import TYPE_CHECKING, TypeAlias

from archcheck.core.finding import Finding
from archcheck.engine.checker import CheckResult
from archcheck.engine.fix.apply_edits import Patch
from archcheck.engine.scopes import scope_at
from archcheck.python import Project, SourceFile

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

Key: TypeAlias = tuple[str, str, str | None]


def to_blame(
    before: CheckResult,
    after: CheckResult,
    group: Iterable[Patch],
    changed: Iterable[str],
    base: Project,
) -> set[str]:
    """The files in which something went wrong; none where the group holds.

    Args:
        base: The files without any fix, which the positions of those that are mended are of.
    """
    changed = set(changed)
    if len(after.usage_errors) > len(before.usage_errors) or len(after.defects) > len(
        before.defects
    ):
        return changed
    found = {path for path in changed if not _parses_as_far(path, before.project, after.project)}
    group = list(group)
    for patch in group:
        if patch.is_safe:
            found |= {path for path in patch.edits if not _keeps_defaults(path, before, after)}
    reached = {trace.target: _reached(trace) for trace in before.traces}
    further: set[str] = set()
    for trace in after.traces:
        now, then = _reached(trace), reached.get(trace.target)
        if then is not None and now < then:
            found.update(trace.files, (trace.path,))
        if then is None or now[0] > then[0]:
            further.add(trace.target)
    mended = [finding for patch in group for finding in patch.findings]
    gone = Counter(key_of(finding, base) for finding in mended)
    opened = {
        _outermost(finding, base)
        for finding in mended
        if finding.fix is not None and finding.fix.reveals
    }
    return found | _not_better(before, after, gone, further, opened)


def _keeps_defaults(path: str, before: CheckResult, after: CheckResult) -> bool:
    """Whether every constructor can be called as before, and builds the same."""
    return _defaults(before.project.file(path)) == _defaults(after.project.file(path))


def _defaults(file: SourceFile) -> list[str]:
    """The defaults of the constructors of a file, in order."""
    return [
        ast.unparse(default)
        for node in ast.walk(file.tree)
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
        for default in (*node.args.defaults, *node.args.kw_defaults)
        if default is not None
    ]


def _not_better(
    before: CheckResult,
    after: CheckResult,
    gone: Counter[Key],
    further: Container[str | None],
    opened: Container[tuple[str, str | None]],
) -> set[str]:
    """The files in which a mended finding is not gone, or a finding is new.

    What a model shows that now comes further than before was hidden, and is not new; neither is
    what a class shows that no rule could see into before. That the model is not what it was is no
    fault of a fix.

    Args:
        gone: How many findings of each kind the fixes are to mend.
        further: The models that come further.
        opened: The classes that rules can now see into.
    """
    excused = {rule.code for rule in after.selection.rules if rule.against_lock}
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
