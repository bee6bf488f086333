"""Which snippets of text are meant as Python, and the Python in them.

Documents show more than code: printed models, training logs, shell sessions, signatures, code with
parts left out. A snippet is code where it parses and does something, or where its lines are
plainly Python; everything else is passed over. What a reader would not call broken (a prompt, a
notebook's magics, a part left out with dots) is taken out before it is judged.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass

from archcheck.source.comments import masked
from archcheck.source.syntax import syntax_tree


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a snippet, and how many characters were cut from its start."""

    text: str
    cut: int = 0


_PYTHON = re.compile(r"(i?python[\d.]*|i?py[\d.]*|sage|pycon|pytb-?code|torch|pytorch)$")
_PROMPT = re.compile(r"(?:>>>|\.\.\.)(?: |$)|In ?\[[\d ]*\]: ?| {3,}\.\.\.: ?")
_FIRST_PROMPT = re.compile(r">>>(?: |$)|In ?\[[\d ]*\]: ?")


def is_python(language: str) -> bool:
    """Whether a fence's first word names Python, in any of its spellings."""
    return bool(_PYTHON.match(language))


def language_of(info: str) -> str:
    """The language of a fence's info string.

    It may be dressed up: `Python {.line-numbers}`, `{.py #id}`, `{code-cell} ipython3`, `py:a.py`.
    """
    text = info.strip().lower()
    if text.startswith("{"):
        directive, _, argument = text[1:].partition("}")
        named = directive.strip() in ("code-cell", "code-block", "code", "sourcecode")
        text = argument.strip() if named else directive.strip().lstrip(".=")
    return re.split(r"[\s,{:;(\[=]", text, maxsplit=1)[0] if text else ""


def python_of(lines: Sequence[str], *, fenced_as_python: bool) -> list[Line] | None:
    """The Python in a snippet, line for line; None where it is no code.

    Args:
        fenced_as_python: Its author said so. Otherwise it takes more to believe it.
    """
    code = dedented([Line(line) for line in lines])
    first = next((line.text for line in code if line.text), None)
    if first is None:
        return None
    if _FIRST_PROMPT.match(first):
        code = without_prompts(code)
    for change in (_as_it_is, without_magics, completed):
        code = change(code)
        try:
            tree = syntax_tree("\n".join(line.text for line in code))
        except SyntaxError:
            continue
        if change is completed and _is_bare_header(lines):
            return None
        return code if fenced_as_python or _does_something(tree) else None
    return code if _is_meant_as_python(code, fenced_as_python) else None


def _as_it_is(lines: list[Line]) -> list[Line]:
    return lines


def dedented(lines: Sequence[Line]) -> list[Line]:
    """The lines without the indentation that all of them share."""
    margin: str | None = None
    for line in lines:
        text = line.text
        if not text.strip():
            continue
        lead = text[: len(text) - len(text.lstrip(" \t"))]
        if margin is None:
            margin = lead
        while not lead.startswith(margin):
            margin = margin[:-1]
        if not margin:
            break
    width = len(margin or "")
    return [
        Line(line.text[width:], line.cut + width) if line.text.strip() else Line("")
        for line in lines
    ]


def without_prompts(lines: Sequence[Line]) -> list[Line]:
    """A console session's input; its output is blanked."""
    code = []
    for line in lines:
        match = _PROMPT.match(line.text)
        if match:
            code.append(Line(line.text[match.end() :], line.cut + match.end()))
        else:
            code.append(Line(""))
    return code


# A cell magic that runs its cell as Python; any other hands it to another program.
_PYTHON_CELL = re.compile(r"%%(?:time|timeit|capture|prun|memit|mprun|lprun|debug|python3?|pypy)\b")
_MAGIC = re.compile(r"(?P<indent>[ \t]*)(?:%{1,2}[A-Za-z]|!|\?{1,2}[\w.]|[\w.]+\?{1,2}\s*$)")
_MAGIC_VALUE = re.compile(r"(?P<target>[ \t]*[\w.,\[\] ]+=[ \t]*)(?:%[A-Za-z]|!)")


def without_magics(lines: Sequence[Line]) -> list[Line]:
    """A notebook's code without its magics, shell lines and questions."""
    code = list(lines)
    first = next((number for number, line in enumerate(code) if line.text.strip()), 0)
    if code and code[first].text.startswith("%%"):
        if not _PYTHON_CELL.match(code[first].text):
            return [Line("") for _ in code]
        code[first] = Line("")
    continued = False
    for number, line in enumerate(code):
        text = line.text
        if continued:
            code[number] = Line("")
        elif match := _MAGIC.match(text):
            # A body may hold nothing else.
            indent = match["indent"]
            code[number] = Line(f"{indent}pass" if indent else "", line.cut)
        elif match := _MAGIC_VALUE.match(text):
            code[number] = Line(match["target"] + "...", line.cut)
        else:
            continue
        continued = text.endswith("\\")
    return code


_LEFT_OUT = re.compile(r"(?P<indent>[ \t]*)#?\s*(?:\.{2,}|…|⋮|\.\s?\.\s?\.)[\s.…]*$")
_HEADER = re.compile(
    r"[ \t]*(?:(?:async\s+)?(?:def|for|with)|class|while|if|elif|else|try|except|finally)\b"
    r".*:\s*(?:#.*)?$"
)


