"""What to make of code that does not parse: repair what is certain, leave out the rest, say why."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from archcheck.core.finding import Location
from archcheck.python.syntax.explaining import explain
from archcheck.python.syntax.python_likeness import is_broken_python
from archcheck.python.syntax.reasons import broken
from archcheck.python.syntax.repair import mend
from archcheck.python.syntax.repairs import syntax_error
from archcheck.python.syntax.segments import segments
from archcheck.python.syntax.tree import Parsed, syntax_tree
from archcheck.python.text.comments import TOKEN
from archcheck.python.text.document import Block, Document, LineOrigin, SyntaxProblem

_MOST_PROBLEMS = 20


@dataclass
class _Recovery:
    """The work on one document."""

    document: Document
    lines: list[str]
    problems: list[SyntaxProblem] = field(default_factory=list)
    shifts: dict[int, int] = field(default_factory=dict)
    complete: bool = True

    def block(self, block: Block) -> None:
        """Make a block parse."""
        span = slice(block.first_line - 1, block.last_line)
        self._conflicts(span)
        error = syntax_error(self.lines[span])
        if error is None:
            return
        known_problems = len(self.problems)
        for statement in segments(self.lines[span]):
            self._statement(span.start + statement.start, span.start + statement.stop)
        left = syntax_error(self.lines[span])
        if left is not None:
            # The cuts between the statements were wrong: nothing of the block can be used.
            if len(self.problems) == known_problems:
                self._explain(self.lines[span], left, block.first_line)
            self._leave_out(span.start, block.last_line)

    def _statement(self, start: int, stop: int) -> None:
        lines = self.lines[start:stop]
        error = syntax_error(lines)
        if error is None:
            return
        mended = mend(lines, start + 1, self.document)
        if mended is not None and self._is_broken(lines, start + 1, mended.problems[0], known=True):
            self.lines[start:stop] = mended.lines
            self.problems += mended.problems
            self.shifts |= mended.shifts
            return
        self._explain(lines, error, start + 1)
        self._leave_out(start, stop)

    def _explain(self, lines: Sequence[str], error: SyntaxError, first: int) -> None:
        problem, known = explain(broken(lines, error, first, self.document))
        if self._is_broken(lines, first, problem, known=known):
            self.problems.append(problem)

    def _is_broken(
        self, lines: Sequence[str], first: int, problem: SyntaxProblem, *, known: bool
    ) -> bool:
        """Whether these lines are broken Python; in a document they may be something else."""
        if self.document.kind != "markdown":
            return True
        return is_broken_python(lines, problem.location.line - first, known=known)

    def _leave_out(self, start: int, stop: int) -> None:
        """Blank lines, but for their comments."""
        self.complete = False
        text = "\n".join(self.lines[start:stop])
        kept = [""] * (stop - start)
        for match in TOKEN.finditer(text):
            if match.group().startswith("#"):
                line = text.count("\n", 0, match.start())
                column = match.start() - (text.rfind("\n", 0, match.start()) + 1)
                kept[line] = " " * column + match.group()
        self.lines[start:stop] = kept

    def _conflicts(self, span: slice) -> None:
        """Keep the first side of what a merge left undecided."""
        marks: dict[int, str] = {}
        for number in range(span.start, span.stop):
            match = _CONFLICT.match(self.lines[number])
            if match:
                marks[number] = match[1][0]
        if not {"<", ">"} <= set(marks.values()):
            return
        dropping = False
        for number in range(span.start, span.stop):
            mark = marks.get(number, "")
            if mark == "<":
                end = len(self.lines[number].rstrip()) + 1
                self.problems.append(
                    SyntaxProblem(
                        "a merge conflict is not resolved here",
                        Location(self.document.path, number + 1, 1, number + 1, end),
                        label="its first side begins here",
                        help="keep one side and delete the markers; "
                        "the check went on with the first side",
                    )
                )
            dropping = mark in ("|", "=") or (dropping and mark != "<")
            if mark or dropping:
                self.lines[number] = ""
                self.complete = False
            dropping = dropping and mark != ">"


_CONFLICT = re.compile(r"(<{7}|\|{7}|={7}|>{7})(?: |$)")


def recover(document: Document) -> Parsed:
    """The statements of a document that parse, and why the others do not."""
    work = _Recovery(document, list(document.lines))
    for block in document.blocks:
        work.block(block)
    code = "\n".join(work.lines)
    try:
        tree = syntax_tree(code)
    except SyntaxError as error:
        # Each block parses, and all together do not: the whole is too much for the parser.
        problem = SyntaxProblem(
            f"Python cannot read this: {error.msg}", Location(document.path, error.lineno or 1)
        )
        work.problems.append(problem)
        work.complete = False
        tree, code = ast.Module([], []), "\n" * (len(work.lines) - 1)
    problems = sorted((*document.problems, *work.problems), key=lambda p: p.location)
    repaired = replace(document, code=code, origins=_shifted(document, work.shifts))
    return Parsed(repaired, tree, tuple(problems[:_MOST_PROBLEMS]), work.complete)


def _shifted(document: Document, shifts: dict[int, int]) -> dict[int, LineOrigin]:
    """Where the lines stand in the document, now that some are indented otherwise in `code`."""
    origins = dict(document.origins)
    for line, shift in shifts.items():
        origin = origins.get(line) or LineOrigin(line)
        origins[line] = origin._replace(shift=origin.shift + shift)
    return origins
