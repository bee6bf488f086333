"""Places in a scope: suites, statements, bindings, references."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from archcheck.python.names.scope import Scope

SuiteKind: TypeAlias = Literal[
    "body", "if", "else", "loop", "try", "handler", "finally", "with", "match", "expression"
]
BindingKind: TypeAlias = Literal[
    "assign", "augmented", "annotation", "import", "star", "function", "class", "parameter",
    "for", "with", "except", "walrus", "global", "delete", "match",
]  # fmt: skip
ReferenceKind: TypeAlias = Literal["load", "store", "delete", "call"]
FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
LoopNode: TypeAlias = (
    ast.For | ast.AsyncFor | ast.While | ast.ListComp | ast.SetComp | ast.DictComp
    | ast.GeneratorExp
)  # fmt: skip

# Statements in these blocks run whenever what stands around them runs.
_TRANSPARENT = frozenset({"try", "finally", "with"})


class Suite:
    """A suite of statements, or a part of an expression that runs under a condition.

    Attributes:
        kind: What makes it run; `body` is the scope's own.
        owner: The node that it belongs to (an `if`, a loop, a comprehension…).
        conditional: Whether it may not run although its scope does; loop bodies are.
        loop: The innermost loop or comprehension around it within the scope.
        solid: The nearest suite outside `try`, `with` and `finally`: two statements with the
            same `solid` run together.
    """

    __slots__ = ("conditional", "kind", "loop", "owner", "parent", "solid")

    def __init__(self, parent: Suite | None, kind: SuiteKind, owner: ast.AST) -> None:
        self.parent = parent
        self.kind = kind
        self.owner = owner
        self.loop: LoopNode | None = None
        self.solid: Suite = self
        self.conditional = False
        if parent is not None:
            self.loop = parent.loop
            if kind in _TRANSPARENT:
                self.solid = parent.solid
                self.conditional = parent.conditional
            else:
                self.conditional = True
            if kind == "loop":
                self.loop = owner  # type: ignore[assignment]

    def outward(self) -> Iterator[Suite]:
        """Itself and the suites around it in its scope, innermost first."""
        suite: Suite | None = self
        while suite is not None:
            yield suite
            suite = suite.parent

    def is_within(self, other: Suite) -> bool:
        """Whether this is the other suite or lies in it."""
        suite: Suite | None = self
        while suite is not None:
            if suite is other:
                return True
            suite = suite.parent
        return False


class Statement:
    """A statement in its scope. `index` counts the statements of the scope in source order."""

    __slots__ = ("index", "node", "scope", "suite")

    def __init__(self, node: ast.AST, suite: Suite, scope: Scope, index: int) -> None:
        self.node = node
        self.suite = suite
        self.scope = scope
        self.index = index

    def is_in(self, loop: ast.AST) -> bool:
        """Whether it stands in the body of a loop of its scope."""
        return any(suite.owner is loop and suite.kind == "loop" for suite in self.suite.outward())


class Binding:
    """A name bound in a scope.

    Attributes:
        node: The node that binds it (the target name, the `def`, the import's alias…).
        value: What is assigned, where it is one expression; for `for` and `with`, the iterable
            or the context manager.
        path: The positions to take out of `value` when a tuple is unpacked.
        dotted, level: Of an import: the absolute dotted name, or the relative one and its dots.
        within: The comprehension or lambda that the name lives in.
    """

    path: tuple[int, ...] = ()
    within: ast.AST | None = None
    dotted: str = ""
    level: int = 0
    # What has been looked up: what the name and the names behind it mean, the layers that it may
    # be, the class that it is an instance of.
    meanings: dict[tuple[str, ...], Any] | None = None
    layers: Any = None
    instance: Any = None

    def __init__(
        self,
        name: str,
        kind: BindingKind,
        node: ast.AST,
        statement: Statement,
        value: ast.expr | None = None,
    ) -> None:
        self.name = name
        self.kind: BindingKind = kind
        self.node = node
        self.statement = statement
        self.value = value


class Reference:
    """A dotted expression such as `self.conv1.weight`, taken as a whole.

    Attributes:
        parts: The names: `("self", "conv1", "weight")`; the first is "" where the root is
            another expression, as in `super().x` or `self.layers[0].x`.
        node: The outermost attribute.
        kind: How the last name is used.
    """

    __slots__ = ("kind", "node", "parts", "statement")
    node: ast.expr

    def __init__(
        self, parts: tuple[str, ...], node: ast.expr, statement: Statement, kind: ReferenceKind
    ) -> None:
        self.parts = parts
        self.node = node
        self.statement = statement
        self.kind: ReferenceKind = kind

    @property
    def scope(self) -> Scope:
        return self.statement.scope

    @property
    def conditional(self) -> bool:
        """Whether it may be skipped although its scope runs (loops included)."""
        return self.statement.suite.conditional

    @property
    def loop(self) -> LoopNode | None:
        """The innermost loop or comprehension around it, within its scope."""
        return self.statement.suite.loop


Site: TypeAlias = tuple[ast.AST, Statement]
