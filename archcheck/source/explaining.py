"""Why a statement does not parse, in plain words."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from archcheck.finding import Location
from archcheck.source.comments import masked, without_comment
from archcheck.source.document import Document, SyntaxProblem
from archcheck.source.indentation import indentation_levels
from archcheck.source.repairs import indentation_of, shown_indentation
from archcheck.source.segments import unbalanced


@dataclass(frozen=True, slots=True)
class Reason:
    """Why. Lines and columns count from 0 in the statement; without an end, to the line's."""

    message: str
    line: int
    column: int = 0
    end_column: int | None = None
    label: str = ""
    help: str | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """A statement that does not parse, and what Python says about it.

    Attributes:
        bare: Its lines with blanks for strings and comments.
        first: The line of the document's `code` that it begins at.
    """

    lines: Sequence[str]
    bare: Sequence[str]
    error: SyntaxError
    first: int
    document: Document

    @property
    def at(self) -> int:
        """The line that Python stops at, from 0 in the statement."""
        return min(max((self.error.lineno or 1) - 1, 0), len(self.lines) - 1)

    @property
    def says(self) -> str:
        """Python's own words."""
        return str(self.error.msg)

    @property
    def column(self) -> int:
        return min(max((self.error.offset or 1) - 1, 0), max(len(self.lines[self.at]) - 1, 0))

    def shown(self, line: int) -> int:
        """How far the document's author sees a line indented."""
        return shown_indentation(self.document, self.first + line) + _width(self.lines[line])


def explain(broken: Broken) -> tuple[SyntaxProblem, bool]:
    """The problem in plain words, and whether its cause was recognised."""
    reason = next(filter(None, (find(broken) for find in _FINDERS)), None)
    known = reason is not None
    if reason is None:
        reason = _as_python_says(broken)
    line = broken.first + reason.line
    length = len(without_comment(broken.lines[reason.line]).rstrip())
    end = length if reason.end_column is None else min(reason.end_column, length)
    location = Location(
        broken.document.path, line, reason.column + 1, line, max(end, reason.column + 1) + 1
    )
    return SyntaxProblem(reason.message, location, reason.label, reason.help), known


def _width(line: str) -> int:
    return len(indentation_of(line))


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


_PYTHON_2 = (
    (r"print\s+[^(=\s]|print\s*$", "`print` is a function in Python 3", "print(…)"),
    (r"exec\s+[^(=\s]", "`exec` is a function in Python 3", "exec(…)"),
    (r"except\s+[\w.]+\s*,\s*\w+\s*:", "`except Error, name` is Python 2", "except Error as name:"),
    (r"raise\s+[\w.]+\s*,", "`raise Error, text` is Python 2", "raise Error(text)"),
    (r".*<>", "`<>` is Python 2", "!="),
    (r".*\b0\d+\b", "an octal number that begins with 0 is Python 2", "0o…"),
    (r".*\b\d+[lL]\b", "a number that ends in L is Python 2", "the number without it"),
    (r".*`[^`]+`", "backquotes are Python 2", "repr(…)"),
)


def _python_2(broken: Broken) -> Reason | None:
    text = broken.bare[broken.at]
    start = _width(text)
    for pattern, message, instead in _PYTHON_2:
        # `print "…"` is a bare word once its string is blanked.
        if re.match(pattern, text[start:]) and not text[start:].startswith("print("):
            return Reason(message, broken.at, start, help=f"write `{instead}`")
    return None


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


_ELSEWHERE = (
    (r"\belse\s+if\b|\belseif\b", "`elif`"),
    (r"&&", "`and`"),
    (r"\|\|", "`or`"),
    (r"\+\+|--\s*$", "`+= 1` or `-= 1`"),
    (r"!(?=[\w(])", "`not`"),
    (r"\bfunction\s+\w+\s*\(", "`def`"),
    (r"^\s*//", "`#`"),
)


