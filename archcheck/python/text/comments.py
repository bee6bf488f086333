"""Strings and comments, told apart without parsing: broken code has them too."""

from __future__ import annotations

import re
from typing import NamedTuple

from archcheck.python.text.document import Document

# A string, or a comment, told by its first character. A string that is not closed ends with its
# line, a triple-quoted one with the text. A string's prefix makes no difference: a raw string
# cannot end in a backslash either. No alternative stands in a group, for only then does `re` pass
# quickly over text that none of them can begin with.
TOKEN = re.compile(
    r'"""[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*(?:"""|\Z)'
    r"|'''[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*(?:'''|\Z)"
    r'|"[^"\\\n]*(?:\\.[^"\\\n]*)*"?'
    r"|'[^'\\\n]*(?:\\.[^'\\\n]*)*'?"
    r"|\#[^\n]*",
    re.DOTALL,
)


class Comment(NamedTuple):
    """A comment, in positions of `code`.

    Attributes:
        text: From the `#` to the end of the line, without trailing blanks.
        own_line: Nothing else stands on its line.
    """

    line: int
    column: int
    text: str
    own_line: bool


def comments(document: Document) -> tuple[Comment, ...]:
    """Every comment of the code, in order; text in strings is none."""
    code = document.code
    if "#" not in code:
        return ()
    found = []
    line = 1
    counted = 0
    for match in TOKEN.finditer(code):
        at = match.start()
        if code[at] != "#":
            continue
        line += code.count("\n", counted, at)
        counted = at
        line_start = code.rfind("\n", 0, at) + 1
        own_line = not code[line_start:at].strip()
        found.append(Comment(line, at - line_start + 1, match.group().rstrip(), own_line))
    return tuple(found)


def masked(code: str) -> str:
    """The code with a blank for every character of a string or comment, line ends kept."""

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match.group())

    return TOKEN.sub(blank, code)


def without_comment(line: str) -> str:
    """A line up to its comment."""
    for match in TOKEN.finditer(line):
        if match.group().startswith("#"):
            return line[: match.start()]
    return line
