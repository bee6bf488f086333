"""What a repair of broken code gives, and how it speaks of indentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from archcheck.core.finding import Location
from archcheck.python.syntax.tree import syntax_tree
from archcheck.python.text.comments import without_comment
from archcheck.python.text.document import Document, SyntaxProblem


@dataclass(frozen=True, slots=True)
class Mended:
    """A statement after a repair.

    Attributes:
        lines: Its lines, as many as before.
        problems: What was repaired.
        shifts: How many characters longer the author's indentation is, by line of `code`.
    """

    lines: tuple[str, ...]
    problems: tuple[SyntaxProblem, ...] = ()
    shifts: Mapping[int, int] = field(default_factory=dict)

    def then(self, later: Mended) -> Mended:
        """This repair and the one made on its lines, as one."""
        problems = tuple(_moved(problem, later.shifts) for problem in self.problems)
        shifts = dict(self.shifts)
        for line, shift in later.shifts.items():
            shifts[line] = shifts.get(line, 0) + shift
        return Mended(later.lines, (*problems, *later.problems), shifts)


def _moved(problem: SyntaxProblem, shifts: Mapping[int, int]) -> SyntaxProblem:
    """The problem in the columns that its lines have after their indentation was repaired."""

    def at(place: Location) -> Location:
        shift = shifts.get(place.line, 0)
        return replace(
            place,
            column=max(1, place.column - shift),
            end_column=max(1, place.end_column - shift),
        )

    edits = tuple(replace(edit, location=at(edit.location)) for edit in problem.edits)
    return problem._replace(location=at(problem.location), edits=edits)


def syntax_error(lines: Sequence[str]) -> SyntaxError | None:
    """What Python says about these lines; None where they parse."""
    try:
        syntax_tree("\n".join(lines))
    except SyntaxError as error:
        return error
    return None


def indentation_of(line: str) -> str:
    """The blanks at the start of a line, as Python counts them."""
    return line[: len(line) - len(line.lstrip(" \t\f"))]


def indentation_span(document: Document, number: int, line: str) -> Location:
    """The span of a line's indentation."""
    return Location(document.path, number, 1, number, len(indentation_of(line)) + 1)


def content_span(document: Document, number: int, line: str) -> Location:
    """The span of what a line says, without its comment."""
    start = len(indentation_of(line)) + 1
    end = max(len(without_comment(line).rstrip()), start)
    return Location(document.path, number, start, number, end + 1)


def shown_indentation(document: Document, line: int) -> int:
    """The blanks that the document's author sees before the code of a line."""
    origin = document.origins.get(line)
    if origin is None or not origin.start:
        return 0
    if document.kind == "markdown":
        prefix = document.shown_lines[origin.line - 1][: origin.start]
        return origin.start if not prefix.strip(" ") else 0
    return origin.start
