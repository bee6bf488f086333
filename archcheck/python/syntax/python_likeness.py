"""Whether text that does not parse was meant as Python.

Python in a document is reported as broken only where a reader would say so too. Prose, output,
pseudocode, signatures and excerpts that begin in the middle are none.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence

from archcheck.python.syntax.tree import syntax_tree
from archcheck.python.text.comments import masked

# \uff08 and \uff1a are the full-width bracket and colon that slip in beside Chinese text.
_STRONG = re.compile(
    r"""(?:
        from\s+[\w.]+\s+import\s+[\w(*]
      | import\s+[\w.]+(?:\s+as\s+\w+)?\s*(?:,.*)?(?:\#.*)?$
      | (?:async\s+)?def\s+\w+\s*[(\uff08]
      | class\s+\w+\s*(?:[(\uff08].*)?[:\uff1a]?\s*(?:\#.*)?$
      | self\.\w+\s*=
      | if\s+__name__\s*==
      | @\w[\w.]*(?:\(.*\))?\s*$
      | [A-Za-z_][\w.]*\s*=\s*[\w.]+[(\uff08\[]
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_MEDIUM = re.compile(
    r"""(?:
        [A-Za-z_][\w.]*(?:\[.*\])?(?:\s*,\s*[A-Za-z_][\w.]*)*\s*[-+*/]?=\s*\S
      | (?:for|while|if|elif|with)\s.*[:\uff1a]\s*(?:\#.*)?$
      | (?:else|try|finally|except.*)\s*[:\uff1a]\s*(?:\#.*)?$
      | return\b | pass\s*$ | raise\s+\w | assert\s | del\s | print\s*[(\uff08"'\w]
      | [A-Za-z_]\w*(?:\.\w+)+\s*[(\uff08].*
    )""",
    re.VERBOSE,
)
_ALIEN = re.compile(
    r"""(?:
        \([^()\s]+\):\s*[\w.]+\(          # a printed module
      | \$\s | \.\.\s | Traceback\ \(most | File\ "[^"]*",\ line\ \d
      | \w*(?:Error|Exception|Warning):\s  # a traceback's end
      | (?:Epoch|Iter|Step|Batch)\b[^=(]*\d
      | \d+%\|                             # a progress bar
      | [-=+|*~_]{4,}                      # a table's rule
      | \{% | </?\w+[^<>]*>\s*$ | //\s | /\*
      | [+-]\s+\S                          # a diff
      | .*[;{]$                            # another language
      | .*=>
    )""",
    re.VERBOSE,
)


def is_code(line: str) -> bool:
    """Whether a line is more than blanks and a comment."""
    stripped = line.strip()
    return bool(stripped) and not stripped.startswith("#")


def is_python_snippet(lines: Sequence[str], *, named: bool) -> bool:
    """Whether a snippet that does not parse was meant as Python.

    Args:
        named: Its author said so. Otherwise it takes more to believe it.
    """
    strong, medium, alien, others = _evidence(lines)
    if alien * 3 > strong + medium:
        return False
    if named:
        return strong >= 1 or medium >= 3
    return strong >= 2 and strong + medium >= others


# Dots for what is left out, a name to fill in, mathematics.
_STANDS_FOR_MORE = re.compile(
    r"\.{3}|\u2026|<[A-Za-z][\w .-]*>|[\u2190-\u21ff\u2200-\u22ff\u00d7\u00b7]"
)
_CLAUSE = re.compile(r"(?:else|elif|except|finally)\b")
_WORDS = re.compile(r"[^\W\d]\w*(?: [^\W\d]\w*)+")


def is_broken_python(lines: Sequence[str], at: int, *, known: bool) -> bool:
    """Whether a statement of a document that does not parse is broken code.

    Args:
        at: The index of the line that is to blame.
        known: The reason why it does not parse was recognised.
    """
    blamed = masked(lines[at]) if 0 <= at < len(lines) else ""
    if _STANDS_FOR_MORE.search(blamed) or _ALIEN.match(blamed.strip()):
        return False
    if _CLAUSE.match(blamed) or _CLAUSE.match(lines[0]):
        return False
    if _is_prose(blamed, known=known) or _is_signature(lines):
        return False
    strong, medium, alien, others = _evidence(lines)
    if strong + medium + alien + others == 1:
        return bool(strong or (medium and known))
    return strong + medium > alien + others // 3


def _is_prose(line: str, *, known: bool) -> bool:
    """Whether words follow one another as they do in no Python."""
    for words in _WORDS.findall(line):
        names = [not keyword.iskeyword(word) for word in words.split()]
        row = 3 if known else 2
        if any(all(names[n : n + row]) for n in range(len(names) - row + 1)):
            return True
    return False


def _is_signature(lines: Sequence[str]) -> bool:
    """Whether a function or class is only named, with its parameters."""
    text = "\n".join(lines).rstrip()
    try:
        tree = syntax_tree(f"{text}: ...")
    except SyntaxError:
        return False
    return len(tree.body) == 1


def _evidence(lines: Sequence[str]) -> tuple[int, int, int, int]:
    """How many lines are plainly Python, look like it, plainly are not, and might be anything."""
    strong = medium = alien = others = 0
    for line in filter(is_code, map(str.strip, lines)):
        if _ALIEN.match(line):
            alien += 1
        elif _STRONG.match(line):
            strong += 1
        elif _MEDIUM.match(line):
            medium += 1
        else:
            others += 1
    return strong, medium, alien, others
