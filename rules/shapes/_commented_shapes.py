"""Shape comments compared with a trace: which of them are wrong, and what they should say."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archcheck.analysis.shapes.arithmetic import text
from archcheck.analysis.shapes.failures import source_file
from archcheck.analysis.shapes.shape_comments import Claim, claims, misfit
from archcheck.core.finding import Edit, Location
from archcheck.evidence.dataflow import indices
from archcheck.python.text.comments import Comment

from ._implied_sizes import example_shapes
from ._widths import origin

if TYPE_CHECKING:
    from archcheck.core.target import Shape
    from archcheck.evidence.records import LineValue, Value
    from archcheck.evidence.trace import Trace
    from archcheck.python import Project, SourceFile

# Layers whose last dimension is their own, whatever the input's sizes.
_OWN_WIDTH = frozenset({"linear", "embedding", "layer_norm", "lstm", "gru", "bilinear"})


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A comment that states another shape than the value of its line has.

    Attributes:
        location: The stated shape in the comment.
        written: It, as written.
        name: The name that the line bound.
        corrected: What the comment should say.
        edits: The numbers to change; empty where the number of dimensions differs.
    """

    location: Location
    written: str
    name: str
    shape: Shape
    corrected: str = ""
    edits: tuple[Edit, ...] = ()


@dataclass(frozen=True, slots=True)
class _Held:
    """One claim, compared with one value.

    `wrong` is None where the number of dimensions differs; `agrees` holds the dimensions in which
    a number of the claim is the value's; `names` is what names stand for by then.
    """

    claim: Claim
    comment: Comment
    line: LineValue
    value: Value
    wrong: tuple[tuple[int, int], ...] | None
    names: Mapping[str, int]
    offset: int = 0

    def said(self, size: int) -> str:
        """A size as the comment would say it: by a name, where it has names and one of them
        alone stands for that."""
        first, *others = self.claim.dimensions
        if all(dimension.name is None for dimension in others):
            return str(size)
        names = [name for name, known in self.names.items() if known == size]
        return names[0] if len(names) == 1 and names[0] != first.name else str(size)

    @property
    def agrees(self) -> tuple[int, ...]:
        if self.wrong is None:
            return ()
        off = {entry for entry, _ in self.wrong}
        return tuple(
            place + self.offset
            for place, dimension in enumerate(self.claim.dimensions)
            if dimension.number is not None and place not in off
        )


def contradictions(trace: Trace, project: Project) -> Iterator[Contradiction]:
    """The comments of the traced forwards that no call of theirs bears out."""
    files: dict[str, SourceFile | None] = {}
    for path in dict.fromkeys(line.location.path for line in trace.lines):
        files[path] = source_file(project, Location(path, 1))
    for path, file in files.items():
        if file is None:
            continue
        held = list(_held(trace, file, [ln for ln in trace.lines if ln.location.path == path]))
        if any(one.wrong != () for one in held):
            literal = _is_authors_size(trace, file, held)
            yield from _wrong(trace, file, held, literal)


def _held(trace: Trace, file: SourceFile, lines: Sequence[LineValue]) -> Iterator[_Held]:
    """Every claim beside a line, compared with what the line bound, in the order of the pass."""
    beside = _comments_beside(file)
    if not beside:
        return
    functions = _functions(file)
    names: dict[tuple[int | None, int], dict[str, int]] = {}
    groups: dict[tuple[int | None, int], list[LineValue]] = {}
    for line in lines:
        if line.location.line in beside:
            groups.setdefault((line.call, line.location.line), []).append(line)
    for (call, number), group in groups.items():
        comment, stated = beside[number]
        function = max((s for s, end in functions if s <= number <= end), default=0)
        known = names.setdefault((call, function), {})
        for claim, line, value in _matched(trace, stated, group):
            if value.guessed:
                continue
            yield _hold(claim, comment, line, value, known)


def _comments_beside(file: SourceFile) -> Mapping[int, tuple[Comment, tuple[Claim, ...]]]:
    """The shape comments at the end of a statement, by the line that the statement begins on."""
    stating = [
        (comment, stated)
        for comment in file.comments
        if not comment.own_line and (stated := claims(comment.text))
    ]
    if not stating:
        return {}
    starts: dict[int, int] = {}
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Return):
            starts.setdefault(node.end_lineno or node.lineno, node.lineno)
    return {
        starts[comment.line]: (comment, stated)
        for comment, stated in stating
        if comment.line in starts
    }


