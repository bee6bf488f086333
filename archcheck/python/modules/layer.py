"""Layer: a module as an expression builds it, with its arguments and what it holds."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from archcheck.core.finding import Location
from archcheck.python.names.fold import Arguments, fold
from archcheck.python.names.signature import BoundArguments, Signature, torch_signature
from archcheck.python.names.sites import Statement, Suite
from archcheck.python.names.unknown import UNKNOWN, Unknown

if TYPE_CHECKING:
    from archcheck.python.file import SourceFile
    from archcheck.python.modules.module_class import ModuleClass


class Layer:
    """A module as an expression builds it.

    Attributes:
        type: Its dotted name (`torch.nn.Linear`), or the project's own class. "" for what a
            container certainly has in this place, whatever it is (see `is_known`).
        node: The call that constructs it; of what is not known, the expression.
        statement: Where that call stands. In a helper function that is followed, the helper.
        children: Of a Sequential, ModuleList or ModuleDict, what it holds, in order; UNKNOWN
            where that cannot be told. Of any other layer, empty.
        name: Its name in the container that holds it: "0", "1", … or a key; "" elsewhere, and
            where it is not certain.
        repeated: It stands for several (or none), built in a loop or a comprehension.
        turn: The body of the loop that builds it: repeated layers of one body follow each other
            in each turn.
    """

    def __init__(
        self,
        type: str | ModuleClass,
        node: ast.expr,
        statement: Statement,
        given: Arguments | None = None,
        children: tuple[Layer, ...] | Unknown = (),
        name: str = "",
        repeated: bool = False,
        turn: Suite | None = None,
    ) -> None:
        self.type = type
        self.node = node
        self.statement = statement
        self.children = children
        self.name = name
        self.repeated = repeated
        self.turn = turn
        self.given = given

    def __repr__(self) -> str:
        return f"Layer({self.class_name})"

    def placed(self, name: str, repeated: bool = False, turn: Suite | None = None) -> Layer:
        """The same layer under a name in a container."""
        return Layer(
            self.type, self.node, self.statement, self.given, self.children, name,
            repeated or self.repeated, turn or self.turn,
        )  # fmt: skip

    def holding(self, children: tuple[Layer, ...] | Unknown) -> Layer:
        """The same container with these children."""
        return Layer(
            self.type, self.node, self.statement, self.given, children, self.name,
            self.repeated, self.turn,
        )  # fmt: skip

    @property
    def is_known(self) -> bool:
        """Whether its class is known."""
        return self.type != ""

    @property
    def is_sequential(self) -> bool:
        """Whether it is torch's own Sequential, no subclass."""
        return self.type == "torch.nn.Sequential"

    @property
    def file(self) -> SourceFile:
        return self.statement.scope.file

    @property
    def location(self) -> Location:
        """The constructing call."""
        return self.file.location(self.node)

    @property
    def class_name(self) -> str:
        """`Linear`, `Block`."""
        return self.type.rpartition(".")[2] if isinstance(self.type, str) else self.type.name

    def is_a(self, *names: str) -> bool:
        """Whether it is one of these classes of torch.nn, by their short names: `Conv2d`.

        A subclass in the project that brings no forward of its own counts.
        """
        if isinstance(self.type, str):
            return self.type.removeprefix("torch.nn.") in names
        if self.type.find_method("forward") is not None:
            return False
        return self.type.derives_from(*(f"torch.nn.{name}" for name in names))

    @property
    def is_torch(self) -> bool:
        return isinstance(self.type, str) and self.is_known

    @property
    def module_class(self) -> ModuleClass | None:
        """The project's own class; None for torch's."""
        return None if isinstance(self.type, str) else self.type

    @cached_property
    def signature(self) -> Signature | None:
        """What its constructor takes; None if that is not certain."""
        if isinstance(self.type, str):
            return torch_signature(self.type)
        return self.type.constructor

    @cached_property
    def bound(self) -> BoundArguments | None:
        """The constructing call, matched with the signature."""
        if self.signature is None or not isinstance(self.node, ast.Call):
            return None
        return self.signature.bind(self.node)

    def expression(self, name: str) -> ast.expr | None:
        """The expression given for a parameter, by the parameter's name (`in_features`)."""
        return self.bound.values.get(name) if self.bound is not None else None

    def argument(self, name: str, *, defaults: bool = False) -> Any | Unknown:
        """The folded value of a parameter: what is given, or the class's own default.

        UNKNOWN where it is not certain. With `defaults`, a name that stands for a parameter of
        the enclosing constructor counts as that parameter's default.
        """
        if self.bound is None or self.signature is None:
            return UNKNOWN
        given = self.bound.values.get(name)
        if given is not None:
            return fold(given, self.statement, self.given, defaults=defaults)
        parameter = self.signature.by_name.get(name)
        if not self.bound.complete or parameter is None or parameter.default is None:
            return UNKNOWN
        if isinstance(self.type, str):
            default = parameter.default
            return default.value if isinstance(default, ast.Constant) else _literal(default)
        return fold(parameter.default, self.type.definition.statement or self.statement)

    def walk(self, depth: int = 6) -> Iterator[Layer]:
        """Itself, what its containers hold, and the submodules of the project's classes; those
        that are not known left out."""
        if not self.is_known:
            return
        yield self
        if depth <= 0:
            return
        for child in () if self.children is UNKNOWN else self.children:
            yield from child.walk(depth - 1)
        if not isinstance(self.type, str):
            for definition in self.type.lineage:
                module = definition.module
                for submodule in module.submodules if module is not None else ():
                    for layer in submodule.alternatives:
                        yield from layer.walk(depth - 1)


def _literal(node: ast.expr) -> Any | Unknown:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return UNKNOWN
