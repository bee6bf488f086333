"""Words and signs that belong elsewhere: to Python 2, a newer Python, another language, a slip."""

from __future__ import annotations

import keyword
import re
import sys
from difflib import get_close_matches

from archcheck.python.syntax.reasons import Broken, Reason, width

_PYTHON_2 = (
    (r"print\s+[^(=\s]|print\s*$", "`print` is a function in Python 3", "print(…)"),
    (r"exec\s+[^(=\s]", "`exec` is a function in Python 3", "exec(…)"),
    (r"except\s+[\w.]+\s*,\s*\w+\s*:", "`except Error, name` is Python 2", "except Error as name:"),
    (r"raise\s+[\w.]+\s*,", "`raise Error, text` is Python 2", "raise Error(text)"),
    (r".*<>", "`<>` is Python 2", "!="),
    (r".*\b0\d+\b", "an octal number that begins with 0 is Python 2", "0o…"),
    (r".*\b\d+[lL]\b", "a number that ends in L is Python 2", "the number without it"),
)


def python_2(broken: Broken) -> Reason | None:
    text = broken.bare[broken.at]
    start = width(text)
    for pattern, message, instead in _PYTHON_2:
        # `print "…"` is a bare word once its string is blanked.
        if re.match(pattern, text[start:]) and not text[start:].startswith("print("):
            return Reason(message, broken.at, start, help=f"write `{instead}`")
    return None


_ELSEWHERE = (
    (r"\belse\s+if\b|\belseif\b", "`elif`"),
    (r"&&", "`and`"),
    (r"\|\|", "`or`"),
    (r"\+\+|--\s*$", "`+= 1` or `-= 1`"),
    (r"!(?=[\w(])", "`not`"),
    (r"\bfunction\s+\w+\s*\(", "`def`"),
    (r"^\s*//", "`#`"),
)


def another_language(broken: Broken) -> Reason | None:
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


def keyword_as_name(broken: Broken) -> Reason | None:
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


_FIRST_WORDS = (
    "assert async await break class continue def del except finally for from global if import "
    "lambda nonlocal pass raise return try while with yield"
).split()


def misspelled(broken: Broken) -> Reason | None:
    match = re.match(r"\s*([^\W\d]+) +(?=[\w\"'(\[{*])", broken.bare[broken.at])
    if match is None or keyword.iskeyword(match[1]):
        return None
    word = match[1]
    near = [w for w in _FIRST_WORDS if w == word.lower()] or get_close_matches(
        word, _FIRST_WORDS, 1, 0.8
    )
    if not near or len(word) < 3:
        return None
    return Reason(
        f"`{word}` is no word of Python's; `{near[0]}` is",
        broken.at,
        *match.span(1),
        help=f"write `{near[0]}`",
    )


_NEWER = (
    ((3, 12), r"\s*(?:class|(?:async\s+)?def)\s+\w+\s*\[", "type parameters in brackets"),
    ((3, 12), r"\s*type\s+\w+\s*(?:\[.*\])?\s*=", "`type` statements"),
    ((3, 14), r"\s*except\s+[A-Z]\w*(?:\s*,\s*[A-Z]\w*)+\s*:", "exceptions without brackets"),
    ((3, 15), r"\s*lazy\s+(?:import|from)\s", "lazy imports"),
)
_TEMPLATE_PREFIX = re.compile(r"(?<!\w)(?:t|tr|rt)$", re.IGNORECASE)


_QUOTES_WITHIN = re.compile(r"""\b[fF][rR]?(["'])[^"']*\{[^}"']*\1[^}]*\}""")


def newer_python(broken: Broken) -> Reason | None:
    text = broken.bare[broken.at]
    found = [(version, what) for version, pattern, what in _NEWER if re.match(pattern, text)]
    if "f-string" in broken.says and _QUOTES_WITHIN.search(broken.lines[broken.at]):
        found.append(((3, 12), "quotes of the same kind inside an f-string's braces"))
    line, column = broken.lines[broken.at], broken.column
    if line[column : column + 1] in ("'", '"') and _TEMPLATE_PREFIX.search(line[:column]):
        found.append(((3, 14), "template strings"))
    if re.search("unpacking cannot be used in (?:dict )?comprehension", broken.says):
        found.append(((3, 15), "comprehensions that unpack"))
    for version, what in found:
        if sys.version_info < version:
            needed, running = (".".join(map(str, v[:2])) for v in (version, sys.version_info))
            return Reason(
                f"{what} need Python {needed}, and archcheck runs on {running}",
                broken.at,
                width(text),
                help=f"run archcheck with Python {needed}",
                blameless=True,
            )
    return None
