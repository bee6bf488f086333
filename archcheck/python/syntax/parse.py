"""Parsing, with recovery: a file with a syntax error is still checked as far as it parses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from archcheck.python.syntax.tree import Parsed, syntax_tree
from archcheck.python.text.document import Document

# Trees of so many files are kept.
_MOST_PARSED = 200


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
