"""Findings: what a rule says about a defect, and where.

All positions inside archcheck are those of the text that Python compiles (`Document.code`);
`check` translates them once, at the end, into those of the file that the user wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

Safety: TypeAlias = Literal["safe", "unsafe"]


class Severity(StrEnum):
    """How bad a finding is; ordered, so that `finding.severity >= fail_on` can be asked."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        return ("note", "warning", "error").index(self.value)

    def __ge__(self, other: str) -> bool:
        return self.rank >= Severity(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > Severity(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= Severity(other).rank

    def __lt__(self, other: str) -> bool:
        return self.rank < Severity(other).rank


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A span of text. Lines and columns count from 1, in characters; `end_column` is exclusive.

    `cell` is the number of a notebook's cell (from 1), whose lines `line` then counts.
    """

    path: str
    line: int
    column: int = 1
    end_line: int = 0
    end_column: int = 0
    cell: int | None = None

    def covers(self, other: Location) -> bool:
        """Whether the other span starts inside this one."""
        return (
            self.path == other.path
            and (self.line, self.column) <= (other.line, other.column)
            and (other.line, other.column)
            <= max((self.line, self.column), (self.end_line, self.end_column))
        )


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the text of a span; a span of no length inserts."""

    location: Location
    new: str


@dataclass(frozen=True, slots=True)
class Fix:
    """Edits that mend a finding.

    Attributes:
        verified: They were tried: the finding went away, and no other one came.
        reveals: The defect keeps other rules from seeing the class or function that it is in.
            What they find there once it is mended is no fault of this fix.
    """

    safety: Safety
    edits: tuple[Edit, ...]
    verified: bool = False
    reveals: bool = False


@dataclass(frozen=True, slots=True)
class Related:
    """A second place that a finding speaks of, with what it says there."""

    location: Location
    message: str


@dataclass(frozen=True, slots=True)
class ShapeNote:
    """A line of the source that led to a finding, and the shape of the value that it bound."""

    location: Location
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One defect.

    A rule fills in what it knows; the engine stamps `code`, `name` and `severity` (unless the
    rule lowers or raises the severity for this one) and `target`.

    Attributes:
        message: One sentence: which layer, what it expects, what it got.
        location: The sub-expression to underline.
        label: The few words beside the underline.
        scope: The function that the location is in, such as `ResNet32.forward`.
        module: The path of the submodule that the finding is about, such as `layer1.0.conv1`.
        trail: Lines that led there, with the shapes of what they bound.
        related: Other places, such as where the layer was declared.
        notes: Sentences that explain: the arithmetic, what works.
        help: The smallest change that mends it.
        defect: Where the defect lies, if not at `location`: the same defect read from the
            source and from the trace is reported once.
        explains: A failure of loading or of the forward pass raised in this span follows from
            this finding; without it, the span of `location`.
        covers: Findings of other rules that are but another side of this defect: their code, and
            a span that they (or their `defect`) start in. They are not reported.
        guesses_loss: No loss was seen, and the finding supposes one: where the user says which
            loss a model of the file is trained with, what the trace shows stands alone.
        tentative: Sizes that are equal by chance would show the same. It is not reported; the model
            is traced again with symbols, and the rule asked again.
    """

    message: str
    location: Location
    label: str = ""
    scope: str | None = None
    module: str | None = None
    trail: tuple[ShapeNote, ...] = ()
    related: tuple[Related, ...] = ()
    notes: tuple[str, ...] = ()
    help: str | None = None
    fix: Fix | None = None
    defect: Location | None = None
    explains: Location | None = None
    covers: tuple[tuple[str, Location], ...] = ()
    guesses_loss: bool = False
    tentative: bool = False
    severity: Severity | None = None
    code: str = ""
    name: str = ""
    target: str | None = None
