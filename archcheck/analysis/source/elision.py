"""Code that is not all there: examples that leave out what they have shown before."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from archcheck.python import SourceFile

_LEFT_OUT: Final = (
    r"(?i)^\s*\.\.\.\s*(#.*)?$"
    r"|#\s*(\.\.\.|…|\[\.\.\.\]|snip\b|<snip>|omitted|elided|left out|省略|略)"
    r"|#.*\b(same as (above|before|in)|as (before|above)|rest of|unchanged|other layers)\b"
)


def is_elided(file: SourceFile, node: ast.AST) -> bool:
    """Whether a line within a node says that something is left out there: `...` on a line of its
    own, `# ...`, `# same as above`."""
    at = file.location(node)
    return any(re.search(_LEFT_OUT, line) for line in file.lines[at.line - 1 : at.end_line])
