"""Shapes as comments in the file: `x = self.conv(x)  # [8, 64, 56, 56]`.

Only comments that state a shape are replaced, and of those only the shape; any other comment
stays, and the shape goes behind it. Comments written once are found again as they are.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from archcheck.analysis.shapes.arithmetic import text as shape_text
from archcheck.analysis.shapes.shape_comments import claims
from archcheck.core.finding import Edit, Location
from archcheck.engine.annotate.annotation import shown_calls
from archcheck.engine.annotate.functions import functions_of
from archcheck.engine.fix.apply_edits import patched
from archcheck.engine.fix.write_files import WriteError, obstacle, write
from archcheck.evidence.records import ValueIndex
from archcheck.evidence.trace import Trace
from archcheck.python.text.comments import Comment
from archcheck.python.text.document import DocumentError

if TYPE_CHECKING:
    from archcheck.python import Project, SourceFile

# What a line bound: the names with the shapes of their calls, in the order of the text.
Shapes = Mapping[str, Sequence[str]]

_SHAPE = r"\[(?:\d+(?:, \d+)*)?\]"
_DTYPE = r"(?:bool|u?int\d{1,2}|b?float\d{1,2}|complex\d{1,3})"
_ENTRY = rf"(?:[^\W\d]\w*: )?{_SHAPE}(?: \.\.\. {_SHAPE})?(?: {_DTYPE}\b)?"
# What `stated` writes.
_OWN = re.compile(rf"{_ENTRY}(?:, {_ENTRY})*")
_NAMES = re.compile(r"([^\W\d]\w*): ?\[")
_ARROW = re.compile(r"\s*(?:->|=>|→|⇒|-->|──>|to\b|into\b)")
# What stands before a shape where a comment is about nothing else.
_HEAD = re.compile(
    r"(?:[^\W\d]\w*(?:\.shape)?\s*(?::|==?|\bis\b|\bhas shape\b)|(?:(?:output|out|new)\s+)?"
    r"(?:shape|size|dims?)\s*:?|.*(?:->|=>|→|⇒|-->|──>))?",
    re.IGNORECASE,
)
_SEGMENT = re.compile(r"(?:^|(?<=\s))#")


def write_shapes(trace: Trace, project: Project, depth: int | None, folder: Path) -> list[str]:
    """Put the shapes that the lines of the shown forwards bound into their files.

    Returns:
        What was done and what was not, a sentence for each file.
    """
    said = []
    shown = shown_calls(trace, depth)
    ran = [one.location.path for one in trace.lines if one.call in shown]
    for path in dict.fromkeys([*(place.path for place in shown.values()), *ran]):
        try:
            file = project.file(path)
        except (DocumentError, OSError):
            said.append(f"{path}: cannot be read")
            continue
        said.append(f"{path}: {_write_file(trace, file, depth, folder)}")
    return said or ["no forward of the user's was traced: nothing was written"]


def _write_file(trace: Trace, file: SourceFile, depth: int | None, folder: Path) -> str:
    if file.problems:
        return "does not parse, so it was left alone"
    document = file.document
    reason = obstacle(document, folder, outside=False)
    if reason is not None:
        return f"not changed: it {reason}".replace(" (see --fix-outside)", "")
    edits = list(comment_edits(trace, file, depth))
    if not edits:
        return "every shape is there already"
    text = patched(document.text, [document.to_text(edit) for edit in edits])
    try:
        write(document, document.encode(text))
    except (WriteError, UnicodeEncodeError) as error:
        return f"not changed: it {error}"
    return f"wrote {len(edits)} comment{'s' * (len(edits) != 1)}"


def comment_edits(trace: Trace, file: SourceFile, depth: int | None) -> Iterator[Edit]:
    """The comments to write or change, in positions of the code."""
    beside: dict[int, Comment] = {one.line: one for one in file.comments}
    for number, shapes in _shapes_by_line(trace, file, depth).items():
        line = file.lines[number - 1]
        comment = beside.get(number)
        if comment is not None and not comment.own_line:
            new = restated(comment.text, shapes)
            start, end = comment.column, comment.column + len(comment.text)
        elif line.rstrip().endswith("\\"):
            continue
        else:
            new = f"  # {stated(shapes)}"
            start = end = len(line.rstrip()) + 1
        if line[start - 1 : end - 1] != new:
            yield Edit(Location(file.path, number, start, number, end), new)


def _shapes_by_line(trace: Trace, file: SourceFile, depth: int | None) -> dict[int, Shapes]:
    """What each statement of the shown forwards bound, by the line that it ends on."""
    shown = shown_calls(trace, depth)
    spans = [
        (node.lineno, node.end_lineno or node.lineno)
        for _, node in functions_of(file)
        if node.name == "forward"
    ]
    statements = [
        (one.lineno, one.end_lineno or one.lineno)
        for one in ast.walk(file.tree)
        if isinstance(one, ast.Assign | ast.AnnAssign | ast.AugAssign)
    ]
    bound: dict[int, list[tuple[Location, str, str]]] = {}
    for one in trace.lines:
        at = one.location
        if one.call not in shown or at.path != file.path or not isinstance(one.value, ValueIndex):
            continue
        value = trace.values[one.value.index]
        ends = [end for start, end in statements if start <= at.line <= end]
        if value.guessed or not ends or not any(a <= at.line <= b for a, b in spans):
            continue
        dtype = "" if value.dtype == "float32" else f" {value.dtype}"
        entry = (at, one.name, shape_text(value.shape) + dtype)
        bound.setdefault(min(ends), []).append(entry)
    found_shapes: dict[int, Shapes] = {}
    for number, entries in bound.items():
        names: dict[str, list[str]] = {}
        for _, name, shape in sorted(entries, key=lambda e: (e[0].line, e[0].column)):
            if name != "return":
                names.setdefault(name, []).append(shape)
        if names:
            found_shapes[number] = names
    return dict(sorted(found_shapes.items()))


def stated(shapes: Shapes, *, named: bool = False) -> str:
    """`[8, 64]`; of several names `a: [8, 64], b: [8, 32]`; of several calls, the first and last.

    Args:
        named: Name it in any case. A shape of fewer than two dimensions always is: `[1]` alone
            could be a footnote.
    """
    named = named or len(shapes) > 1
    entries = []
    for name, each in shapes.items():
        distinct = list(dict.fromkeys(each))
        text = distinct[0]
        if len(distinct) > 1:
            first, _, _ = distinct[0].partition("]")
            text = f"{first}] ... {distinct[-1]}"
        prefix = f"{name}: " if named or any("," not in one for one in distinct) else ""
        entries.append(prefix + text)
    return ", ".join(entries)


def restated(comment: str, shapes: Shapes) -> str:
    """The comment with these shapes in the place of the one that it states, or behind it."""
    new = _restated(comment, shapes)
    # A comment that would read differently the next time is better left alone.
    return new if _restated(new, shapes) == new else comment


def _restated(comment: str, shapes: Shapes) -> str:
    starts = [match.start() for match in _SEGMENT.finditer(comment)] or [0]
    for begin, end in zip(starts, [*starts[1:], len(comment)], strict=True):
        changed = _replaced(comment[begin:end], shapes)
        if changed is not None:
            return comment[:begin] + changed + comment[end:]
    return f"{comment}  # {stated(shapes)}"


def _replaced(segment: str, shapes: Shapes) -> str | None:
    """One `# …` with its shape replaced; None where it states none."""
    body = re.match(r"#+:?\s*", segment)
    start = body.end() if body else 0
    own = _OWN.match(segment, start)
    if own is not None and not _ARROW.match(segment, own.end()):
        names = set(_NAMES.findall(own.group()))
        lone = "," not in own.group() and not names
        if names <= set(shapes) and not lone:
            text = stated(shapes, named=bool(names))
            return segment[:start] + text + segment[own.end() :]
    said = claims(segment)
    if not said:
        return None
    head = segment[start : said[0].start].strip()
    if _HEAD.fullmatch(head) is None:
        return None
    begin, end = said[0].start, said[0].end
    named = said[0].variable in shapes
    text = stated(shapes, named=named)
    if named or not text.startswith("["):
        begin = start
    if len(shapes) > 1:
        end = said[-1].end
    return segment[:begin] + text + segment[end:]
