"""One pass over the syntax tree of a scope: what it binds, calls, refers to, and where.

Everything that rules ask for is collected in this single walk, so that no rule walks the tree
again. Annotations are not walked: nothing is ever built or read there. The walk is written by
hand, by node class, because the generic `ast.walk` alone costs as much as parsing.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from archcheck.python.names.sites import (
    Binding,
    BindingKind,
    FunctionNode,
    Reference,
    ReferenceKind,
    Site,
    Statement,
    Suite,
    SuiteKind,
)

if TYPE_CHECKING:
    from archcheck.python.names.scope import Scope

# Expressions that rules look for, apart from calls and dotted names.
_RECORDED = frozenset({
    ast.Subscript, ast.BinOp, ast.IfExp, ast.BoolOp, ast.Compare, ast.Lambda, ast.UnaryOp,
    ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.List, ast.Dict,
    ast.Yield, ast.YieldFrom, ast.Await,
})  # fmt: skip
_TRIVIAL = frozenset({ast.Name, ast.Constant})
# The fields that hold expressions, last first: a stack turns them round again.
_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {
    kind: tuple(
        field
        for field in reversed(kind._fields)
        if field not in ("ctx", "op", "ops", "id", "attr", "kind", "conversion", "annotation")
    )
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.expr | ast.slice | ast.comprehension)
}


def names_in(expression: ast.AST) -> list[str]:
    """Every bare name read in an expression, in source order."""
    found: list[str] = []
    stack: list[Any] = [expression]
    while stack:
        node = stack.pop()
        kind = node.__class__
        if kind is ast.Name:
            found.append(node.id)
        elif kind is ast.Call:
            stack += [keyword.value for keyword in reversed(node.keywords)]
            stack += reversed(node.args)
            stack.append(node.func)
        elif kind in _FIELDS:
            for field in _FIELDS[kind]:
                child = getattr(node, field, None)
                if child.__class__ is list:
                    stack += [item for item in reversed(child) if item is not None]
                elif isinstance(child, ast.AST):
                    stack.append(child)
    return found


class Scanner:
    """Walks one scope. The lists that it fills are the scope's."""

    def __init__(self, scope: Scope, make_call: Callable[..., Reference]) -> None:
        self.scope = scope
        self.make_call = make_call
        self.statements: list[Statement] = []
        self.bindings: dict[str, list[Binding]] = {}
        self.references: list[Reference] = []
        self.calls: list[Reference] = []
        self.sites: dict[type[ast.AST], list[Site]] = {}
        self.definitions: list[tuple[FunctionNode | ast.ClassDef, Statement]] = []

    # Statements ---------------------------------------------------------------------------

    def run(self, body: list[ast.stmt]) -> None:
        node = self.scope.node
        suite = Suite(None, "body", node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            # Parameters are bound before the first statement.
            entry = Statement(node, suite, self.scope, -1)
            arguments = node.args
            for argument in (
                *arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs,
                arguments.vararg, arguments.kwarg,
            ):  # fmt: skip
                if argument is not None:
                    self.bind(argument.arg, "parameter", argument, entry)
        self.walk(body, suite)

    def walk(self, body: list[ast.stmt], suite: Suite) -> None:
        statements, scope, sites = self.statements, self.scope, self.sites
        node: Any
        for node in body:
            kind = node.__class__
            statement = Statement(node, suite, scope, len(statements))
            statements.append(statement)
            if kind is ast.Expr:
                if node.value.__class__ not in _TRIVIAL:
                    self.expression(node.value, statement)
                continue
            if kind is ast.Assign:
                value = node.value
                if value.__class__ not in _TRIVIAL:
                    self.expression(value, statement)
                for target in node.targets:
                    if target.__class__ is ast.Name:
                        self.bind(target.id, "assign", target, statement, value)
                    else:
                        self.target(target, "assign", value, (), statement)
                continue
            if kind in sites:
                sites[kind].append((node, statement))
            else:
                sites[kind] = [(node, statement)]
            handler = _STATEMENTS.get(kind)
            if handler is not None:
                handler(self, node, statement)

    def bind(
        self,
        name: str,
        kind: BindingKind,
        node: ast.AST,
        statement: Statement,
        value: ast.expr | None = None,
        path: tuple[int, ...] = (),
        within: ast.AST | None = None,
    ) -> Binding:
        binding = Binding(name, kind, node, statement, value)
        if path:
            binding.path = path
        if within is not None:
            binding.within = within
        known = self.bindings.get(name)
        if known is None:
            self.bindings[name] = [binding]
        else:
            known.append(binding)
        return binding

    def target(
        self,
        node: ast.expr,
        kind: BindingKind,
        value: ast.expr | None,
        path: tuple[int, ...],
        statement: Statement,
        within: ast.AST | None = None,
    ) -> None:
        """Bind what an assignment, a loop or a `with` binds."""
        if isinstance(node, ast.Name):
            self.bind(node.id, kind, node, statement, value, path, within)
        elif isinstance(node, ast.Tuple | ast.List):
            elements = node.elts
            matching = (
                not path
                and kind == "assign"
                and isinstance(value, ast.Tuple | ast.List)
                and len(value.elts) == len(elements)
                and not any(isinstance(item, ast.Starred) for item in (*value.elts, *elements))
            )
            for position, element in enumerate(elements):
                if matching:
                    self.target(element, kind, value.elts[position], (), statement, within)  # type: ignore[union-attr]
                else:
                    self.target(element, kind, value, (*path, position), statement, within)
        elif isinstance(node, ast.Starred):
            self.target(node.value, kind, None, path, statement, within)
        else:
            self.expression(node, statement)

    def _annotated(self, node: ast.AnnAssign, statement: Statement) -> None:
        if node.value is not None:
            self.expression(node.value, statement)
        kind: BindingKind = "annotation" if node.value is None else "assign"
        self.target(node.target, kind, node.value, (), statement)

    def _augmented(self, node: ast.AugAssign, statement: Statement) -> None:
        self.expression(node.value, statement)
        self.target(node.target, "augmented", node.value, (), statement)

    def _value(self, node: ast.Return, statement: Statement) -> None:
        if node.value is not None:
            self.expression(node.value, statement)

    def _raise(self, node: ast.Raise, statement: Statement) -> None:
        if node.exc is not None:
            self.expression(node.exc, statement)

    def _assert(self, node: ast.Assert, statement: Statement) -> None:
        self.expression(node.test, statement)

    def _delete(self, node: ast.Delete, statement: Statement) -> None:
        for target in node.targets:
            self.target(target, "delete", None, (), statement)

    def _if(self, node: ast.If, statement: Statement) -> None:
        self.expression(node.test, statement)
        self.walk(node.body, Suite(statement.suite, "if", node))
        if node.orelse:
            self.walk(node.orelse, Suite(statement.suite, "else", node))

    def _for(self, node: ast.For, statement: Statement) -> None:
        self.expression(node.iter, statement)
        self.target(node.target, "for", node.iter, (), statement)
        self.walk(node.body, Suite(statement.suite, "loop", node))
        if node.orelse:
            self.walk(node.orelse, Suite(statement.suite, "else", node))

    def _while(self, node: ast.While, statement: Statement) -> None:
        loop = Suite(statement.suite, "loop", node)
        self.expression(node.test, Statement(node, loop, self.scope, statement.index))
        self.walk(node.body, loop)
        if node.orelse:
            self.walk(node.orelse, Suite(statement.suite, "else", node))

    def _with(self, node: ast.With, statement: Statement) -> None:
        for item in node.items:
            self.expression(item.context_expr, statement)
            if item.optional_vars is not None:
                self.target(item.optional_vars, "with", item.context_expr, (), statement)
        self.walk(node.body, Suite(statement.suite, "with", node))

    def _try(self, node: ast.Try, statement: Statement) -> None:
        self.walk(node.body, Suite(statement.suite, "try", node))
        for handler in node.handlers:
            suite = Suite(statement.suite, "handler", handler)
            if handler.name:
                inside = Statement(handler, suite, self.scope, statement.index)
                self.bind(handler.name, "except", handler, inside)
            self.walk(handler.body, suite)
        if node.orelse:
            self.walk(node.orelse, Suite(statement.suite, "try", node))
        if node.finalbody:
            self.walk(node.finalbody, Suite(statement.suite, "finally", node))

    def _match(self, node: ast.Match, statement: Statement) -> None:
        self.expression(node.subject, statement)
        for case in node.cases:
            suite = Suite(statement.suite, "match", case)
            inside = Statement(node, suite, self.scope, statement.index)
            for pattern in ast.walk(case.pattern):
                name = getattr(pattern, "name", None) or getattr(pattern, "rest", None)
                if isinstance(name, str):
                    self.bind(name, "match", pattern, inside)
            if case.guard is not None:
                self.expression(case.guard, inside)
            self.walk(case.body, suite)

    def _import(self, node: ast.Import, statement: Statement) -> None:
        for alias in node.names:
            # `import a.b` binds `a`; `import a.b as c` binds `c` to `a.b`.
            name = alias.asname or alias.name.partition(".")[0]
            binding = self.bind(name, "import", alias, statement)
            binding.dotted = alias.name if alias.asname else name

    def _import_from(self, node: ast.ImportFrom, statement: Statement) -> None:
        module = node.module or ""
        for alias in node.names:
            star = alias.name == "*"
            kind: BindingKind = "star" if star else "import"
            binding = self.bind(alias.asname or alias.name, kind, alias, statement)
            dotted = module if star else f"{module}.{alias.name}" if module else alias.name
            binding.dotted = dotted
            binding.level = node.level

    def _global(self, node: ast.Global | ast.Nonlocal, statement: Statement) -> None:
        for name in node.names:
            self.bind(name, "global", node, statement)

    def _function(self, node: FunctionNode, statement: Statement) -> None:
        self.bind(node.name, "function", node, statement)
        self.definitions.append((node, statement))
        for decorator in node.decorator_list:
            self.expression(decorator, statement)
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None and default.__class__ is not ast.Constant:
                self.expression(default, statement)

    def _class(self, node: ast.ClassDef, statement: Statement) -> None:
        self.bind(node.name, "class", node, statement)
        self.definitions.append((node, statement))
        for expression in (*node.decorator_list, *node.bases):
            self.expression(expression, statement)
        for keyword in node.keywords:
            self.expression(keyword.value, statement)

    # Expressions --------------------------------------------------------------------------

    def expression(self, root: ast.expr, statement: Statement) -> None:
        """Record the calls, dotted names and other sites of an expression, in source order."""
        references, calls, sites = self.references, self.calls, self.sites
        make_call = self.make_call
        # `Any`, because the class is told apart by identity: twice as fast as isinstance.
        stack: list[Any] = [root]
        pop, push = stack.pop, stack.append
        while stack:
            node = pop()
            kind = node.__class__
            if kind in _TRIVIAL:
                continue
            if kind is ast.Call:
                if node.keywords:
                    for keyword in reversed(node.keywords):
                        child = keyword.value
                        if child.__class__ not in _TRIVIAL:
                            push(child)
                for child in reversed(node.args):
                    if child.__class__ not in _TRIVIAL:
                        push(child)
                inner = node.func
                if inner.__class__ is ast.Name:
                    parts: tuple[str, ...] = (inner.id,)
                elif inner.__class__ is ast.Attribute and inner.value.__class__ is ast.Name:
                    parts = (inner.value.id, inner.attr)
                else:
                    parts = self._parts(inner, push)
                call = make_call(parts, node, statement, "call")
                calls.append(call)
                references.append(call)
            elif kind is ast.Attribute:
                inner = node.value
                if inner.__class__ is ast.Name:
                    parts = (inner.id, node.attr)
                else:
                    parts = self._parts(node, push)
                context = node.ctx.__class__
                use: ReferenceKind = "load"
                if context is not ast.Load:
                    use = "store" if context is ast.Store else "delete"
                references.append(Reference(parts, node, statement, use))
            elif kind is ast.Tuple or kind is ast.Starred:
                stack += reversed(node.elts) if kind is ast.Tuple else (node.value,)
            elif kind is ast.NamedExpr:
                self.target(node.target, "walrus", node.value, (), statement)
                push(node.value)
            else:
                if kind in _RECORDED:
                    if kind in sites:
                        sites[kind].append((node, statement))
                    else:
                        sites[kind] = [(node, statement)]
                    special = _EXPRESSIONS.get(kind)
                    if special is not None:
                        special(self, node, statement)
                        continue
                for field in _FIELDS.get(kind, ()):
                    child = getattr(node, field, None)
                    if child.__class__ is list:
                        stack += [item for item in reversed(child) if item is not None]
                    elif child is not None and child.__class__ not in _TRIVIAL:
                        push(child)

    def _parts(self, node: Any, push: Callable[[Any], None]) -> tuple[str, ...]:
        """The names of a dotted expression; a root that is no name is walked later."""
        names: list[str] = []
        while node.__class__ is ast.Attribute:
            names.append(node.attr)
            node = node.value
        if node.__class__ is ast.Name:
            names.append(node.id)
        else:
            names.append("")
            push(node)
        names.reverse()
        return tuple(names)

    def _if_expression(self, node: ast.IfExp, statement: Statement) -> None:
        self.expression(node.test, statement)
        for branch in (node.body, node.orelse):
            self.inside(branch, node, "expression", statement)

    def _boolean(self, node: ast.BoolOp, statement: Statement) -> None:
        self.expression(node.values[0], statement)
        for value in node.values[1:]:
            self.inside(value, node, "expression", statement)

    def inside(self, node: ast.expr, owner: ast.AST, kind: SuiteKind, statement: Statement) -> None:
        if node.__class__ is not ast.Name and node.__class__ is not ast.Constant:
            suite = Suite(statement.suite, kind, owner)
            self.expression(node, Statement(statement.node, suite, self.scope, statement.index))

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp,
        statement: Statement,
    ) -> None:  # fmt: skip
        first = node.generators[0]
        self.expression(first.iter, statement)
        suite = Suite(statement.suite, "loop", node)
        inside = Statement(statement.node, suite, self.scope, statement.index)
        for generator in node.generators:
            self.target(generator.target, "for", generator.iter, (), inside, node)
            if generator is not first:
                self.expression(generator.iter, inside)
            for condition in generator.ifs:
                self.expression(condition, inside)
        if isinstance(node, ast.DictComp):
            self.expression(node.key, inside)
            self.expression(node.value, inside)
        else:
            self.expression(node.elt, inside)

    def _lambda(self, node: ast.Lambda, statement: Statement) -> None:
        suite = Suite(statement.suite, "expression", node)
        inside = Statement(statement.node, suite, self.scope, statement.index)
        arguments = node.args
        for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            self.bind(argument.arg, "parameter", argument, inside, within=node)
        for default in (*arguments.defaults, *arguments.kw_defaults):
            if default is not None:
                self.expression(default, statement)
        self.expression(node.body, inside)