def _another_language(broken: Broken) -> Reason | None:
    text = broken.bare[broken.at]
    for pattern, python in _ELSEWHERE:
        match = re.search(pattern, text)
        if match:
            found = match.group().strip()
            return Reason(
                f"`{found}` is another language's: Python writes {python}",
                broken.at,
                match.end() - len(found),
                match.end(),
                help=f"write {python}",
            )
    return None


_KEYWORDS = "|".join(sorted(set(keyword.kwlist) - {"None", "True", "False"}))
_KEYWORD_AS_NAME = re.compile(
    rf"(?:\.|\b(?:def|class|as|import)\s+)(?P<name>{_KEYWORDS})\b"
    rf"|(?<![\w.])(?P<target>{_KEYWORDS})\s*=(?!=)"
)


def _keyword_as_name(broken: Broken) -> Reason | None:
    match = _KEYWORD_AS_NAME.search(broken.bare[broken.at])
    if match is None:
        return None
    group = "name" if match["name"] else "target"
    word = match[group]
    return Reason(
        f"`{word}` is a word of Python's own and cannot be a name",
        broken.at,
        match.start(group),
        match.end(group),
        help=f"call it `{word}_`",
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
    at, column = broken.at, _width(broken.lines[broken.at])
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


_NEWER = (
    ((3, 12), r"\s*(?:class|(?:async\s+)?def)\s+\w+\s*\[", "type parameters in brackets"),
    ((3, 12), r"\s*type\s+\w+\s*(?:\[.*\])?\s*=", "`type` statements"),
    ((3, 14), r"\s*except\s+[A-Z]\w*(?:\s*,\s*[A-Z]\w*)+\s*:", "`except` without brackets"),
)


_QUOTES_WITHIN = re.compile(r"""\b[fF][rR]?(["'])[^"']*\{[^}"']*\1[^}]*\}""")


def _newer_python(broken: Broken) -> Reason | None:
    text = broken.bare[broken.at]
    found = [(version, what) for version, pattern, what in _NEWER if re.match(pattern, text)]
    if "f-string" in broken.says and _QUOTES_WITHIN.search(broken.lines[broken.at]):
        found.append(((3, 12), "quotes of the same kind inside an f-string's braces"))
    for version, what in found:
        if sys.version_info < version:
            needed, running = (".".join(map(str, v[:2])) for v in (version, sys.version_info))
            return Reason(
                f"{what} need Python {needed}, and archcheck runs on {running}",
                broken.at,
                _width(text),
                help=f"run archcheck with Python {needed}",
            )
    return None


def _strange_character(broken: Broken) -> Reason | None:
    match = re.search(r"invalid (?:non-printable )?character(?: '(.)' \(| )?(U\+\w+)", broken.says)
    if match is None:
        return None
    shown = f"`{match[1]}`" if match[1] else f"the character {match[2]}"
    return Reason(f"{shown} is no part of Python", broken.at, broken.column, broken.column + 1)


def _as_python_says(broken: Broken) -> Reason:
    error, start = broken.error, max(broken.column, _width(broken.lines[broken.at]))
    end = error.end_offset if error.end_lineno == error.lineno else None
    message = (
        "this is not valid Python"
        if broken.says == "invalid syntax"
        else f"Python cannot read this: {broken.says}"
    )
    if broken.says.startswith("f-string"):
        # Python counts inside the braces.
        return Reason(message, broken.at, _width(broken.lines[broken.at]))
    return Reason(message, broken.at, start, end - 1 if end and end - 1 > start else None)


_FINDERS: tuple[Callable[[Broken], Reason | None], ...] = (
    _newer_python,
    _string_left_open,
    _python_2,
    _dotted_import,
    _indentation,
    _assignment_in_condition,
    _keyword_as_name,
    _brackets,
    _another_language,
    _clause_alone,
    _no_colon,
    _comma,
    _strange_character,
)


def broken(lines: Sequence[str], error: SyntaxError, first: int, document: Document) -> Broken:
    """Gather what an explanation needs."""
    return Broken(lines, masked("\n".join(lines)).split("\n"), error, first, document)
