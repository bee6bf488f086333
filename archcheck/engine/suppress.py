"""Comments that silence findings, and those that silence nothing."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from archcheck.core.finding import Finding, Location, Severity
from archcheck.core.rule import Rule, load_rules
from archcheck.python.text.document import Document

if TYPE_CHECKING:
    from archcheck.python.text.pragmas import Pragma

UNUSED_CODE, UNUSED_NAME = "AC006", "unused-suppression"


class _Parsed(Protocol):
    @property
    def document(self) -> Document: ...

    @property
    def tree(self) -> ast.Module: ...


class _Selection(Protocol):
    @property
    def rules(self) -> Sequence[Rule]: ...


class Suppressions(NamedTuple):
    """The suppression comments of one file; plain data."""

    path: str
    pragmas: tuple[Pragma, ...] = ()

    @classmethod
    def of(cls, file: _Parsed) -> Suppressions:
        """Read them from a source file's comments."""
        document = file.document
        if "archcheck:" not in document.code and "noqa" not in document.code.lower():
            return cls(document.path)
        # Few files have any, and a start-up counts in milliseconds.
        from archcheck.python.text.pragmas import pragmas

        return cls(document.path, pragmas(document, file.tree))

    def __bool__(self) -> bool:
        return bool(self.pragmas)


def apply(
    findings: Iterable[Finding],
    suppressions: Iterable[Suppressions],
    selection: _Selection,
    *,
    traced: Collection[str] = (),
    known: Sequence[Rule] | None = None,
) -> tuple[list[Finding], int]:
    """Leave out what comments silence, and note the comments that silence nothing.

    A finding is silenced where it shows, and where its defect lies.

    Args:
        selection: The rules that ran: a comment for another one may well be needed.
        traced: The paths of the files whose models were traced. Elsewhere, a rule that reads
            traces has not seen all that it could find.
        known: All rules, selected or not; those of the installed packs.

    Returns:
        The findings that are left, with a note (AC006, where that is selected) for each code that
        silences nothing, and how many findings were silenced.
    """
    by_path: dict[str, list[Pragma]] = {}
    for one in suppressions:
        by_path.setdefault(one.path, []).extend(one.pragmas)
    used: set[Pragma] = set()
    kept: list[Finding] = []
    silenced = 0
    for finding in findings:
        places = [finding.location, *([finding.defect] if finding.defect else [])]
        matching = [
            pragma
            for place in places
            for pragma in by_path.get(place.path, ())
            if _silences(pragma, finding.code, place)
        ]
        used.update(matching)
        if matching:
            silenced += 1
        else:
            kept.append(finding)
    idle = [pragma for those in by_path.values() for pragma in those if pragma not in used]
    if idle and any(rule.code == UNUSED_CODE for rule in selection.rules):
        rules = load_rules() if known is None else known
        selected = {rule.code for rule in selection.rules}
        for pragma in idle:
            place = pragma.location
            if any(_silences(one, UNUSED_CODE, place) for one in by_path[place.path]):
                continue
            ran = [rule for rule in rules if rule.code.startswith(pragma.code)]
            judged = all(
                rule.code in selected and (place.path in traced or not rule.trace_readers)
                for rule in ran
            )
            useless = not pragma.code or pragma.late
            # A code of another linter's is none of ours.
            if useless or (judged and (ran or pragma.verb != "noqa")):
                kept.append(_note(pragma, bool(ran)))
    return kept, silenced


def _silences(pragma: Pragma, code: str, place: Location) -> bool:
    return bool(pragma.code) and code.startswith(pragma.code) and pragma.covers(place)


def _note(pragma: Pragma, exists: bool) -> Finding:
    """The note about a suppression that silences nothing."""
    code = pragma.code
    if not code:
        message = "this comment names no rule, so it silences nothing"
        help = f"write `# archcheck: {pragma.verb}[AC301]` to silence AC301"
    elif pragma.late:
        message = f"`ignore-file[{code}]` stands too late in the file to silence anything"
        help = "move it above the first statement"
    elif exists:
        message = f"nothing here has to be silenced for {code}"
        help = "delete it"
    else:
        message = f"no rule has the code {code}, so this silences nothing"
        help = "see `archcheck rules` for the codes"
    return Finding(
        message,
        pragma.location,
        help=help,
        severity=Severity.NOTE,
        code=UNUSED_CODE,
        name=UNUSED_NAME,
    )
