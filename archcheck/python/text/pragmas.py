"""Comments that speak to archcheck: `# archcheck: ignore[AC306]` and its kin."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from archcheck.core.finding import Location
from archcheck.python.text.comments import Comment, comments
from archcheck.python.text.document import Document

Lines: TypeAlias = tuple[int, int]  # both included

# In backticks it is only spoken of.
_PRAGMA = re.compile(
    r"(?<!`)#\s*archcheck:\s*(?P<verb>ignore-file|ignore)\b(?:\s*\[(?P<codes>[^\]]*)\])?"
)
_NOQA = re.compile(r"(?<!`)#\s*noqa\s*:\s*(?P<codes>[A-Z]+\d*(?:[,\s]+[A-Z]+\d+)*)", re.IGNORECASE)
_CODE = re.compile(r"[^\s,]+")
_HEADED = (
    ast.If | ast.For | ast.AsyncFor | ast.While | ast.With | ast.AsyncWith | ast.Try | ast.Match
)
_DEFINITION = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Pragma:
    """One code that a comment silences; in positions of `code`.

    Attributes:
        verb: `noqa` is shared with other linters, whose codes are none of ours.
        code: A code or a prefix, as written; "" where the comment names none.
        location: The code in the comment.
        lines: What it silences; None stands for the whole file.
        late: It speaks of the whole file, but not in its first lines.
    """

    verb: Literal["ignore", "ignore-file", "noqa"]
    code: str
    location: Location
    lines: tuple[Lines, ...] | None
    late: bool = False

    def covers(self, location: Location) -> bool:
        """Whether a place is among what it silences."""
        if location.path != self.location.path:
            return False
        if self.lines is None:
            return True
        return any(first <= location.line <= last for first, last in self.lines)


def pragmas(document: Document, tree: ast.Module) -> tuple[Pragma, ...]:
    """Every suppression in a document, in order."""
    found: list[Pragma] = []
    for comment in comments(document):
        for verb, codes, column in _speaking(comment):
            if verb == "ignore-file":
                late = comment.line > _first_lines(tree)
                lines: tuple[Lines, ...] | None = () if late else None
            else:
                late, lines = False, _silenced(comment, document, tree)
            for name, at in codes or [("", 0)]:
                start = column + at
                end = start + len(name) if name else comment.column + len(comment.text)
                place = Location(document.path, comment.line, start, comment.line, end)
                found.append(Pragma(verb, name, place, lines, late))
    return tuple(found)


def _speaking(
    comment: Comment,
) -> list[tuple[Literal["ignore", "ignore-file", "noqa"], list[tuple[str, int]], int]]:
    """The pragmas in a comment: verb, codes with their offsets, and the column to add those to."""
    found: list[tuple[Literal["ignore", "ignore-file", "noqa"], list[tuple[str, int]], int]] = []
    for match in _PRAGMA.finditer(comment.text):
        verb: Literal["ignore", "ignore-file"] = (
            "ignore" if match["verb"] == "ignore" else "ignore-file"
        )
        codes = [(m.group(), m.start()) for m in _CODE.finditer(match["codes"] or "")]
        start = match.start("codes") if codes else match.start()
        found.append((verb, codes, comment.column + start))
    for match in _NOQA.finditer(comment.text):
        codes = [(m.group().upper(), m.start()) for m in _CODE.finditer(match["codes"])]
        found.append(("noqa", codes, comment.column + match.start("codes")))
    return found


def _first_lines(tree: ast.Module) -> int:
    """The last line that still is among a file's first: that of its first statement."""
    for statement in tree.body:
        docstring = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not docstring:
            return statement.lineno
    return 2**31


def _silenced(comment: Comment, document: Document, tree: ast.Module) -> tuple[Lines, ...]:
    """The lines that a comment on a line speaks for."""
    line = comment.line
    if comment.own_line:
        line = _next_code(document, line)
    return (comment.line, comment.line), _statement_lines(tree, line, above=comment.own_line)


def _next_code(document: Document, line: int) -> int:
    lines = document.lines
    for number in range(line, len(lines)):
        text = lines[number].strip()
        if text and not text.startswith("#"):
            return number + 1
    return line


def _statement_lines(tree: ast.Module, line: int, *, above: bool) -> Lines:
    """The lines of the statement on this line.

    Of a class or a function, all of it, decorators too; of another compound statement only its
    head, for its body's lines speak for themselves.

    Args:
        above: The comment stands above the line, so that a decorator there means what it
            decorates.
    """
    body: list[ast.stmt] = tree.body
    while True:
        statement = next((s for s in body if _first(s) <= line <= (s.end_lineno or s.lineno)), None)
        if statement is None:
            return line, line
        end = statement.end_lineno or statement.lineno
        if isinstance(statement, _DEFINITION):
            head = max(_first(statement.body[0]), statement.lineno + 1)
            if statement.lineno <= line < head or (above and line == _first(statement)):
                return _first(statement), end
            if line < statement.lineno:
                return line, line
        elif not isinstance(statement, _HEADED):
            return statement.lineno, end
        inner = _bodies(statement)
        head_end = max(_first(inner[0]) - 1, statement.lineno)
        if line <= head_end:
            return statement.lineno, head_end
        body = inner


def _first(statement: ast.stmt) -> int:
    if isinstance(statement, _DEFINITION):
        return min(
            (statement.lineno, *(decorator.lineno for decorator in statement.decorator_list))
        )
    return statement.lineno


def _bodies(statement: ast.stmt) -> list[ast.stmt]:
    """The statements inside a compound one, in order."""
    inner: list[ast.stmt] = []
    for name in ("body", "handlers", "cases", "orelse", "finalbody"):
        for part in getattr(statement, name, ()):
            inner += part.body if isinstance(part, ast.ExceptHandler | ast.match_case) else [part]
    return inner