def completed(lines: Sequence[Line]) -> list[Line]:
    """A snippet with dots in the place of what its author left out."""
    code = list(lines)
    for number, line in enumerate(code):
        match = _LEFT_OUT.match(line.text)
        if match and "#" not in line.text:
            code[number] = Line(match["indent"] + "...", line.cut)
    last = max((number for number, line in enumerate(code) if _is_code(line.text)), default=None)
    if last is not None and _HEADER.match(code[last].text):
        text = code[last].text
        comment = re.search(r"\s*#.*$", text)
        header = text[: comment.start()] if comment else text.rstrip()
        code[last] = Line(header + " ...", code[last].cut)
    return code


def _is_code(text: str) -> bool:
    stripped = text.strip()
    return bool(stripped) and not stripped.startswith("#")


def _is_bare_header(lines: Sequence[str]) -> bool:
    """A statement that is only named: `with torch.no_grad():` and nothing below it."""
    return all(_HEADER.match(line) for line in lines if _is_code(line))


def _does_something(tree: ast.Module) -> bool:
    """Whether code that nobody said is Python is more than words that happen to parse."""
    return any(
        isinstance(
            statement,
            ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef,
        )
        or (isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call))
        for statement in tree.body
    )


# \uff08 and \uff1a are the full-width bracket and colon that slip in beside Chinese text.
_STRONG = re.compile(
    r"""\s*(?:
        from\s+[\w.]+\s+import\s+[\w(*]
      | import\s+[\w.]+(?:\s+as\s+\w+)?\s*(?:,.*)?(?:\#.*)?$
      | (?:async\s+)?def\s+\w+\s*[(\uff08]
      | class\s+\w+\s*(?:[(\uff08].*)?[:\uff1a]?\s*(?:\#.*)?$
      | self\.\w+\s*=
      | if\s+__name__\s*==
      | @\w[\w.]*(?:\(.*\))?\s*$
      | [A-Za-z_][\w.]*\s*=\s*[\w.]+[(\uff08\[]
    )""",
    re.VERBOSE,
)
_MEDIUM = re.compile(
    r"""\s*(?:
        [A-Za-z_][\w.]*(?:\[.*\])?(?:\s*,\s*[A-Za-z_][\w.]*)*\s*[-+*/]?=\s*\S
      | (?:for|while|if|elif|with)\s.*[:\uff1a]\s*(?:\#.*)?$
      | (?:else|try|finally|except.*)\s*[:\uff1a]\s*(?:\#.*)?$
      | return\b | pass\s*$ | raise\s+\w | assert\s | del\s | print\s*[(\uff08"'\w]
      | [A-Za-z_]\w*(?:\.\w+)+\s*[(\uff08].*
    )""",
    re.VERBOSE,
)
_ALIEN = re.compile(
    r"""\s*(?:
        \([^()\s]+\):\s*[\w.]+\(          # a printed module
      | \$\s | Traceback\ \(most | File\ "[^"]*",\ line\ \d
      | \w*(?:Error|Exception|Warning):\s  # a traceback's end
      | (?:Epoch|Iter|Step|Batch)\b[^=(]*\d
      | \d+%\|                             # a progress bar
      | [-=+|*~_]{4,}                      # a table's rule
      | \{% | </?\w+[^<>]*>\s*$ | //\s | /\*
      | [+-]\s+\S                          # a diff
      | .*[;{]\s*$                         # another language
      | .*=>
    )""",
    re.VERBOSE,
)


def _is_meant_as_python(lines: Sequence[Line], fenced_as_python: bool) -> bool:
    """Whether a snippet that does not parse was meant as Python."""
    strong, medium, alien, others = _evidence([line.text for line in lines])
    if alien * 3 > strong + medium:
        return False
    if fenced_as_python:
        return strong + medium >= 2 and 2 * strong + medium >= 3
    return strong >= 2 and strong + medium >= others


_LEFT_OUT_WITHIN = re.compile(r"\.{3}|\u2026|<[a-z_ -]+>")


def is_meant_as_python(lines: Sequence[str], at: int, *, known: bool) -> bool:
    """Whether a statement in a document that does not parse is broken code, and not something else.

    Args:
        at: The index of the line that is to blame.
        known: The reason why it does not parse was recognised.
    """
    blamed = masked(lines[at]) if 0 <= at < len(lines) else ""
    if _LEFT_OUT_WITHIN.search(blamed) or _ALIEN.match(blamed):
        return False
    strong, medium, alien, others = _evidence(lines)
    if strong + medium + alien + others == 1:
        return bool(strong or (medium and known))
    return strong + medium > alien + others // 3


def _evidence(lines: Sequence[str]) -> tuple[int, int, int, int]:
    """How many lines are plainly Python, look like it, plainly are not, and might be anything."""
    strong = medium = alien = others = 0
    for line in lines:
        if not _is_code(line):
            continue
        if _ALIEN.match(line):
            alien += 1
        elif _STRONG.match(line):
            strong += 1
        elif _MEDIUM.match(line):
            medium += 1
        else:
            others += 1
    return strong, medium, alien, others
