"""Shapes that comments state: `# [bs, 64, 56, 56]`, `# B x 64 x 56`, `# torch.Size([8, 64])`.

A comment is free text. Only what can hardly be anything else is read as a shape; where two
readings are possible, the comment says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Literal, TypeAlias

_WILD = frozenset({"*", "...", "…", "?", "-1", "none", ":", "_"})
BATCHES = frozenset({"b", "bs", "bsz", "n", "batch", "batch_size", "batchsize", "nb", "bz"})
# Full-width brackets, commas and colons come with Chinese and Japanese keyboards.
_HALF_WIDTH = str.maketrans("\uff08\uff09\u3010\u3011\uff0c\uff1a", "()[],:")
_BRACKETED = re.compile(
    r"(?P<size>(?:torch\.)?Size\(\s*)?[\[(](?P<body>[^\[\]()]*)[\])]", re.IGNORECASE
)
_CROSSED = re.compile(
    r"(?<![\w.@/*-])(?:\d+|[A-Za-z_]\w*)"
    r"(?:\s+[x×✕]\s+[\w'/+*-]+|×[\w'/+-]+|(?<=\d)x\d+|(?<=[BN])x\d+)+"
    r"(?![\w.])",
    re.ASCII,
)
_ARROW = re.compile(r"->|=>|→|⇒|──>|-->")
_OPERATOR = re.compile(r"(?:[x×✕@·*]|\+(?!\+)|matmul|bmm)(?=[\s(\[])")
_OPERATOR_BEFORE = re.compile(r"[)\]\w]\s*(?:[×✕@·*+]|(?<=[\s)\]])x)$")
_CHOICE = re.compile(r"or|/|\||~|vs\.?|and/or|if\b.*|when\b.*|else\b.*|otherwise\b.*")
_PREFIX = re.compile(r"(?P<name>[A-Za-z_]\w*)(?:\.shape)?\s*(?:[:=]|==|\sis|\shas shape)\s*$")
_RESULT = frozenset(
    "shape size output out result returns return shapes dim dims dimension dimensions now".split()
)

Kind: TypeAlias = Literal["size", "bracket", "cross"]


@dataclass(frozen=True, slots=True)
class Dimension:
    """One entry of a stated shape: a number, a name, or something that says nothing.

    Attributes:
        text: As written.
        start: Its column in the comment, from 0.
        number, name: Which of the two it is; neither for expressions and wildcards.
        spread: It stands for any number of dimensions (`...`).
    """

    text: str
    start: int
    number: int | None = None
    name: str | None = None
    spread: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """A shape that a comment states.

    Attributes:
        variable: The name that the comment gives it to (`x: [N, 512]`), if any.
        sure: The form leaves no doubt that this is a shape (torch.Size, an arrow, the word
            shape, names beside the numbers).
        start, end: Its columns in the comment, from 0.
    """

    dimensions: tuple[Dimension, ...]
    kind: Kind
    variable: str | None
    sure: bool
    start: int
    end: int

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(d.number for d in self.dimensions if d.number is not None)

    @property
    def all_numbers(self) -> bool:
        return len(self.numbers) == len(self.dimensions)

    @property
    def has_batch(self) -> bool:
        """Whether its first dimension is named like a batch."""
        first = self.dimensions[0].name if self.dimensions else None
        return first is not None and first.lower() in BATCHES


def claims(comment: str) -> tuple[Claim, ...]:
    """The shapes that a comment states for what its line bound.

    Of `[B, T, C] -> [B, C, T]`, the last; of several without an arrow, all of them, in order.
    """
    comment = comment.translate(_HALF_WIDTH)
    found = sorted(
        (*_bracketed(comment), *_crossed(comment)), key=lambda claim: (claim.start, -claim.end)
    )
    apart: list[Claim] = []
    for claim in found:
        if not apart or claim.start >= apart[-1].end:
            apart.append(claim)
    operands = [claim for claim in apart if _is_operand(comment, claim)]
    if operands:
        # Of `(B x D) x (D x K) -> B x K` the product's own shape alone is the line's.
        results = [one for one in apart if one.start > operands[-1].end and _follows(comment, one)]
        return tuple(results[-1:]) if len(operands) < len(apart) else ()
    gaps = [comment[a.end : b.start].strip("()[] \t") for a, b in pairwise(apart)]
    if any(map(_CHOICE.fullmatch, gaps)):
        return ()  # one of several, and nothing tells which
    if len(apart) > 1:
        between = [comment[a.end : b.start] for a, b in pairwise(apart)]
        if all(_ARROW.search(gap) or gap.strip() in ("to", "into") for gap in between):
            apart = apart[-1:]
        elif any(_ARROW.search(gap) for gap in between):
            return ()
    if apart and _ARROW.match(comment[apart[-1].end :].lstrip(" \t])")):
        return ()  # what it was before, and after the arrow something that is not understood
    return tuple(apart)


def _is_operand(comment: str, claim: Claim) -> bool:
    """Whether a shape is a factor in the comment, or a term, and not what the line gives."""
    after = comment[claim.end :].lstrip(")] \t")
    before = comment[: claim.start].rstrip("([ \t")
    return bool(_OPERATOR.match(after) or _OPERATOR_BEFORE.search(before))


def _follows(comment: str, claim: Claim) -> bool:
    """Whether an arrow or an equals sign leads to a shape."""
    before = comment[: claim.start].rstrip("([ \t")
    return before.endswith("=") or _ARROW.search(before[-3:]) is not None


def _bracketed(comment: str) -> Iterator[Claim]:
    for match in _BRACKETED.finditer(comment):
        before = comment[: match.start()]
        # A call, a subscript or a footnote's mark is no shape.
        if not match["size"] and re.search(r"[\w\])]$", before, re.ASCII):
            continue
        dimensions = _dimensions(match["body"], match.start("body"), ",")
        if dimensions is None or (len(dimensions) < 2 and not match["size"]):
            continue
        if re.fullmatch(r"[A-Z][a-z]{3,}[\w ]*,\s*(?:19|20)\d\d", match["body"]):
            continue  # an author and a year
        kind: Kind = "size" if match["size"] else "bracket"
        end = match.end() + (1 if match["size"] and comment[match.end() :][:1] == ")" else 0)
        if re.match(r"\s*\.\w", comment[end:]):
            continue
        yield _claim(comment, match.start(), end, dimensions, kind)


def _crossed(comment: str) -> Iterator[Claim]:
    for match in _CROSSED.finditer(comment):
        dimensions = _dimensions(match.group(), match.start(), r"\s+[x×✕]\s+|×|(?<=[\dBN])x(?=\d)")
        if dimensions is None or len(dimensions) < 2:
            continue
        if re.match(r"\s+[x×✕]\s", comment[match.end() :]):
            continue  # it goes on with something that is not understood
        claim = _claim(comment, match.start(), match.end(), dimensions, "cross")
        # `3 x 3` is a kernel, `56 x 56` a map; `B x 64` is a shape.
        if claim.has_batch or claim.sure or len(dimensions) > 2:
            yield claim


def _claim(
    comment: str, start: int, end: int, dimensions: tuple[Dimension, ...], kind: Kind
) -> Claim:
    before = comment[:start].lstrip("#").strip()
    prefix = _PREFIX.search(before)
    variable = prefix["name"] if prefix else None
    said = False
    if variable is not None and variable.lower() in _RESULT:
        variable, said = None, True
    arrow = _ARROW.search(before[-3:]) is not None if before else False
    named = any(dimension.name for dimension in dimensions)
    sure = kind == "size" or arrow or said or variable is not None or named
    return Claim(dimensions, kind, variable, sure, start, end)


def _dimensions(body: str, offset: int, separator: str) -> tuple[Dimension, ...] | None:
    """The entries of a shape; None where one of them shows that it is none."""
    found: list[Dimension] = []
    place = 0
    parts: Sequence[str] = re.split(f"({separator})", body)
    for index, part in enumerate(parts):
        if index % 2 == 0:
            stripped = part.strip()
            start = offset + place + len(part) - len(part.lstrip())
            dimension = _dimension(stripped, start)
            if dimension is None:
                if not stripped and index == len(parts) - 1 and found:
                    break  # a trailing comma
                return None
            found.append(dimension)
        place += len(part)
    return tuple(found) if 0 < len(found) <= 8 else None


def _dimension(written: str, start: int) -> Dimension | None:
    if re.fullmatch(r"\d{1,7}", written):
        number = int(written)
        return Dimension(written, start, number=number) if number > 0 else None
    if re.fullmatch(r"\d{1,5}(?:\s*\*\s*\d{1,5})+", written):
        number = prod(map(int, written.split("*")))
        return Dimension(written, start, number=number) if number > 0 else None
    if written.lower() in _WILD:
        return Dimension(written, start, spread=written in ("...", "…", "*"))
    if re.fullmatch(r"[A-Za-z_][\w.]*'*", written) and len(written) <= 32:
        return Dimension(written, start, name=written)
    # An expression of names and numbers, such as H/2 or 3 x C: a dimension that says nothing.
    expression = re.sub(r"\s+[x×✕]\s+", "*", written)
    if re.fullmatch(r"[\w\s.'+*/()-]{1,40}", expression) and re.search(r"[+*/-]", expression):
        if re.search(r"[A-Za-z_]\w*\s+[A-Za-z_]|\d\.\d|^[-+]", expression):
            return None
        return Dimension(written, start)
    return None


def misfit(
    claim: Claim, shape: Sequence[int], names: dict[str, int]
) -> tuple[tuple[int, int], ...] | None:
    """The entries of a claim that a shape contradicts, as (entry, the size there).

    Args:
        names: What names stand for by now. Names seen for the first time are bound, if nothing
            contradicts the claim.

    Returns:
        Nothing where the claim holds or says nothing; None where the number of dimensions
        differs in a way that no reading mends.
    """
    places = _placed(claim, len(shape))
    if places is None:
        return None
    wrong: list[tuple[int, int]] = []
    fresh: dict[str, int] = {}
    for entry, place in places:
        dimension, size = claim.dimensions[entry], shape[place]
        if dimension.number is not None:
            if dimension.number != size:
                wrong.append((entry, size))
        elif dimension.name is not None:
            known = names.get(dimension.name, fresh.setdefault(dimension.name, size))
            if known != size:
                wrong.append((entry, size))
    if not wrong:
        names.update({name: size for name, size in fresh.items() if name not in names})
    return tuple(wrong)


def _placed(claim: Claim, rank: int) -> list[tuple[int, int]] | None:
    """Which dimension of a shape each entry of a claim speaks of."""
    entries = len(claim.dimensions)
    spreads = [i for i, dimension in enumerate(claim.dimensions) if dimension.spread]
    if len(spreads) == 1 and claim.dimensions[spreads[0]].text != "*":
        at = spreads[0]
        if entries - 1 > rank:
            return None
        after = entries - at - 1
        return [(i, i) for i in range(at)] + [(at + 1 + i, rank - after + i) for i in range(after)]
    if entries != rank:
        return None
    return [(i, i) for i in range(entries)]
