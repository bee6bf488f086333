"""Repairs of broken code that leave no doubt about what its author meant.

A repair is certain when it is the only small change that makes the statement parse.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from archcheck.finding import Edit, Location
from archcheck.source.comments import masked
from archcheck.source.document import Document, SyntaxProblem
from archcheck.source.syntax import syntax_tree

_MOST_EDITS = 2  # of indentation, in one statement
_MOST_TRIALS = 60

_SPACES = "\u00a0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u202f\u205f\u3000"
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"
_LOOKALIKES: Mapping[str, str] = {
    # The full-width forms of ASCII's characters.
    **{chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},
    "\u3001": ",",
    "\u3010": "[",
    "\u3011": "]",
    "\u2212": "-",
    "\u2013": "-",
    "\u2014": "-",
    **dict.fromkeys(_SPACES, " "),
    # A blank does in its place wherever it does not stand inside a name.
    **dict.fromkeys(_INVISIBLE, " "),
    **dict.fromkeys("\u201c\u201d\u201e\u201f", '"'),
    **dict.fromkeys("\u2018\u2019\u201a\u201b", "'"),
}
_STRANGE = re.compile(f"[{''.join(re.escape(c) for c in _LOOKALIKES)}]")
_QUOTED = re.compile(
    '[\u201c\u201d]([^\u201c\u201d"\n]*)[\u201c\u201d]'
    "|[\u2018\u2019]([^\u2018\u2019'\n]*)[\u2018\u2019]"
)


@dataclass(frozen=True, slots=True)
class Mended:
    """A statement that parses now.

    Attributes:
        lines: Its lines, as many as before.
        problems: What was repaired.
        shifts: How many characters longer the author's indentation is, by line of `code`.
    """

    lines: tuple[str, ...]
    problems: tuple[SyntaxProblem, ...]
    shifts: Mapping[int, int] = field(default_factory=dict)


def mend(lines: Sequence[str], first: int, document: Document) -> Mended | None:
    """Repair a statement that does not parse, if that leaves no doubt.

    Args:
        lines: Of the statement.
        first: The line of `code` that it begins at.
    """
    characters = _with_plain_characters(lines, first, document)
    lines = characters.lines
    problems = list(characters.problems)
    if problems and _parses(lines):
        return characters
    colons = _with_colons(lines, first, document)
    if colons is not None:
        return replace(colons, problems=(*problems, *colons.problems))
    for repair in (_with_spaces, _with_even_indentation):
        mended = repair(lines, first, document)
        if mended is not None:
            moved = tuple(_moved(problem, mended.shifts) for problem in problems)
            return replace(mended, problems=(*moved, *mended.problems))
    return None


def _parses(lines: Sequence[str]) -> bool:
    return _error(lines) is None


def _error(lines: Sequence[str]) -> SyntaxError | None:
    try:
        syntax_tree("\n".join(lines))
    except SyntaxError as error:
        return error
    return None


def _moved(problem: SyntaxProblem, shifts: Mapping[int, int]) -> SyntaxProblem:
    """The problem in the columns that its lines have after their indentation was repaired."""

    def at(place: Location) -> Location:
        shift = shifts.get(place.line, 0)
        return replace(place, column=place.column - shift, end_column=place.end_column - shift)

    edits = tuple(replace(edit, location=at(edit.location)) for edit in problem.edits)
    return replace(problem, location=at(problem.location), edits=edits)


def _with_plain_characters(lines: Sequence[str], first: int, document: Document) -> Mended:
    """The statement with ASCII in the place of characters that look like it."""
    before = "\n".join(lines)
    if not _STRANGE.search(before):
        return Mended(tuple(lines), ())
    bare = masked(before)

    def straightened(match: re.Match[str]) -> str:
        # Inside a comment or a string, a curly quote is text.
        if not bare[match.start()].strip():
            return match.group()
        quote = _LOOKALIKES[match.group()[0]]
        return quote + (match[1] if match[1] is not None else match[2]) + quote

    after = _QUOTED.sub(straightened, before)
    bare = masked(after)
    after = "".join(
        _LOOKALIKES.get(character, character) if bare[at] == character else character
        for at, character in enumerate(after)
    )
    edits = []
    for number, (old, new) in enumerate(zip(lines, after.split("\n"), strict=True), start=first):
        for column, (was, now) in enumerate(zip(old, new, strict=True), start=1):
            if was != now:
                place = Location(document.path, number, column, number, column + 1)
                edits.append((was, Edit(place, "" if was in _INVISIBLE else now)))
    if not edits:
        return Mended(tuple(lines), ())
    was, edit = edits[0]
    others = len(edits) - 1
    more = f" (and {others} more like it)" if others else ""
    problem = SyntaxProblem(
        f"{_described(was)} is not Python's {_described(edit.new)}{more}"
        if edit.new.strip()
        else f"{_described(was)} is no space that Python knows{more}",
        edit.location,
        label=f"write `{edit.new}`" if edit.new.strip() else "",
        help=f"replace {'it' if not others else 'them'} by the plain character",
        edits=tuple(edit for _, edit in edits),
        repaired=True,
    )
    return Mended(tuple(after.split("\n")), (problem,))


def _described(character: str) -> str:
    import unicodedata

    if character.isprintable() and not character.isspace():
        return f"`{character}`"
    return f"the {unicodedata.name(character, 'character').lower()} (U+{ord(character):04X})"


_HEADER_WORD = re.compile(
    r"\s*(?:async\s+)?(?:def|class|if|elif|else|for|while|try|except|finally|with|match|case)\b"
)


def _with_colons(lines: Sequence[str], first: int, document: Document) -> Mended | None:
    """The statement with the colons that its headers lack."""
    lines = list(lines)
    problems: list[SyntaxProblem] = []
    while (error := _error(lines)) is not None:
        number = (error.lineno or 0) - 1
        if "':'" not in str(error.msg) or not 0 <= number < len(lines) or len(problems) > 20:
            return None
        line = lines[number]
        code = masked(line).rstrip()
        code = line[: len(code)] if line[len(code) :].lstrip().startswith("#") else line.rstrip()
        if not _HEADER_WORD.match(line) or code.endswith((":", "\\")):
            return None
        lines[number] = f"{code}:{line[len(code) :]}"
        place = Location(document.path, first + number, len(code) + 1)
        place = replace(place, end_line=place.line, end_column=place.column)
        word = line.split()[0] if line.split()[0] != "async" else " ".join(line.split()[:2])
        problems.append(
            SyntaxProblem(
                f"the `{word}` line lacks the colon at its end",
                replace(place, column=len(line) - len(line.lstrip()) + 1),
                label="no colon",
                help="end the line with `:`",
                edits=(Edit(place, ":"),),
                repaired=True,
            )
        )
    return Mended(tuple(lines), tuple(problems)) if problems else None


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t\f"))]


def _with_spaces(lines: Sequence[str], first: int, document: Document) -> Mended | None:
    """The statement with spaces in the place of tabs, where every width of a tab says the same."""
    if not any("\t" in _indent(line) for line in lines):
        return None
    readings: dict[str, list[str]] = {}
    for width in (8, 4, 2):
        spaced = [_indent(line).expandtabs(width) + line[len(_indent(line)) :] for line in lines]
        try:
            readings.setdefault(ast.dump(syntax_tree("\n".join(spaced))), spaced)
        except (SyntaxError, RecursionError):
            continue
    if len(readings) != 1:
        return None
    spaced = next(iter(readings.values()))
    error = _error(lines)
    at = (error.lineno if error and error.lineno else 1) - 1
    edits = tuple(
        Edit(_indentation(document, number, new), _indent(new))
        for number, (old, new) in enumerate(zip(lines, spaced, strict=True), start=first)
        if old != new
    )
    problem = SyntaxProblem(
        "tabs and spaces are mixed: this line's indentation and that of the lines above "
        "cannot be compared",
        _content(document, first + at, spaced[at]),
        label="indented with a tab" if "\t" in _indent(lines[at]) else "indented with spaces",
        help="indent with spaces only",
        edits=edits,
        repaired=True,
    )
    shifts = {
        number: len(old) - len(new)
        for number, (old, new) in enumerate(zip(lines, spaced, strict=True), start=first)
        if old != new
    }
    return Mended(tuple(spaced), (problem,), shifts)


def _indentation(document: Document, number: int, line: str) -> Location:
    return Location(document.path, number, 1, number, len(_indent(line)) + 1)


def _content(document: Document, number: int, line: str) -> Location:
    return Location(
        document.path, number, len(_indent(line)) + 1, number, max(len(line.rstrip()), 1) + 1
    )


def _with_even_indentation(lines: Sequence[str], first: int, document: Document) -> Mended | None:
    """The statement with a line or two moved by one column, where no other move would do."""
    error = _error(lines)
    if not isinstance(error, IndentationError):
        return None
    trials = [_MOST_TRIALS]
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
        left = _error(new)
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
    if not 0 <= at < len(lines) or any("\t" in _indent(line) for line in lines[: at + 1]):
        return
    levels = indentation_levels(lines, at)
    width = len(_indent(lines[at]))
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
        if line.strip() and not depth and _indent(line) == _indent(lines[number]):
            width = len(_indent(line))
            while levels and levels[-1][0] > width:
                levels.pop()
            if not levels or levels[-1][0] < width:
                levels.append((width, number))
        depth += sum(map(line.count, "([{")) - sum(map(line.count, ")]}"))
    return levels


def _evenest(solutions: Sequence[dict[int, int]], lines: Sequence[str]) -> dict[int, int] | None:
    """The one solution whose lines land on the columns that the rest of the statement uses."""
    widths = [len(_indent(line)) for line in lines if line.strip()]
    units = (u for u in (4, 2, 3) if sum(w % u == 0 for w in widths) * 10 >= 8 * len(widths))
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
    was, now = len(_indent(lines[number])), len(_indent(new[number]))
    shown = shown_indentation(document, line)
    whose = _siblings(tree, number + 1)
    change = f"{'remove' if was > now else 'add'} one space"
    return SyntaxProblem(
        f"this line is indented {shown + was}, {whose} {shown + now}",
        _content(document, line, new[number]),
        label=f"one column too {'far right' if was > now else 'far left'}",
        help=change,
        edits=(Edit(_indentation(document, line, new[number]), " " * now),),
        repaired=True,
    )


def shown_indentation(document: Document, line: int) -> int:
    """The blanks that the document's author sees before the code of a line."""
    origin = document.origins.get(line)
    if origin is None or not origin.start:
        return 0
    if document.kind == "markdown":
        prefix = document.shown_lines[origin.line - 1][: origin.start]
        return origin.start if not prefix.strip(" ") else 0
    return origin.start


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
