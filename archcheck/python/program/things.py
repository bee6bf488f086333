"""Things: the objects that a script handles, as far as its text tells."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from archcheck.python.names.unknown import UNKNOWN

if TYPE_CHECKING:
    from archcheck.python import ClassDefinition, Function, Statement

ThingKind: TypeAlias = Literal[
    "unknown", "module", "optimizer", "scheduler", "scaler", "loss", "loader", "dataset",
    "sampler", "parameters", "tensor", "number", "list", "tuple", "dict", "function", "bound",
    "partial", "class", "outside", "instance", "choice", "accelerator",
]  # fmt: skip

# What a name that nobody explains is likely to stand for.
_NAMES: Final = (
    ("scheduler", re.compile(r"sched|(^|_)lr_?(decay|policy)$", re.I)),
    ("scaler", re.compile(r"scaler$", re.I)),
    ("optimizer", re.compile(r"optim(i[sz]er)?s?\d*$|(^|_)opti?(_|\d|$)|^optim|solver$", re.I)),
    ("accelerator", re.compile(r"^(accelerator|fabric)$", re.I)),
    ("loader", re.compile(r"loader|dataiter|(^|_)dl$", re.I)),
    ("loss", re.compile(r"criterion|(^|_)loss(_?f(n|unc(tion)?))?$|objective", re.I)),
    ("module", re.compile(r"model|(^|_)net(\w|_[a-z])?$|network|generator|discriminator|critic|"
                          r"encoder|decoder|policy|classifier|backbone", re.I)),
)  # fmt: skip


class Thing:
    """One object of a script, or what several objects may be.

    Attributes:
        kind: What it certainly is; `unknown` where only its name may tell (see `role`).
        type: The class that it is made of: of the project, or a dotted name.
        name: What the script calls it first.
        node, statement: The expression that makes it, and where that stands.
        fields: Its attributes and elements so far, by name.
        items: The elements of a tuple or list; the alternatives of a choice.
        holder: What it is a part of: the model of a layer, the list of an element.
        modules: Of an optimizer or parameters, the models that they come from; of a tensor, those
            that computed it with a graph.
        graph: Of a tensor, whether its graph hangs on it.
        marks: What is known besides: `divided`, `pretrained`, `copied`, `loaded`; of a tensor that
            it is what a model returned (`answer`), of shape (B,) (`flat`) or (B, 1) (`column`).
        function, bound: Of a function or method, which one, and of whom.
        value: Of a number, text or None, what it is; UNKNOWN of anything else.
    """

    __slots__ = (
        "bound", "fields", "function", "graph", "holder", "items", "kind", "marks", "modules",
        "name", "node", "statement", "type", "value",
    )  # fmt: skip

    def __init__(
        self,
        kind: ThingKind,
        *,
        type: ClassDefinition | str | None = None,
        name: str = "",
        node: ast.AST | None = None,
        statement: Statement | None = None,
        items: tuple[Thing, ...] = (),
        holder: Thing | None = None,
        modules: frozenset[Thing] = frozenset(),
        graph: bool = False,
        marks: frozenset[str] = frozenset(),
        function: Function | None = None,
        bound: Thing | None = None,
        value: object = UNKNOWN,
    ) -> None:
        self.kind: ThingKind = kind
        self.type = type
        self.name = name
        self.node = node
        self.statement = statement
        self.fields: dict[str, Thing] = {}
        self.items = items
        self.holder = holder
        self.modules = modules
        self.graph = graph
        self.marks = marks
        self.function = function
        self.bound = bound
        self.value = value

    def __repr__(self) -> str:
        return f"Thing({self.kind} {self.name})"

    @property
    def role(self) -> str:
        """Its kind, or where that is unknown, the kind that its name speaks of."""
        if self.kind != "unknown":
            return self.kind
        name = self.name
        if name.isdigit() or not name:
            name = self.holder.name if self.holder is not None else ""
        return next((kind for kind, pattern in _NAMES if pattern.search(name)), "unknown")

    @property
    def dotted(self) -> str:
        """The dotted name of its class outside the project, "" where it has none."""
        return self.type if isinstance(self.type, str) else ""

    def alternatives(self) -> Iterator[Thing]:
        """What it may be: itself, or the alternatives of a choice."""
        if self.kind == "choice":
            for item in self.items:
                yield from item.alternatives()
        else:
            yield self

    def roots(self) -> Iterator[Thing]:
        """Itself and what it is a part of, nearest first."""
        thing: Thing | None = self
        while thing is not None:
            yield thing
            thing = thing.holder

    def reaches(self, other: Thing, depth: int = 3) -> bool:
        """Whether another thing can be got at from this one: it is held, or may be it."""
        if self is other:
            return True
        if depth == 0:
            return False
        inside = (*self.items, *self.fields.values(), *self.modules)
        if self.bound is not None:
            inside = (*inside, self.bound)
        return any(thing.reaches(other, depth - 1) for thing in inside)


def choice(*things: Thing) -> Thing:
    """Return what may be any of these."""
    found = tuple(dict.fromkeys(one for thing in things for one in thing.alternatives()))
    if len(found) == 1:
        return found[0]
    return Thing(
        "choice",
        name=found[0].name,
        items=found[:8],
        modules=frozenset().union(*(one.modules for one in found)),
        graph=any(one.graph for one in found),
        marks=frozenset.intersection(*(one.marks for one in found)),
    )


def related(first: Thing, second: Thing) -> bool:
    """Return whether two models may share parameters: one is, holds or wraps the other."""
    ours, theirs = set(first.roots()), set(second.roots())
    if not ours.isdisjoint(theirs):
        return True
    return first.reaches(second) or second.reaches(first)