def _functions(file: SourceFile) -> tuple[tuple[int, int], ...]:
    """The first and last lines of the functions, innermost ones last."""
    return tuple(
        sorted(
            (node.lineno, node.end_lineno or node.lineno)
            for node in ast.walk(file.tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        )
    )


def _matched(
    trace: Trace, stated: Sequence[Claim], group: Sequence[LineValue]
) -> Iterator[tuple[Claim, LineValue, Value]]:
    """Which claim speaks of which value; nothing where that is not clear."""
    single = [line for line in group if len(list(indices(line.value))) == 1]
    # In the order of the text: Python may store the names of a tuple in another one.
    bound = dict.fromkeys(line.name for line in sorted(group, key=lambda one: one.location.column))
    for claim in stated:
        if claim.variable is not None:
            named = [line for line in single if line.name == claim.variable]
        elif len(stated) == 1:
            named = single
        else:
            place = list(stated).index(claim)
            wanted = list(bound)[place] if len(bound) == len(stated) else None
            named = [line for line in single if line.name == wanted]
        for line in named:
            yield claim, line, trace.values[next(indices(line.value))]


def _hold(
    claim: Claim, comment: Comment, line: LineValue, value: Value, names: dict[str, int]
) -> _Held:
    wrong = misfit(claim, value.shape, names)
    if wrong != () and not claim.has_batch and len(claim.dimensions) == len(value.shape) - 1:
        # A sample's shape, its batch left out.
        sample = misfit(claim, value.shape[1:], names)
        if sample == () or wrong is None:
            return _Held(claim, comment, line, value, sample, dict(names), 1)
    return _Held(claim, comment, line, value, wrong, dict(names))


def _is_authors_size(trace: Trace, file: SourceFile, held: Sequence[_Held]) -> bool:
    """Whether the pass was given the sizes that the author of the comments had in mind."""
    given = [trace.shape(index) for one in trace.inputs for index in list(indices(one.value))[:1]]
    examples = [shape for shape in example_shapes(file) if any(_alike(shape, g) for g in given)]
    if examples:
        return any(_free(example) == _free(one) for example in examples for one in given)
    apart = [one for one in held if _numbers_off(one)]
    if any(place >= 2 for one in held for place in one.agrees) or len(apart) < 2:
        return True
    # Comments for another size are off by one and the same factor.
    factors = [size / number for one in apart for number, size in _numbers_off(one)]
    return max(factors) > 1.3 * min(factors)


def _alike(one: Shape, other: Shape) -> bool:
    """Whether two shapes can be two sizes of the same input."""
    return len(one) == len(other) and len(one) > 1 and (len(one) < 4 or one[1] == other[1])


def _free(shape: Shape) -> Shape:
    return shape[2:] if len(shape) > 2 else shape[1:]


def _numbers_off(one: _Held) -> list[tuple[int, int]]:
    """The stated and the true sizes of spatial dimensions that differ."""
    return [
        (one.claim.dimensions[entry].number or 1, size)
        for entry, size in one.wrong or ()
        if one.claim.dimensions[entry].number is not None and entry + one.offset >= 2
    ]


def _wrong(
    trace: Trace, file: SourceFile, held: Sequence[_Held], literal: bool
) -> Iterator[Contradiction]:
    claimed: dict[tuple[int, int], list[_Held]] = {}
    for one in held:
        claimed.setdefault((one.comment.line, one.claim.start), []).append(one)
    for group in claimed.values():
        verdicts = [_verdict(trace, one, literal) for one in group]
        if all(verdict is not None for verdict in verdicts):
            yield _contradiction(file, group[0], verdicts[0] or ())


def _verdict(trace: Trace, one: _Held, literal: bool) -> tuple[tuple[int, int], ...] | None:
    """The entries that are certainly wrong; empty for a wrong number of dimensions, None for a
    claim that may well be right."""
    claim, shape = one.claim, one.value.shape
    if one.wrong == ():
        return None
    if one.wrong is None:
        numbers = claim.numbers
        if not claim.sure or sorted(numbers) == sorted(shape[-len(numbers) :]):
            return None
        too_many = claim.has_batch and len(claim.dimensions) > len(shape) > 0
        return () if too_many and (numbers or len(claim.dimensions) > 2) else None
    if claim.all_numbers:
        numbers = claim.numbers
        if sorted(numbers) == sorted(shape[one.offset :]):
            return None  # the same sizes in another order, such as H, W, C
        sure = claim.sure or len(numbers) > 2 or (not one.offset and numbers[0] == shape[0])
        if not sure:
            return None
    kept = []
    for entry, size in one.wrong:
        place = entry + one.offset
        if place == 0 and claim.dimensions[entry].number is not None:
            continue  # the author's example batch
        if literal or _is_fixed(trace, one.value, place):
            kept.append((entry, size))
    return tuple(kept) or None


def _is_fixed(trace: Trace, value: Value, place: int) -> bool:
    """Whether a dimension is the layers' own, whatever the size of the input."""
    rank = len(value.shape)
    if rank >= 4:
        return place == 1
    if place != rank - 1:
        return False
    maker = origin(trace, value).maker
    return maker is not None and maker.name in _OWN_WIDTH


def _rewritten(one: _Held) -> str:
    """A claim of another number of dimensions as its author would write it, batch name kept."""
    comment, claim, shape = one.comment, one.claim, one.value.shape
    first, *others = claim.dimensions
    if len(shape) < 2 or not others:
        return text(shape)
    end = first.start + len(first.text)
    last = others[-1].start + len(others[-1].text)
    sizes = [first.text if claim.has_batch else str(shape[0]), *map(one.said, shape[1:])]
    return "".join(
        (
            comment.text[claim.start : first.start],
            comment.text[end : others[0].start].join(sizes),
            comment.text[last : claim.end],
        )
    )


def _contradiction(
    file: SourceFile, one: _Held, wrong: tuple[tuple[int, int], ...]
) -> Contradiction:
    comment, claim = one.comment, one.claim

    def place(start: int, end: int) -> Location:
        column = comment.column
        return Location(file.path, comment.line, column + start, comment.line, column + end)

    edits = []
    corrected = ""
    at = claim.start
    for entry, size in wrong:
        dimension = claim.dimensions[entry]
        end = dimension.start + len(dimension.text)
        said = one.said(size) if dimension.name is not None else str(size)
        edits.append(Edit(place(dimension.start, end), said))
        corrected += comment.text[at : dimension.start] + said
        at = end
    corrected += comment.text[at : claim.end]
    if not edits:
        corrected = _rewritten(one)
        edits.append(Edit(place(claim.start, claim.end), corrected))
    return Contradiction(
        place(claim.start, claim.end),
        comment.text[claim.start : claim.end],
        one.line.name,
        one.value.shape,
        corrected,
        tuple(edits),
    )
