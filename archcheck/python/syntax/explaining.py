"""Why a statement does not parse, in plain words."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from archcheck.core.finding import Location
from archcheck.python.syntax import foreign_words as foreign
from archcheck.python.syntax.indentation import indentation_levels
from archcheck.python.syntax.reasons import Broken, Reason, width
from archcheck.python.syntax.segments import unbalanced
from archcheck.python.text.comments import without_comment
from archcheck.python.text.document import SyntaxProblem


def explain(broken: Broken) -> tuple[SyntaxProblem, bool]:
    """The problem in plain words, and whether its cause was recognised as a mistake."""
    reason = next(filter(None, (find(broken) for find in _FINDERS)), None)
    known = reason is not None and not reason.blameless
    if reason is None:
        reason = _as_python_says(broken)
    line = broken.first + reason.line
    length = len(without_comment(broken.lines[reason.line]).rstrip())
    end = length if reason.end_column is None else min(reason.end_column, length)
    location = Location(
        broken.document.path, line, reason.column + 1, line, max(end, reason.column + 1) + 1
    )
    return SyntaxProblem(reason.message, location, reason.label, reason.help), known


def _string_left_open(broken: Broken) -> Reason | None:
    if "unterminated" not in broken.says:
        return None
    kind = "f-string" if "f-string" in broken.says else "string"
    if "triple" in broken.says:
        return Reason(
            f"this triple-quoted {kind} is never closed",
            broken.at,
            broken.column,
            broken.column + 3,
            help="close it with three quotes",
        )
    return Reason(
        f"this {kind} is not closed on its line",
        broken.at,
        broken.column,
        help="close it, or double its quotes if it holds an apostrophe",
    )


_FROM_IMPORT = re.compile(r"\s*from\s+(?P<module>[\w.]+)\s+import\b")
_IMPORT_AS = re.compile(r"\s*(?:from|import)\b.*\bas\s+(?P<dotted>\w+\.[\w.]+)")
_DOTTED = re.compile(r"(?P<head>\w+(?:\.\w+)*)\.(?P<last>\w+)")


def _dotted_import(broken: Broken) -> Reason | None:
    text = broken.bare[broken.at]
    renamed = _IMPORT_AS.match(text)
    if renamed:
        return Reason(
            f"`{renamed['dotted']}` cannot stand after `as`: a name has no dots",
            broken.at,
            *renamed.span("dotted"),
            label="a name with a dot",
            help=f"call it `{renamed['dotted'].rsplit('.', 1)[-1]}`",
        )
    start = _FROM_IMPORT.match(text)
    dotted = _DOTTED.search(text, start.end()) if start else None
    if start is None or dotted is None:
        return None
    module, head = start["module"], dotted["head"]
    inner = module if head.split(".")[0] in module.split(".") else f"{module}.{head}"
    renamed = re.match(r"\s+as\s+\w+", text[dotted.end() :])
    return Reason(
        f"`from … import {dotted.group()}` is no form of import: "
        "the names after `import` have no dots",
        broken.at,
        dotted.start(),
        dotted.end(),
        label="a name with a dot",
        help=f"`from {inner} import {dotted['last']}{renamed.group() if renamed else ''}`",
    )


_CONDITION = re.compile(r"\s*(?:if|elif|while)\b")


def _assignment_in_condition(broken: Broken) -> Reason | None:
    text = broken.bare[broken.at]
    depth = 0
    if _CONDITION.match(text):
        for at, character in enumerate(text):
            depth += (character in "([{") - (character in ")]}")
            alone = character == "=" and "=" not in text[at + 1 : at + 2]
            if alone and not depth and text[at - 1] not in "=!<>:":
                return Reason(
                    "`=` in a condition assigns and does not compare",
                    broken.at,
                    at,
                    at + 1,
                    help="compare with `==`",
                )
    return None


def _brackets(broken: Broken) -> Reason | None:
    found = unbalanced("\n".join(broken.lines))
    if found.wrong is not None:
        closer, opener = found.wrong
        meets = (
            f"meets the `{opener.character}` of line {_shown_line(broken, opener.line)}"
            if opener
            else "closes nothing"
        )
        return Reason(
            f"this `{closer.character}` {meets}", closer.line, closer.column, closer.column + 1
        )
    if found.open:
        bracket = found.open[-1]
        return Reason(
            f"this `{bracket.character}` is never closed",
            bracket.line,
            bracket.column,
            bracket.column + 1,
            label="opened here",
            help=f"close it with `{dict(zip('([{', ')]}', strict=True))[bracket.character]}`",
        )
    return None


def _shown_line(broken: Broken, line: int) -> int:
    return broken.document.origin(Location(broken.document.path, broken.first + line)).line


def _no_colon(broken: Broken) -> Reason | None:
    if "expected ':'" not in broken.says:
        return None
    return Reason(
        "a colon is missing here", broken.at, broken.column, broken.column + 1, help="write `:`"
    )


def _indentation(broken: Broken) -> Reason | None:
    if not isinstance(broken.error, IndentationError):
        return None
    at, column = broken.at, width(broken.lines[broken.at])
    if isinstance(broken.error, TabError):
        return Reason(
            "tabs and spaces are mixed: this line's indentation and that of the lines above "
            "cannot be compared",
            at,
            column,
            help="indent with spaces only",
        )
    levels = indentation_levels(broken.lines, at)
    above = levels[-1][1] if levels else None
    header = above is not None and broken.bare[above].rstrip().endswith(":")
    if "expected an indented block" in broken.says:
        number = re.search(r"on line (\d+)", broken.says)
        above = int(number.group(1)) - 1 if number else at
        word = broken.lines[above].split()[0]
        return Reason(
            f"the `{word}` of line {_shown_line(broken, above)} has no body: "
            "nothing below it is indented deeper",
            above if at == above or not broken.lines[at].strip() else at,
            column,
            label="not indented" if at != above else "no body",
            help="indent its body, or write `pass`",
        )
    shown = broken.shown(at)
    if "unexpected indent" in broken.says:
        last = broken.shown(above) if above is not None else 0
        return Reason(
            f"this line is indented {shown}, its block {last}",
            at,
            column,
            label="indented too far",
            help=f"indent it {last}",
        )
    open_levels = _listed([broken.shown(opener) for _, opener in levels])
    message = (
        f"this line is indented {shown}, and no block around it is: they are indented {open_levels}"
    )
    if header and above is not None and broken.shown(above) > shown:
        word = broken.lines[above].split()[0]
        help = f"indent it deeper than the `{word}` above it, which has no body otherwise"
    else:
        help = f"indent it {open_levels.replace(' and ', ' or ')}"
    return Reason(message, at, column, label="dedented to a column of its own", help=help)


def _listed(numbers: Sequence[int]) -> str:
    words = [str(number) for number in numbers]
    return " and ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else "".join(words)


_CLAUSES = {
    "else": "`if`, `for`, `while` or `try`",
    "elif": "`if`",
    "except": "`try`",
    "finally": "`try`",
}


def _clause_alone(broken: Broken) -> Reason | None:
    word = re.match(r"\s*(\w+)", broken.bare[broken.at])
    if word is None or word[1] not in _CLAUSES or broken.column != word.start(1):
        return None
    return Reason(
        f"this `{word[1]}` belongs to no {_CLAUSES[word[1]]} above it", broken.at, *word.span(1)
    )


def _comma(broken: Broken) -> Reason | None:
    if "forgot a comma" not in broken.says:
        return None
    end = broken.error.end_offset if broken.error.end_lineno == broken.error.lineno else None
    return Reason(
        "something is missing between these two expressions, perhaps a comma",
        broken.at,
        broken.column,
        end - 1 if end else None,
    )


def _strange_character(broken: Broken) -> Reason | None:
    match = re.search(r"invalid (?:non-printable )?character(?: '(.)' \(| )?(U\+\w+)", broken.says)
    if match is None:
        return None
    shown = f"`{match[1]}`" if match[1] else f"the character {match[2]}"
    return Reason(f"{shown} is no part of Python", broken.at, broken.column, broken.column + 1)


def _as_python_says(broken: Broken) -> Reason:
    error, start = broken.error, max(broken.column, width(broken.lines[broken.at]))
    end = error.end_offset if error.end_lineno == error.lineno else None
    message = (
        "this is not valid Python"
        if broken.says == "invalid syntax"
        else f"Python cannot read this: {broken.says}"
    )
    if broken.says.startswith("f-string"):
        # Python counts inside the braces.
        return Reason(message, broken.at, width(broken.lines[broken.at]))
    return Reason(message, broken.at, start, end - 1 if end and end - 1 > start else None)


_FINDERS: tuple[Callable[[Broken], Reason | None], ...] = (
    foreign.newer_python,
    _string_left_open,
    foreign.misspelled,
    foreign.python_2,
    _dotted_import,
    _indentation,
    _assignment_in_condition,
    foreign.keyword_as_name,
    _brackets,
    foreign.another_language,
    _clause_alone,
    _no_colon,
    _comma,
    _strange_character,
)
