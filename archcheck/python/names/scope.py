"""Scopes: a module's, a class's or a function's names, calls and statements."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from archcheck.python.names.resolve import dotted_of, reaching, resolve_parts
from archcheck.python.names.scan import Scanner
from archcheck.python.names.signature import Signature
from archcheck.python.names.sites import (
    Binding,
    FunctionNode,
    Reference,
    ReferenceKind,
    Site,
    Statement,
)
from archcheck.python.names.unknown import UNKNOWN, Unknown
from archcheck.python.syntax.walks import Parents, parents_in

if TYPE_CHECKING:
    from archcheck.python.file import SourceFile
    from archcheck.python.modules.classes import ClassDefinition
    from archcheck.python.modules.module_class import ModuleClass
    from archcheck.python.names.resolve import Resolved

_UNSET: Final = object()
_SCANNED: Final = frozenset({
    "statements", "bindings", "references", "calls", "sites", "functions", "classes", "children",
})  # fmt: skip


class Call(Reference):
    """A call, and what is called.

    `parts` are the names of the callee: `("self", "conv1")` for `self.conv1(x)`, `("", "forward")`
    for `self.layers[0].forward(x)`.
    """

    __slots__ = ("_target",)
    node: ast.Call

    def __init__(
        self, parts: tuple[str, ...], node: ast.Call, statement: Statement, kind: ReferenceKind
    ) -> None:
        self.parts = parts
        self.node = node
        self.statement = statement
        self.kind = kind
        self._target: object = _UNSET

    @property
    def name(self) -> str:
        """The last name of the callee: `relu` of `F.relu(x)`; "" where it has none."""
        return self.parts[-1]

    @property
    def receiver(self) -> ast.expr | None:
        """What the method is called on: `model` of `model.eval()`."""
        function = self.node.func
        return function.value if isinstance(function, ast.Attribute) else None

    @property
    def target(self) -> Resolved:
        """What is called: a dotted name outside the project, a class, a function, or unknown."""
        if self._target is _UNSET:
            self._target = resolve_parts(self.parts, self.statement)
        return self._target  # type: ignore[return-value]

    @property
    def dotted(self) -> str | None:
        """The callee's name outside the project, such as `torch.nn.functional.softmax`."""
        target = self.target
        return target if isinstance(target, str) else None

    @property
    def module_class(self) -> ModuleClass | None:
        """The project's own module class that this call constructs."""
        return getattr(self.target, "module", None)

    def argument(self, name: str, position: int | None = None) -> ast.expr | None:
        """The argument given by this name or at this position (from 0), None if it is not given.

        None, too, behind a `*` or `**` that may hold it: ask `has_star` where absence matters.
        """
        return argument_of(self.node, name, position)

    @property
    def has_star(self) -> bool:
        """Whether `*args` or `**kwargs` may carry arguments that cannot be seen."""
        return has_star(self.node)


def argument_of(node: ast.Call, name: str, position: int | None = None) -> ast.expr | None:
    """See `Call.argument`."""
    for keyword in node.keywords:
        if keyword.arg == name:
            return keyword.value
    if position is not None and position < len(node.args):
        before = node.args[: position + 1]
        if not any(isinstance(item, ast.Starred) for item in before):
            return before[-1]
    return None


def has_star(node: ast.Call) -> bool:
    """See `Call.has_star`."""
    return any(isinstance(item, ast.Starred) for item in node.args) or any(
        keyword.arg is None for keyword in node.keywords
    )