_Handler: TypeAlias = Callable[[Scanner, Any, Statement], None]
_STATEMENTS: dict[type[ast.AST], _Handler] = {
    ast.AnnAssign: Scanner._annotated, ast.AugAssign: Scanner._augmented,
    ast.Return: Scanner._value, ast.Raise: Scanner._raise, ast.Assert: Scanner._assert,
    ast.Delete: Scanner._delete, ast.If: Scanner._if, ast.For: Scanner._for,
    ast.AsyncFor: Scanner._for, ast.While: Scanner._while, ast.With: Scanner._with,
    ast.AsyncWith: Scanner._with, ast.Try: Scanner._try, ast.TryStar: Scanner._try,
    ast.Match: Scanner._match, ast.Import: Scanner._import,
    ast.ImportFrom: Scanner._import_from, ast.Global: Scanner._global,
    ast.Nonlocal: Scanner._global, ast.FunctionDef: Scanner._function,
    ast.AsyncFunctionDef: Scanner._function, ast.ClassDef: Scanner._class,
}  # fmt: skip
_EXPRESSIONS: dict[type[ast.AST], _Handler] = {
    ast.IfExp: Scanner._if_expression, ast.BoolOp: Scanner._boolean,
    ast.Lambda: Scanner._lambda, ast.ListComp: Scanner._comprehension,
    ast.SetComp: Scanner._comprehension, ast.DictComp: Scanner._comprehension,
    ast.GeneratorExp: Scanner._comprehension,
}  # fmt: skip
