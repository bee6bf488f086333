"""Image sizes that a file speaks of: example inputs, resizes, data sets, plain words.

What a model is meant for stands all around it: `torch.randn(8, 3, 224, 224)`, `RandomCrop(32)`,
"CIFAR-10" in the prose of a document.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archcheck.analysis.shapes.shape_comments import claims
from archcheck.core.finding import Location
from archcheck.python.names.unknown import UNKNOWN
from archcheck.python.text.comments import masked

if TYPE_CHECKING:
    from archcheck.core.target import Shape
    from archcheck.python import SourceFile

_FACTORIES = ("randn", "rand", "zeros", "ones", "empty", "randint", "full")
_RESIZES = ("RandomCrop", "CenterCrop", "RandomResizedCrop", "Resize", "Scale")
# What images of a data set measure, and what they are usually brought to.
DATASETS: tuple[tuple[str, re.Pattern[str], tuple[int, ...]], ...] = (
    ("CIFAR-100", re.compile(r"cifar[-_ ]?100(?!\d)", re.IGNORECASE), (32,)),
    ("CIFAR-10", re.compile(r"cifar[-_ ]?10(?!\d)", re.IGNORECASE), (32,)),
    ("Fashion-MNIST", re.compile(r"fashion[-_ ]?mnist", re.IGNORECASE), (28, 32)),
    ("MNIST", re.compile(r"(?<![a-z])mnist", re.IGNORECASE), (28, 32)),
    ("SVHN", re.compile(r"(?<![a-z])svhn(?![a-z])", re.IGNORECASE), (32,)),
    (
        "ImageNet",
        re.compile(r"(?<![a-z])(?<!tiny[-_ ])image[-_ ]?net(?![a-z])", re.IGNORECASE),
        (224, *range(96, 641)),  # people crop its images to many sizes
    ),
)
_WRITTEN = re.compile(r"(?<![\d.x×*])(\d{2,4})\s*[x×*]\s*(\d{2,4})(?![\d.]|\s*[x×*]\s*\d)")

_NAMED = re.compile(
    r"\b(?:im|img|image|input|crop)_?(?:size|res|resolution|dim)s?"
    r"(?:\s*:\s*[\w\[\], ]+?)?\s*=\s*[(\[]?\s*(\d{2,4})\b",
    re.IGNORECASE,
)
_IMAGES = re.compile(
    r"(?P<before>\d{2,4})\s*[x×]\s*(?P=before)[\s-]*(?:pixels?|px|(?:\w+[\s-])?images?|inputs?)\b"
    r"|\b(?:images?|inputs?)\s+(?:are|is|of|of size)\s+(?P<after>\d{2,4})\s*[x×]\s*(?P=after)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Implied:
    """A size of images that something in the file implies.

    Attributes:
        what: What implies it, as a message says it: "the text names CIFAR-10".
        sizes: The sizes that would do, the data set's own first.
        line: Where it stands, in the document's own lines.
    """

    what: str
    sizes: tuple[int, ...]
    line: int


def example_shapes(file: SourceFile) -> tuple[Shape, ...]:
    """The literal shapes of tensors that the file makes with torch.randn and the like."""
    found = []
    # By name alone: what `torch` stands for in a file need not be looked up for a guess.
    for call in file.calls_named(*_FACTORIES):
        arguments = list(call.node.args)
        size = call.argument("size", 0)
        whole = file.value(size, call.statement) if size is not None else UNKNOWN
        if call.name == "randint":
            whole = next(
                (
                    value
                    for argument in (*arguments, call.argument("size"))
                    if argument is not None
                    and isinstance(value := file.value(argument, call.statement), list | tuple)
                ),
                UNKNOWN,
            )
        if not isinstance(whole, list | tuple):
            whole = tuple(file.value(argument, call.statement) for argument in arguments)
        if whole and all(type(number) is int for number in whole):
            found.append(tuple(whole))
    return tuple(found)


def implied(file: SourceFile, channels: int | None = None) -> tuple[Implied, ...]:
    """What the file says about the size of its images; of several kinds, the strongest one.

    A crop or resize settles it; then what comments and docstrings say of the input: its shape
    (`x: [B, 3, 32, 32]`) or its size ("images of 32 x 32"); then the data set that code names, or
    else the one that the text names first.

    Args:
        channels: Of the input, by which a stated shape is recognised as the input's.
    """
    for found in (_resizes(file), _stated(file, channels), _in_words(file)):
        kind = tuple(found)
        if kind:
            return kind
    named = _named_dataset(file)
    return (named,) if named is not None else ()


def written_sizes(file: SourceFile) -> frozenset[int]:
    """The sizes that the file writes out: 32 in a text's `32 x 32`, 224 in `image_size=224`."""
    spelled = {
        int(match[1])
        for line, _ in _prose(file)
        for match in _WRITTEN.finditer(line)
        if match[1] == match[2]
    }
    return frozenset(spelled | {int(match[1]) for match in _NAMED.finditer(file.document.code)})


def _stated(file: SourceFile, channels: int | None) -> Iterator[Implied]:
    """Shapes of images with the input's channels."""
    for line, number in _prose(file) if channels is not None else ():
        for claim in claims(line):
            *_, stated, height, width = (0, *(d.number for d in claim.dimensions))[-4:]
            rank = len(claim.dimensions)
            if stated == channels and height == width and height and rank in (3, 4):
                what = f"a comment says {line[claim.start : claim.end]}"
                yield Implied(what, (height,), number)


def _in_words(file: SourceFile) -> Iterator[Implied]:
    """Sizes that the text gives its images."""
    for line, number in _prose(file):
        for match in _IMAGES.finditer(line):
            size = match["before"] or match["after"]
            yield Implied(f"the text speaks of {size} x {size} images", (int(size),), number)


def _resizes(file: SourceFile) -> Iterator[Implied]:
    for call in file.calls_named(*_RESIZES):
        given = call.argument("size", 0)
        value = file.value(given, call.statement) if given is not None else UNKNOWN
        if isinstance(value, list | tuple) and len(value) == 2 and value[0] == value[1]:
            value = value[0]
        if type(value) is int:
            line = file.document.origin(file.location(call.node)).line
            yield Implied(f"`{call.name}({value})`", (value,), line)


def _named_dataset(file: SourceFile) -> Implied | None:
    document = file.document
    for text, what in ((masked(document.code), "code"), (document.text, "text")):
        found = [
            (match.start(), place)
            for place, (_, pattern, _) in enumerate(DATASETS)
            if (match := pattern.search(text))
        ]
        if found:
            start, place = min(found)
            name, _, sizes = DATASETS[place]
            line = text.count("\n", 0, start) + 1
            if what == "code":
                line = document.origin(Location(file.path, line)).line
            return Implied(f"the {what} names {name}", sizes, line)
    return None


def _prose(file: SourceFile) -> Iterator[tuple[str, int]]:
    """What is written for people, line by line with its number: the text of a document around its
    code, and the code's comments and docstrings."""
    document = file.document
    if document.kind == "markdown":
        for number, line in enumerate(document.shown_lines, start=1):
            if number > len(document.lines) or not document.lines[number - 1].strip():
                yield line, number
    for comment in file.comments:
        yield comment.text, comment.line
    for node in (file.tree, *(scope.node for scope in file.scopes if scope.node is not file.tree)):
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            text = first.value.value
            if isinstance(text, str):
                lines = enumerate(text.split("\n"), start=first.lineno)
                yield from ((line, number) for number, line in lines)
