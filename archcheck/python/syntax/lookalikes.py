"""Characters that look like Python's and are not: full-width punctuation, curly quotes, blanks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from archcheck.core.finding import Edit, Location
from archcheck.python.syntax.repairs import Mended, indentation_span
from archcheck.python.text.comments import masked
from archcheck.python.text.document import Document, SyntaxProblem

_SPACES = "\u00a0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u202f\u205f\u3000"
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"
_LOOKALIKES: Mapping[str, str] = {
    # The full-width forms of ASCII's characters.
    **{chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},
    "\u3001": ",",
    "\u3010": "[",
    "\u3011": "]",
    "\u2212": "-",
    "\u2013": "-",
    "\u2014": "-",
    **dict.fromkeys(_SPACES, " "),
    # A blank does in its place wherever it does not stand inside a name.
    **dict.fromkeys(_INVISIBLE, " "),
    **dict.fromkeys("\u201c\u201d\u201e\u201f", '"'),
    **dict.fromkeys("\u2018\u2019\u201a\u201b", "'"),
}
_STRANGE = re.compile(f"[{''.join(re.escape(c) for c in _LOOKALIKES)}]")
_QUOTED = re.compile(
    '[\u201c\u201d]([^\u201c\u201d"\n]*)[\u201c\u201d]'
    "|[\u2018\u2019]([^\u2018\u2019'\n]*)[\u2018\u2019]"
)
_LEAD = re.compile(f"[ \t\f{_INVISIBLE}]*")


def with_plain_characters(lines: Sequence[str], first: int, document: Document) -> Mended:
    """The statement with ASCII in the place of characters that look like it.

    Text in strings and comments stays as it is.
    """
    before = "\n".join(lines)
    if not _STRANGE.search(before):
        return Mended(tuple(lines))
    bare = masked(before)

    def straightened(match: re.Match[str]) -> str:
        # Inside a comment or a string, a curly quote is text.
        if not bare[match.start()].strip():
            return match.group()
        quote = _LOOKALIKES[match.group()[0]]
        return quote + (match[1] if match[1] is not None else match[2]) + quote

    after = _QUOTED.sub(straightened, before)
    bare = masked(after)
    plain = "".join(
        _LOOKALIKES.get(character, character) if bare[at] == character else character
        for at, character in enumerate(after)
    ).split("\n")
    edits: list[tuple[str, Edit]] = []
    shifts: dict[int, int] = {}
    for number, old in enumerate(lines):
        line = first + number
        lead = _lead(old)
        visible = re.sub(f"[{_INVISIBLE}]", "", lead)
        new = plain[number]
        if visible != lead and len(lead) < len(old):
            # A blank in its place would indent the line.
            old, new = visible + old[len(lead) :], visible + new[len(lead) :]
            shifts[line] = len(lead) - len(visible)
            hidden = next(character for character in lead if character in _INVISIBLE)
            edits.append((hidden, Edit(indentation_span(document, line, new), visible)))
            plain[number] = new
        for column, (was, now) in enumerate(zip(old, new, strict=True), start=1):
            if was != now:
                place = Location(document.path, line, column, line, column + 1)
                taken_out = was in _INVISIBLE and not _parts_words(old, column - 1)
                edits.append((was, Edit(place, "" if taken_out else now)))
    if not edits:
        return Mended(tuple(lines))
    was, edit = edits[0]
    others = len(edits) - 1
    more = f" (and {others} more like it)" if others else ""
    problem = SyntaxProblem(
        f"{_described(was)} is not Python's {_described(edit.new)}{more}"
        if edit.new.strip()
        else f"{_described(was)} is no space that Python knows{more}",
        edit.location,
        label=f"write `{edit.new}`" if edit.new.strip() else "",
        help=f"replace {'it' if not others else 'them'} by the plain character",
        edits=tuple(edit for _, edit in edits),
        repaired=True,
    )
    return Mended(tuple(plain), (problem,), shifts)


def _parts_words(line: str, at: int) -> bool:
    """Return whether two words would be one without the invisible characters at a place.

    One blank does, in the place of the first of them.
    """
    left, right = line[:at][-1:], line[at:].lstrip(_INVISIBLE)[:1]
    return all(side == "_" or side.isalnum() for side in (left, right))


def _lead(line: str) -> str:
    match = _LEAD.match(line)
    return match.group() if match else ""


def _described(character: str) -> str:
    import unicodedata

    if character.isprintable() and not character.isspace():
        return f"`{character}`"
    return f"the {unicodedata.name(character, 'character').lower()} (U+{ord(character):04X})"
