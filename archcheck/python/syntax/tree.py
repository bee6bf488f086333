"""The syntax tree of code that parses, and what parsing a document gave."""

from __future__ import annotations

import ast
import warnings
from typing import NamedTuple

from archcheck.python.text.document import Document, SyntaxProblem


class Parsed(NamedTuple):
    """What parsing a document gave.

    Attributes:
        document: The document whose `code` was parsed: the one that was given, or with its
            code repaired. Positions in `tree` and `problems` are positions of this `code`.
        tree: The statements that parse.
        problems: Why the rest does not, in the order of the file.
        complete: Nothing was left out of `tree`.
    """

    document: Document
    tree: ast.Module
    problems: tuple[SyntaxProblem, ...] = ()
    complete: bool = True


def syntax_tree(code: str) -> ast.Module:
    """`ast.parse` without its warnings.

    Raises:
        SyntaxError: The code does not parse, or Python's parser cannot take it.
    """
    with warnings.catch_warnings():
        # An invalid escape sequence is a warning on stderr, or an error under -W error.
        warnings.simplefilter("ignore")
        try:
            return ast.parse(code)
        except (ValueError, RecursionError, MemoryError, OverflowError) as error:
            raise SyntaxError(str(error) or "too deeply nested") from None
