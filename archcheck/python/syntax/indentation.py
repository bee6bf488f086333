"""Indentation that Python cannot read, and the one reading of it that makes sense."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from archcheck.core.finding import Edit
from archcheck.python.syntax.repairs import (
    Mended,
    content_span,
    indentation_of,
    indentation_span,
    shown_indentation,
    syntax_error,
)
from archcheck.python.syntax.segments import lines_inside_strings
from archcheck.python.syntax.tree import syntax_tree
from archcheck.python.text.comments import masked
from archcheck.python.text.document import Document, SyntaxProblem

_MOST_EDITS = 2  # in one statement
_MOST_TRIALS = 60
_MOST_LINES = 60_000  # parsed in all trials together


def with_spaces(lines: Sequence[str], first: int, document: Document) -> Mended | None:
    """The statement with spaces in the place of tabs, where every width of a tab says the same."""
    inside = lines_inside_strings("\n".join(lines))
    tabbed = [
        number
        for number, line in enumerate(lines)
        if "\t" in indentation_of(line) and number not in inside
    ]
    if not tabbed:
        return None
    readings: dict[str, list[str]] = {}
    for width in (8, 4, 2):
        spaced = list(lines)
        for number in tabbed:
            indentation = indentation_of(lines[number])
            spaced[number] = indentation.expandtabs(width) + lines[number][len(indentation) :]
        try:
            readings.setdefault(ast.dump(syntax_tree("\n".join(spaced))), spaced)
        except (SyntaxError, RecursionError):
            continue
    if len(readings) != 1:
        return None
    spaced = next(iter(readings.values()))
    error = syntax_error(lines)
    at = (error.lineno if error and error.lineno else 1) - 1
    edits = tuple(
        Edit(
            indentation_span(document, first + number, spaced[number]),
            indentation_of(spaced[number]),
        )
        for number in tabbed
    )
    problem = SyntaxProblem(
        "tabs and spaces are mixed: this line's indentation and that of the lines above "
        "cannot be compared",
        content_span(document, first + at, spaced[at]),
        label="indented with a tab"
        if "\t" in indentation_of(lines[at])
        else "indented with spaces",
        help="indent with spaces only",
        edits=edits,
        repaired=True,
    )
    shifts = {first + number: len(lines[number]) - len(spaced[number]) for number in tabbed}
    return Mended(tuple(spaced), (problem,), shifts)


def with_even_indentation(lines: Sequence[str], first: int, document: Document) -> Mended | None:
    """The statement with a line or two moved by one column, where no other move would do."""
    error = syntax_error(lines)
    if not isinstance(error, IndentationError):
        return None
    trials = [min(_MOST_TRIALS, max(4, _MOST_LINES // len(lines)))]
    for most in range(1, _MOST_EDITS + 1):
        solutions = list(_moves(list(lines), error, most, trials))
        if not solutions:
            continue
        moved = solutions[0] if len(solutions) == 1 else _evenest(solutions, lines)
        if moved is None:
            return None
        new = list(lines)
        for number, width in moved.items():
            new[number] = " " * width + lines[number].lstrip(" ")
        tree = syntax_tree("\n".join(new))
        return Mended(
            tuple(new),
            tuple(_misindented(n, lines, new, first, document, tree) for n in sorted(moved)),
            {first + n: len(lines[n]) - len(new[n]) for n in moved},
        )
    return None


def _moves(
    lines: list[str], error: SyntaxError, most: int, trials: list[int]
) -> Iterator[dict[int, int]]:
    """The sets of lines, with their new indentation, that make the statement parse."""
    for number, width in _suspects(lines, (error.lineno or 0) - 1):
        if trials[0] <= 0:
            return
        trials[0] -= 1
        new = [*lines]
        new[number] = " " * width + lines[number].lstrip(" ")
        left = syntax_error(new)
        if left is None:
            yield {number: width}
        elif (
            most > 1
            and isinstance(left, IndentationError)
            and (left.lineno or 0) > (error.lineno or 0)
        ):
            for others in _moves(new, left, most - 1, trials):
                if number not in others:
                    yield {number: width, **others}


def _suspects(lines: Sequence[str], at: int) -> Iterator[tuple[int, int]]:
    """Lines that may be one column off when Python stops at a line, with a better indentation."""
    if not 0 <= at < len(lines) or any("\t" in indentation_of(line) for line in lines[: at + 1]):
        return
    levels = indentation_levels(lines, at)
    width = len(indentation_of(lines[at]))
    if not levels and width == 1:
        yield at, 0
    for level, opener in levels:
        if abs(level - width) == 1:
            yield at, level
            yield opener, width


def indentation_levels(lines: Sequence[str], at: int) -> list[tuple[int, int]]:
    """The indentations that are open when a line is reached, each with the line that opened it."""
    levels: list[tuple[int, int]] = []
    depth = 0
    for number, line in enumerate(masked("\n".join(lines)).split("\n")[:at]):
        if line.strip() and not depth and indentation_of(line) == indentation_of(lines[number]):
            width = len(indentation_of(line))
            while levels and levels[-1][0] > width:
                levels.pop()
            if not levels or levels[-1][0] < width:
                levels.append((width, number))
        depth += sum(map(line.count, "([{")) - sum(map(line.count, ")]}"))
    return levels


def _evenest(solutions: Sequence[dict[int, int]], lines: Sequence[str]) -> dict[int, int] | None:
    """The one solution whose lines land on the columns that the rest of the statement uses."""
    widths = [len(indentation_of(line)) for line in lines if line.strip()]
    units = (u for u in (4, 2, 3) if sum(w % u == 0 for w in widths) * 10 >= 6 * len(widths))
    unit = next(units, 0)
    even = [s for s in solutions if unit and all(width % unit == 0 for width in s.values())]
    return even[0] if len(even) == 1 else None


def _misindented(
    number: int,
    lines: Sequence[str],
    new: Sequence[str],
    first: int,
    document: Document,
    tree: ast.Module,
) -> SyntaxProblem:
    line = first + number
    was, now = len(indentation_of(lines[number])), len(indentation_of(new[number]))
    shown = shown_indentation(document, line)
    whose = _siblings(tree, number + 1)
    change = f"{'remove' if was > now else 'add'} one space"
    return SyntaxProblem(
        f"this line is indented {shown + was}, {whose} {shown + now}",
        content_span(document, line, new[number]),
        label=f"one column too {'far right' if was > now else 'far left'}",
        help=change,
        edits=(Edit(indentation_span(document, line, new[number]), " " * now),),
        repaired=True,
    )


def _siblings(tree: ast.Module, line: int) -> str:
    """The statements beside the one at a line, in words."""
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            body = getattr(node, name, None)
            if isinstance(body, list) and any(getattr(s, "lineno", 0) == line for s in body):
                if isinstance(node, ast.ClassDef):
                    function = ast.FunctionDef | ast.AsyncFunctionDef
                    methods = all(isinstance(s, function) for s in body)
                    return f"the other {'methods' if methods else 'lines'} of `{node.name}`"
                return "the other lines of its block" if len(body) > 1 else "its block"
    return "the lines around it"
