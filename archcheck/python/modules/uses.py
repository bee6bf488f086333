"""What methods do with `self`: attributes set and used, bases asked, submodules kept."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from archcheck.core.finding import Location
from archcheck.python.names.sites import Reference, Statement

if TYPE_CHECKING:
    from archcheck.python.modules.classes import ClassDefinition
    from archcheck.python.modules.layer import Layer
    from archcheck.python.names.scope import Function

WriteKind: TypeAlias = Literal[
    "assign", "augmented", "unpack", "loop", "with", "delete", "annotation", "setattr",
    "add_module", "register_buffer", "register_parameter", "class", "method", "slots",
]  # fmt: skip


class AttributeWrite(NamedTuple):
    """One place where an attribute of `self` (or of the class) is set.

    Attributes:
        name: The attribute.
        kind: How it is set; `class` and `method` in the class body, `setattr` by `setattr` with
            a literal name.
        node: The target attribute, the setting call, or the statement in the class body.
        value: What is assigned; None where that is no single expression.
        statement: The statement it stands in.
        function: The method it stands in; None in the class body.
        owner: The class whose body it stands in.
    """

    name: str
    kind: WriteKind
    node: ast.AST
    value: ast.expr | None
    statement: Statement
    function: Function | None
    owner: ClassDefinition

    @property
    def conditional(self) -> bool:
        """Whether it may not run although its method does (branches and loops)."""
        return self.statement.suite.conditional

    @property
    def in_loop(self) -> bool:
        return self.statement.suite.loop is not None

    @property
    def location(self) -> Location:
        return self.owner.file.location(self.node)


class SelfUse(NamedTuple):
    """One use of `self` in a method: `self.conv1`, `self.conv1.weight`, `self.conv1(x)`.

    Attributes:
        name: The attribute of `self`.
        rest: What follows it: `("weight",)`.
        kind: `call` where `self.name` itself is called, `store`, `delete`, else `load`.
        reference: The expression; a `Call` where something in it is called.
        function: The method.
    """

    name: str
    rest: tuple[str, ...]
    kind: Literal["load", "store", "delete", "call"]
    reference: Reference
    function: Function

    @property
    def node(self) -> ast.expr:
        return self.reference.node

    @property
    def attribute(self) -> ast.Attribute:
        """The node of `self.name` alone."""
        node = self.reference.node
        if isinstance(node, ast.Call):
            node = node.func
        for _ in self.rest:
            assert isinstance(node, ast.Attribute)
            node = node.value
        assert isinstance(node, ast.Attribute)
        return node


class SuperCall(NamedTuple):
    """A use of the base class: `super().m(…)`, `super(Net, self).m(…)`, `nn.Module.m(self, …)`.

    Attributes:
        name: The method asked of the base, such as `__init__`; "" for a bare `super()`.
        called: Whether it is called; `super().__init__` alone is not.
        node: The whole expression.
        super_node: The `super(…)` call, None for an explicit base.
        statement: Where it stands.
    """

    name: str
    called: bool
    node: ast.expr
    super_node: ast.Call | None
    statement: Statement

    @property
    def arguments(self) -> tuple[ast.expr, ...]:
        """What is given to `super` itself."""
        return tuple(self.super_node.args) if self.super_node else ()


class Submodule(NamedTuple):
    """A module kept as an attribute.

    Attributes:
        attribute: Its name.
        layer: What is built; where a condition decides, see `alternatives`.
        write: Where it is set.
        alternatives: Everything that may be built there (`a() if c else b()`), `layer` first.
    """

    attribute: str
    layer: Layer
    write: AttributeWrite
    alternatives: tuple[Layer, ...] = ()

    @property
    def conditional(self) -> bool:
        return self.write.conditional

    @property
    def in_loop(self) -> bool:
        return self.write.in_loop

    @property
    def certain(self) -> bool:
        """Whether it is always this layer, as far as this assignment goes."""
        return len(self.alternatives) == 1 and not self.write.conditional
