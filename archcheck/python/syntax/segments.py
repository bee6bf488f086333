"""Broken code cut into top-level statements, by indentation alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from archcheck.python.text.comments import TOKEN, masked

# What begins a statement even where a bracket before it was never closed. A keyword argument at
# the margin has no blanks around its `=`, or a comma behind it.
_BEGINS = re.compile(
    r"from\s+[\w.]+\s+import\b|import\s+\w|(?:async\s+)?def\s+\w+\s*\(|class\s+\w+\s*[(:]|@\w"
    r"|(?:if|for|while|with|try)\b.*:\s*$|(?:return|raise|del|assert)\s"
    r"|[A-Za-z_][\w.]*(?:, [A-Za-z_][\w.]*)* [-+*/]?= .*[^,]$"
)
_GOES_ON = re.compile(r"(?:else|elif|except|finally)\b|[)\]}]")
_NEAR = 20  # brackets are nested no deeper by people
_OPENERS, _CLOSERS = "([{", ")]}"


@dataclass(frozen=True, slots=True)
class Bracket:
    """A bracket in a text; line and column count from 0."""

    character: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Brackets:
    """The brackets that have no partner.

    Attributes:
        open: Those never closed, outermost first.
        wrong: A closer that meets the opener of another kind, with that opener; or none.
    """

    open: tuple[Bracket, ...]
    wrong: tuple[Bracket, Bracket | None] | None


def segments(lines: Sequence[str]) -> list[range]:
    """The indices of the lines of each top-level statement, in order.

    Comments and blank lines go with the statement above them. A statement that leaves a bracket
    open ends where another one plainly begins.
    """
    text = "\n".join(lines)
    bare = masked(text).split("\n")
    inside = lines_inside_strings(text)
    starts: list[int] = []
    depth = 0
    decorated = continued = False
    for number, line in enumerate(bare):
        # Python's blanks, and no others.
        if not lines[number].strip(" \t\f"):
            continue
        if not lines[number].lstrip().startswith("#") and number not in inside:
            at_margin = lines[number][0] not in " \t\f"
            if not starts:
                starts.append(number)
            elif at_margin and depth and _BEGINS.match(line):
                depth = 0
                starts.append(number)
            elif at_margin and not (
                depth or decorated or continued or _GOES_ON.match(lines[number])
            ):
                starts.append(number)
            if at_margin and not depth:
                decorated = line.startswith("@")
        for character in line:
            if character in _OPENERS:
                depth += 1
            elif character in _CLOSERS:
                depth = max(0, depth - 1)
        continued = line.endswith("\\")
    if not starts:
        return [range(len(lines))]
    ends = [*starts[1:], len(lines)]
    return [range(start, end) for start, end in zip(starts, ends, strict=True)]


def unbalanced(text: str) -> Brackets:
    """The brackets of a text that have no partner; those in strings and comments don't count."""
    stack: list[Bracket] = []
    lost: list[Bracket] = []
    wrong: tuple[Bracket, Bracket | None] | None = None
    lines = masked(text).split("\n")
    for number, line in enumerate(lines):
        for column, character in enumerate(line):
            if character in _OPENERS:
                stack.append(Bracket(character, number, column))
            elif character in _CLOSERS:
                closer = Bracket(character, number, column)
                while len(stack) > 1 and _is_for_an_outer_one(closer, stack, lines):
                    lost.append(stack.pop())
                opener = stack.pop() if stack else None
                matches = opener and _OPENERS.index(opener.character) == _CLOSERS.index(character)
                if wrong is None and not matches:
                    wrong = closer, opener
    return Brackets((*stack, *lost), wrong)


def _is_for_an_outer_one(closer: Bracket, stack: Sequence[Bracket], lines: Sequence[str]) -> bool:
    """Whether a bracket that begins its line stands below the line of an outer opener."""
    before = lines[closer.line][: closer.column]
    if before.strip():
        return False
    wanted = _OPENERS[_CLOSERS.index(closer.character)]

    def stands_below(opener: Bracket) -> bool:
        text = lines[opener.line]
        same = len(text) - len(text.lstrip()) == len(before)
        return same and opener.character == wanted and opener.line < closer.line

    return not stands_below(stack[-1]) and any(map(stands_below, stack[-_NEAR:-1]))


def lines_inside_strings(text: str) -> set[int]:
    """The lines (from 0) that begin inside a string."""
    inside: set[int] = set()
    line = at = 0
    for match in TOKEN.finditer(text):
        line += text.count("\n", at, match.start())
        at = match.start()
        inside.update(range(line + 1, line + 1 + match.group().count("\n")))
    return inside