class Scope:
    """A module, class or function with what one walk over its own statements found.

    Attributes:
        node: The tree, `class` or `def`.
        file: The file that it stands in.
        parent: The scope around it; None for the module.
        statement: Its `class` or `def` statement in the parent.
        statements: Its statements in source order, nested suites included.
        bindings: Every name that it binds, each time.
        references: Dotted names, calls included; bare names are not among them.
        calls: Every call.
        functions, classes: Those defined directly in it.
        children: Both, by their nodes, in source order.
    """

    kind = "module"
    statements: list[Statement]
    bindings: dict[str, list[Binding]]
    references: list[Reference]
    calls: list[Call]
    sites: dict[type[ast.AST], list[Site]]
    functions: tuple[Function, ...]
    classes: tuple[ClassDefinition, ...]
    children: dict[ast.AST, Scope]

    def __init__(
        self,
        node: ast.Module | ast.ClassDef | FunctionNode,
        file: SourceFile,
        parent: Scope | None = None,
        statement: Statement | None = None,
    ) -> None:
        self.node = node
        self.file = file
        self.parent = parent
        self.statement = statement
        self.name: str = getattr(node, "name", "")
        # Names whose one definition is what they mean wherever they stand in the scope.
        self.settled: dict[str, Binding | None] = {}

    def __getattr__(self, name: str) -> Any:
        # Only asked for what is not there yet: a scope is walked when something in it is needed,
        # so that files reached by an import cost no more than the definitions that are used.
        if name not in _SCANNED:
            raise AttributeError(name)
        self._scan()
        return self.__dict__[name]

    def _scan(self) -> None:
        from archcheck.python.modules.classes import ClassDefinition

        scanner = Scanner(self, Call)
        scanner.run(self.node.body)
        self.statements = scanner.statements
        self.bindings = scanner.bindings
        self.references = scanner.references
        self.calls = scanner.calls  # type: ignore[assignment]
        self.sites = scanner.sites
        children: dict[ast.AST, Scope] = {}
        for node, at in scanner.definitions:
            if isinstance(node, ast.ClassDef):
                children[node] = ClassDefinition(node, self.file, self, at)
            else:
                children[node] = Function(node, self.file, self, at)
        self.children = children
        self.functions = tuple(f for f in children.values() if isinstance(f, Function))
        self.classes = tuple(c for c in children.values() if isinstance(c, ClassDefinition))

    @cached_property
    def qualified_name(self) -> str:
        """`Net.forward`, `build.Net.forward`; "" for the module."""
        before = self.parent.qualified_name if self.parent is not None else ""
        return f"{before}.{self.name}" if before else self.name

    @cached_property
    def starts(self) -> list[tuple[int, int]]:
        """Where each statement begins: line and offset."""
        return [(s.node.lineno, s.node.col_offset) for s in self.statements]  # type: ignore[attr-defined]

    def nodes(self, *kinds: type[ast.AST]) -> Iterator[Site]:
        """The statements and expressions of these kinds, each with its statement.

        Recorded are all statements but bare expressions and assignments (see `statements`), and
        of the expressions subscripts, operators, comparisons, conditional expressions,
        comprehensions, lambdas, list and dict displays, `yield` and `await`.
        """
        for kind in kinds:
            yield from self.sites.get(kind, ())

    def walk(self) -> Iterator[Scope]:
        """This scope and all scopes in it, outermost first, in source order."""
        yield self
        for child in self.children.values():
            yield from child.walk()

    @property
    def line(self) -> int:
        return getattr(self.node, "lineno", 0)

    @cached_property
    def docstring(self) -> str | None:
        """Its docstring, cleaned of its indentation."""
        return ast.get_docstring(self.node)

    @property
    def function(self) -> Function | None:
        """The innermost function that this scope is or lies in."""
        return self.parent.function if self.parent is not None else None

    def dotted(self, expression: ast.expr, at: Statement | None = None) -> str | None:
        """See `SourceFile.dotted`; `at` is the statement that the expression stands in."""
        return dotted_of(expression, at or self.file.statement_at(expression))

    def reaching(self, name: str, at: Statement) -> tuple[Binding, ...]:
        """The bindings of a name that may be in force at a statement of this scope."""
        return reaching(name, at)


