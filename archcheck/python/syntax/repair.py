"""Repairs of broken code that leave no doubt about what its author meant.

A repair is certain when it is the only small change that makes the statement parse.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from archcheck.core.finding import Edit, Location
from archcheck.python.syntax.indentation import with_even_indentation, with_spaces
from archcheck.python.syntax.lookalikes import with_plain_characters
from archcheck.python.syntax.repairs import Mended, indentation_of, syntax_error
from archcheck.python.text.comments import without_comment
from archcheck.python.text.document import Document, SyntaxProblem


def mend(lines: Sequence[str], first: int, document: Document) -> Mended | None:
    """Repair a statement that does not parse, if that leaves no doubt.

    Args:
        lines: Of the statement.
        first: The line of `code` that it begins at.
    """
    plain = with_plain_characters(lines, first, document)
    if plain.problems and syntax_error(plain.lines) is None:
        return plain
    for repair in (_with_colons, with_spaces, with_even_indentation):
        mended = repair(plain.lines, first, document)
        if mended is not None:
            return plain.then(mended)
    return None


_HEADER_WORD = re.compile(
    r"\s*(?:async\s+)?(?:def|class|if|elif|else|for|while|try|except|finally|with|match|case)\b"
)


def _with_colons(lines: Sequence[str], first: int, document: Document) -> Mended | None:
    """The statement with the colons that its headers lack."""
    lines = list(lines)
    problems: list[SyntaxProblem] = []
    while (error := syntax_error(lines)) is not None:
        number = min((error.lineno or 0), len(lines)) - 1
        header = next((n for n in range(number, -1, -1) if _HEADER_WORD.match(lines[n])), None)
        if not str(error.msg).startswith("expected ':'") or header is None or len(problems) > 20:
            return None
        line = lines[number]
        code = without_comment(line).rstrip()
        if code.endswith((":", "\\")):
            return None
        lines[number] = f"{code}:{line[len(code) :]}"
        end = Location(document.path, first + number, len(code) + 1, first + number, len(code) + 1)
        words = lines[header].split()
        word = " ".join(words[: 2 if words[0] == "async" else 1]).rstrip(":")
        problems.append(
            SyntaxProblem(
                f"the colon at the end of this `{word}` is missing",
                replace(end, column=len(indentation_of(line)) + 1),
                label="no colon",
                help="end the line with `:`",
                edits=(Edit(end, ":"),),
                repaired=True,
            )
        )
    return Mended(tuple(lines), tuple(problems)) if problems else None
