"""Parsing, with recovery: a file with a syntax error is still checked as far as it parses."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from archcheck.python.text.document import Document, SyntaxProblem

# Trees of so many files are kept.
_MOST_PARSED = 200


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


Parse: TypeAlias = Callable[[Document], Parsed]


class Parses:
    """Parses documents as `parse` does, and none again whose text is as it was.

    Nothing that reads trees changes them, so that those who look again may share them.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[Document, Parsed]] = {}

    def __call__(self, document: Document) -> Parsed:
        known = self._known.pop(document.path, None)
        parsed = known[1] if known is not None and known[0] == document else parse(document)
        # Those that were asked for last stay longest.
        self._known[document.path] = document, parsed
        while len(self._known) > _MOST_PARSED:
            del self._known[next(iter(self._known))]
        return parsed


def parse(document: Document) -> Parsed:
    """Parse the code of a document; what does not parse is repaired or left out, and explained."""
    try:
        return Parsed(document, syntax_tree(document.code), document.problems)
    except SyntaxError:
        # Most files parse: they need not wait for the import of what the others need.
        from archcheck.python.syntax.recovery import recover

        return recover(document)
