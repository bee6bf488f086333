"""Text in the strings of JSON, as a notebook holds it: where its characters stand, and new ones."""

from __future__ import annotations

import json
import re

_NEXT_STRING = re.compile(r'"\s*,\s*"')


def offset_in_json(text: str, start: int, column: int) -> int:
    """Where a column of a line stands in JSON text that has the line's beginning at `start`."""
    at = start
    for _ in range(column - 1):
        # A line may be split over several strings.
        while text[at] == '"':
            between = _NEXT_STRING.match(text, at, at + 1000)
            if between is None:
                return at
            at = between.end()
        if text.startswith(("\\n", "\\r"), at):
            break
        at += _length(text, at)
    return at


def in_json(text: str, start: int, new: str) -> str:
    """New text in the notation that a line at `start` has: Jupyter writes each line of a cell as a
    string on a line of its own."""
    escaped = json.dumps(new, ensure_ascii=False)[1:-1]
    lead = text[text.rfind("\n", 0, start) + 1 : start]
    if "\\n" not in escaped or lead.strip() != '"':
        return escaped
    return escaped.replace("\\n", f'\\n",\n{lead}')


def _length(text: str, at: int) -> int:
    """How long the notation of the character at an offset is."""
    if text[at] != "\\":
        return 1
    if text[at + 1] != "u":
        return 2
    high = int(text[at + 2 : at + 6], 16)
    return 12 if 0xD800 <= high < 0xDC00 and text.startswith("\\u", at + 6) else 6
