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

from archcheck.finding import Location
from archcheck.source.comments import comments, masked
from archcheck.source.unknown import UNKNOWN

if TYPE_CHECKING:
    from archcheck.evidence import Shape
    from archcheck.source import SourceFile

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


def implied(file: SourceFile) -> Iterator[Implied]:
    """What the file says about the size of its images, the strongest evidence first.

    A crop or resize settles it. Otherwise the data set that code names, or else the one that the
    text names first. Nothing where the text gives sizes of its own.
    """
    resizes = list(_resizes(file))
    if resizes:
        yield from resizes
        return
    named = _named_dataset(file)
    if named is not None:
        yield named


def written_sizes(file: SourceFile) -> frozenset[int]:
    """The sizes that the file writes out: 32 in a text's `32 x 32`, 224 in `image_size=224`."""
    spelled = {int(match[1]) for match in _WRITTEN.finditer(_prose(file)) if match[1] == match[2]}
    return frozenset(spelled | {int(match[1]) for match in _NAMED.finditer(file.document.code)})


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


def _prose(file: SourceFile) -> str:
    """What is written for people: a document's text, or a file's comments and docstrings."""
    document = file.document
    if document.kind != "python":
        return document.text
    documented = (file.tree, *(scope.node for scope in file.scopes))
    strings = (
        ast.get_docstring(node)
        for node in documented
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
    )
    words = (*filter(None, strings), *(comment.text for comment in comments(document)))
    return "\n".join(dict.fromkeys(words))