class Function(Scope):
    """A function or method.

    `owner` is the class whose body it stands in, None for a plain function.
    """

    kind = "function"
    node: FunctionNode

    @property
    def function(self) -> Function | None:
        return self

    @property
    def owner(self) -> ClassDefinition | None:
        from archcheck.python.modules.classes import ClassDefinition

        return self.parent if isinstance(self.parent, ClassDefinition) else None

    @cached_property
    def signature(self) -> Signature:
        """All its parameters, `self` included."""
        return Signature.of(self.node.args)

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """The names of all its parameters, in order, `self` included."""
        found = self.node.args
        star = (found.vararg,) if found.vararg is not None else ()
        stars = (found.kwarg,) if found.kwarg is not None else ()
        arguments = (*found.posonlyargs, *found.args, *star, *found.kwonlyargs, *stars)
        return tuple(argument.arg for argument in arguments)

    @cached_property
    def decorators(self) -> tuple[str | Unknown, ...]:
        """The dotted names of its decorators; of `@x.setter` and the like, as written."""
        if not self.node.decorator_list or self.statement is None:
            return ()
        names: list[str | Unknown] = []
        for decorator in self.node.decorator_list:
            expression = decorator.func if isinstance(decorator, ast.Call) else decorator
            dotted = dotted_of(expression, self.statement)
            if dotted is None and isinstance(expression, ast.Attribute):
                dotted = ast.unparse(expression)
            names.append(UNKNOWN if dotted is None else dotted)
        return tuple(names)

    @property
    def is_static(self) -> bool:
        return "staticmethod" in self.decorators or self.name == "__new__"

    @property
    def is_classmethod(self) -> bool:
        return "classmethod" in self.decorators or self.name in (
            "__init_subclass__",
            "__class_getitem__",
        )

    @property
    def is_property(self) -> bool:
        """A property, a cached property, or a setter of one."""
        return any(
            isinstance(name, str)
            and name.rpartition(".")[2]
            in ("property", "cached_property", "setter", "getter", "deleter", "lazy_property")
            for name in self.decorators
        )

    @property
    def is_overload(self) -> bool:
        return any(
            isinstance(name, str) and name.rpartition(".")[2] == "overload"
            for name in self.decorators
        )

    @property
    def is_abstract(self) -> bool:
        """Declared abstract, or a body that does nothing but raise, or nothing at all."""
        if any(isinstance(n, str) and "abstract" in n for n in self.decorators):
            return True
        body = [
            node
            for node in self.node.body
            if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        ]
        return all(isinstance(node, ast.Pass | ast.Raise) for node in body)

    @cached_property
    def self_name(self) -> str | None:
        """The name of a method's instance parameter; None where it has none.

        That is `self`, or what `__init__` calls it. Another first parameter is a mistake, or a
        function that happens to stand in a class: nothing is read from it.
        """
        owner = self.owner
        if owner is None or self.is_static or self.is_classmethod or not self.parameters:
            return None
        first = self.parameters[0]
        arguments = self.node.args
        if not (arguments.posonlyargs or arguments.args):
            return None
        initializer = owner.methods.get("__init__")
        if first == "self" or self.name == "__init__":
            return first
        return first if initializer is not None and initializer.parameters[:1] == (first,) else None

    @cached_property
    def is_generator(self) -> bool:
        return bool(self.sites.get(ast.Yield) or self.sites.get(ast.YieldFrom))

    @property
    def returns(self) -> tuple[ast.Return, ...]:
        """Its `return` statements, in source order."""
        return tuple(node for node, _ in self.sites.get(ast.Return, ()))  # type: ignore[misc]

    @cached_property
    def can_fall_off_end(self) -> bool:
        """Whether control can reach the end of the body, as far as the statements tell."""
        from archcheck.python.names.control import falls_through

        return falls_through(self.node.body)

    @property
    def always_raises(self) -> bool:
        """It neither returns nor reaches its end."""
        return not self.can_fall_off_end and not self.returns and not self.is_generator

    @cached_property
    def parents(self) -> Parents:
        """The node around each node of the function, nested functions included."""
        return parents_in(self.node)

    @cached_property
    def name_reads(self) -> dict[str, list[ast.Name]]:
        """Every read of a bare name in the body, nested functions included, by name, in source
        order."""
        reads: dict[str, list[ast.Name]] = {}
        stack: list[Any] = self.node.body[::-1]
        while stack:
            node = stack.pop()
            if node.__class__ is ast.Name:
                if node.ctx.__class__ is ast.Load:
                    reads.setdefault(node.id, []).append(node)
            elif isinstance(node, ast.AST) and node.__class__ is not ast.Constant:
                for field in reversed(node._fields):
                    child = getattr(node, field, None)
                    if child.__class__ is list:
                        stack += reversed(child)
                    elif child is not None:
                        stack.append(child)
        return reads
