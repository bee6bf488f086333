"""What may be done about findings: fixes that were tried, and comments that silence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from archcheck.core.finding import Edit, Finding, Location
from archcheck.core.target import parse_target
from archcheck.engine.fix.apply_edits import applied, patched, patches
from archcheck.engine.fix.fix_files import FixOptions
from archcheck.engine.fix.trial import FixTrial
from archcheck.engine.session import Session
from archcheck.frontends.lsp.views import View
from archcheck.python.documents.read import read_document
from archcheck.python.syntax.parse import parse
from archcheck.python.text.pragmas import pragmas
from archcheck.worker.process.client import Workers

_LIST = re.compile(r"#\s*archcheck:\s*ignore\s*\[[^\]]*(?=\])")
# Loading and tracing fail whatever a comment says.
_LOADING = "AC0"


@dataclass(frozen=True)
class Offer:
    """A fix that holds: its findings are gone with it, and no other one came.

    Attributes:
        findings: In positions of the code.
        files: What files hold with it, by path.
    """

    findings: tuple[Finding, ...]
    is_safe: bool
    files: Mapping[str, bytes]


def _trial(view: View, workers: Workers) -> FixTrial:
    """Return what tries fixes: of the models, with those whose trace is of the very text shown."""
    seen = view.seen.examined
    exact = [standing for standing in view.standings if not standing.drifts]
    models = []
    for standing in exact:
        target = parse_target(standing.traced.target)
        assert target is not None, "it was traced"
        models.append((target, standing.traced.model))
    session = Session(seen.config, seen.project.root, workers=workers)
    checker = session.checker([Path(view.path)], models)
    whole = replace(seen, targets=tuple(standing.result for standing in exact))
    return FixTrial.of(checker, whole, session.rules, view.seen.baseline)


def needs_worker(view: View) -> bool:
    """Whether trying fixes means tracing."""
    return any(not standing.drifts for standing in view.standings)


def offers(view: View, workers: Workers) -> tuple[Offer, ...]:
    """The fixes of a document that hold, each tried.

    Raises:
        Cancelled: Nobody wants them any more.
    """
    if not any(finding.fix for finding in view.findings):
        return ()
    trial = _trial(view, workers)
    fixes = trial.fixes()
    mended = [replace(finding, fix=fix) for finding, fix in fixes.items() if fix is not None]
    project = trial.result.project
    return tuple(
        Offer(patch.findings, patch.is_safe, applied([patch], project))
        for patch in patches(mended, project)
    )


def all_safe(view: View, workers: Workers) -> Mapping[str, bytes]:
    """What files hold with all safe fixes, one made on top of the other.

    Raises:
        Cancelled: Nobody wants them any more.
    """
    if not any(finding.fix for finding in view.findings):
        return {}
    trial = _trial(view, workers)
    after, _ = trial.applied(FixOptions(write=False))
    before = trial.result.buffers
    return {path: data for path, data in after.result.buffers.items() if before.get(path) != data}


def suppression(view: View, finding: Finding) -> Mapping[str, bytes] | None:
    """What the file holds with a comment that silences a finding where it is; None where no
    comment can stand there."""
    at, code = finding.location, finding.code
    if at.path != view.path or code.startswith(_LOADING):
        return None
    document = view.seen.document
    for edit in _comments(document.lines, at, code):
        data = document.encode(patched(document.text, [document.to_text(edit)]))
        parsed = parse(read_document(Path(at.path), shown=at.path, data=data))
        found = pragmas(parsed.document, parsed.tree)
        still_parses = len(parsed.problems) <= len(view.file.problems)
        if still_parses and any(one.code == code and one.covers(at) for one in found):
            return {at.path: data}
    return None


def _comments(lines: tuple[str, ...], at: Location, code: str) -> Iterator[Edit]:
    """Where the comment may stand: in a list that is there, or behind one of the lines."""
    for line in dict.fromkeys((at.line, at.end_line or at.line)):
        text = lines[line - 1] if line <= len(lines) else ""
        listed = _LIST.search(text)
        if listed is not None:
            column, new = listed.end() + 1, f", {code}"
        else:
            column, new = len(text.rstrip()) + 1, f"  # archcheck: ignore[{code}]"
        yield Edit(Location(at.path, line, column, line, column), new)
