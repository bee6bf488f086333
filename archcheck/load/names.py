"""Which names of its module a statement binds, changes and reads: now, or once it is called."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
ChangeKind: TypeAlias = Literal["assign", "call", "decorator"]

# Methods that change what they are called on, by how their names begin. What trains, saves or
# moves a model (`fit`, `load_state_dict`, `cuda`) changes nothing that a check looks at.
_CHANGING = (
    *("add", "append", "build", "clear", "configure", "define", "del", "discard", "extend"),
    *("freeze", "half", "double", "bfloat16", "insert", "merge", "pop", "read", "register"),
    *("remove", "replace", "reverse", "set", "sort", "update"),
)


@dataclass(slots=True)
class Body:
    """What the code of a function does with the names of its module when it is called.

    Attributes:
        reads: Module names that it reads.
        attributes: Every attribute that it mentions, and every string that could name one.
        binds: Module names that it assigns, declared `global`.
        changes: Module names whose objects it changes in place.
        parameters: Its parameters' names, in order.
        changed_parameters: Those whose objects it changes in place.
    """

    reads: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    binds: set[str] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)
    parameters: tuple[str, ...] = ()
    changed_parameters: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Call:
    """A function of the module, called by its name for what it does, or as a decorator."""

    function: str
    arguments: tuple[str | None, ...] = ()
    keywords: dict[str, str] = field(default_factory=dict)
    decorates: bool = False


@dataclass(slots=True)
class Uses:
    """What a statement of a module does with the module's names.

    Attributes:
        binds: Names that it binds.
        changes: Names whose objects it changes in place, and how.
        reads: Names that it reads when it runs.
        attributes: What it mentions when it runs, as in `Body`.
        functions: What runs only when called: the bodies by function name, under "" those of
            lambdas; a class's methods by theirs.
        is_class: The functions are the methods of a class.
        calls: Functions of the module that it calls.
        aliases: Names that it binds to parts of other names' objects.
    """

    binds: set[str] = field(default_factory=set)
    changes: dict[str, ChangeKind] = field(default_factory=dict)
    reads: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    functions: dict[str, list[Body]] = field(default_factory=dict)
    is_class: bool = False
    calls: list[Call] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    star: bool = False


def uses(nodes: Iterable[ast.AST], *, lazy_annotations: bool = False) -> Uses:
    """What these statements, or parts of a statement, do with the names of their module."""
    reader = _ModuleReader(lazy_annotations)
    for node in nodes:
        reader.visit(node)
    return reader.uses


def root_name(node: ast.expr) -> str | None:
    """The name at the root of `a.b[0].c()`."""
    while True:
        match node:
            case ast.Name(id=name):
                return name
            case ast.Attribute(value=node) | ast.Subscript(value=node) | ast.Call(func=node):
                continue
            case ast.Starred(value=node):
                continue
            case _:
                return None


def dotted_name(node: ast.expr) -> str | None:
    """`a.b.c`, where an expression is nothing but that."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([node.id, *reversed(parts)])


def changes_its_object(method: str) -> bool:
    return method.startswith(_CHANGING)


def bound_names(target: ast.AST) -> Iterator[str]:
    """The names that an assignment's target binds."""
    for node in ast.walk(target):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


class _Reader(ast.NodeVisitor):
    """What reading a module's statements and reading a function's body have in common."""

    def __init__(self, lazy_annotations: bool) -> None:
        self.lazy_annotations = lazy_annotations
        self.hidden: frozenset[str] = frozenset()

    def read(self, name: str) -> None:
        raise NotImplementedError

    def bind(self, name: str) -> None:
        raise NotImplementedError

    def change(self, name: str, kind: ChangeKind) -> None:
        raise NotImplementedError

    def mention(self, name: str) -> None:
        raise NotImplementedError

    def visit_function(self, node: FunctionNode, name: str) -> None:
        raise NotImplementedError

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            if node.id not in self.hidden:
                self.read(node.id)
        elif isinstance(node.ctx, ast.Store):
            self.bind(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.mention(node.attr)
        self.visit(node.value)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and node.value.isidentifier():
            self.mention(node.value)

    def _visit_targets(self, targets: Iterable[ast.expr]) -> None:
        for target in targets:
            if isinstance(target, ast.Attribute | ast.Subscript):
                name = root_name(target)
                if name is not None and name not in self.hidden:
                    self.change(name, "assign")
            elif isinstance(target, ast.Tuple | ast.List):
                self._visit_targets(target.elts)
            elif isinstance(target, ast.Starred):
                self._visit_targets([target.value])
            self.visit(target)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        self._visit_targets(node.targets)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.visit(node.value)
        if isinstance(node.target, ast.Name):
            self.read(node.target.id)
            if node.target.id not in self.hidden:
                self.change(node.target.id, "assign")
        self._visit_targets([node.target])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)
            self._visit_targets([node.target])

    def visit_Delete(self, node: ast.Delete) -> None:
        self._visit_targets(t for t in node.targets if not isinstance(t, ast.Name))

    def visit_Expr(self, node: ast.Expr) -> None:
        call = node.value
        if isinstance(call, ast.Call):
            match call.func:
                case ast.Attribute(attr=method, value=owner) if changes_its_object(method):
                    name = root_name(owner)
                    if name is not None and name not in self.hidden:
                        self.change(name, "call")
                case ast.Name(id="setattr") if call.args:
                    name = root_name(call.args[0])
                    if name is not None and name not in self.hidden:
                        self.change(name, "assign")
                case _:
                    pass
        self.visit(call)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.bind(alias.asname or alias.name.partition(".")[0])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name != "*":
                self.bind(alias.asname or alias.name)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.bind(node.name)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        if node.name:
            self.bind(node.name)
        self.generic_visit(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        if node.name:
            self.bind(node.name)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        if node.rest:
            self.bind(node.rest)
        self.generic_visit(node)

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._visit_comprehension(node, [node.elt])

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._visit_comprehension(node, [node.elt])

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._visit_comprehension(node, [node.elt])

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._visit_comprehension(node, [node.key, node.value])

    def _visit_comprehension(
        self,
        node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp,
        results: list[ast.expr],
    ) -> None:
        self.visit(node.generators[0].iter)
        outside = self.hidden
        self.hidden = outside | {
            name for generator in node.generators for name in bound_names(generator.target)
        }
        for place, generator in enumerate(node.generators):
            if place:
                self.visit(generator.iter)
            for condition in generator.ifs:
                self.visit(condition)
        for result in results:
            self.visit(result)
        self.hidden = outside

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_definition(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_definition(node)

    def _visit_definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.bind(node.name)
        for decorator in node.decorator_list:
            self.visit(decorator)
        self._visit_signature(node.args, node.returns)
        self.visit_function(node, node.name)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._visit_signature(node.args, None)
        self.visit_function(node, "")

    def _visit_signature(self, arguments: ast.arguments, returns: ast.expr | None) -> None:
        for default in (*arguments.defaults, *arguments.kw_defaults):
            if default is not None:
                self.visit(default)
        if not self.lazy_annotations:
            for argument in _all_arguments(arguments):
                if argument.annotation is not None:
                    self.visit(argument.annotation)
            if returns is not None:
                self.visit(returns)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.bind(node.name)
        for expression in (
            *node.decorator_list,
            *node.bases,
            *(keyword.value for keyword in node.keywords),
        ):
            self.visit(expression)
        self.visit_class_body(node)

    def visit_class_body(self, node: ast.ClassDef) -> None:
        raise NotImplementedError


class _ModuleReader(_Reader):
    """Reads statements of a module; functions go into bodies of their own."""

    def __init__(self, lazy_annotations: bool) -> None:
        super().__init__(lazy_annotations)
        self.uses = Uses()
        self._in_class = False

    def read(self, name: str) -> None:
        self.uses.reads.add(name)

    def bind(self, name: str) -> None:
        if not self._in_class:
            self.uses.binds.add(name)

    def change(self, name: str, kind: ChangeKind) -> None:
        self.uses.changes.setdefault(name, kind)

    def mention(self, name: str) -> None:
        self.uses.attributes.add(name)

    def visit_function(self, node: FunctionNode, name: str) -> None:
        body = body_of(node, self.hidden, self.lazy_annotations)
        self.uses.functions.setdefault(name, []).append(body)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        super().visit_AnnAssign(node)
        if not self.lazy_annotations:
            self.visit(node.annotation)

    def visit_Assign(self, node: ast.Assign) -> None:
        super().visit_Assign(node)
        match node.targets, node.value:
            case [ast.Name(id=name)], ast.Call(func=ast.Attribute(attr=method, value=owner)):
                root = root_name(owner)
                if changes_its_object(method) and root is not None:
                    self.change(root, "call")
                    self.uses.aliases[name] = root
            case _:
                pass

    def visit_Expr(self, node: ast.Expr) -> None:
        super().visit_Expr(node)
        match node.value:
            case ast.Call(func=ast.Name(id=function), args=arguments, keywords=keywords):
                self.uses.calls.append(
                    Call(
                        function,
                        tuple(a.id if isinstance(a, ast.Name) else None for a in arguments),
                        {
                            k.arg: k.value.id
                            for k in keywords
                            if k.arg and isinstance(k.value, ast.Name)
                        },
                    )
                )
            case _:
                pass

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        super().visit_ImportFrom(node)
        if any(alias.name == "*" for alias in node.names):
            self.uses.star = True

    def _visit_definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        super()._visit_definition(node)
        self._note_decorators(node.decorator_list)

    def visit_class_body(self, node: ast.ClassDef) -> None:
        self._note_decorators(node.decorator_list)
        outside, self._in_class = self._in_class, True
        self.uses.is_class = True
        for statement in node.body:
            self.visit(statement)
        self._in_class = outside

    def _note_decorators(self, decorators: Iterable[ast.expr]) -> None:
        if self._in_class:
            return
        for decorator in decorators:
            root = root_name(decorator)
            if root is None:
                continue
            self.uses.calls.append(Call(root, decorates=True))
            function = decorator.func if isinstance(decorator, ast.Call) else decorator
            if isinstance(function, ast.Attribute):
                kind: ChangeKind = "call" if "regist" in function.attr else "decorator"
                self.change(root, kind)


class _BodyReader(_Reader):
    """Reads a function's body, with all functions and classes in it."""

    def __init__(self, body: Body, lazy_annotations: bool) -> None:
        super().__init__(lazy_annotations)
        self.body = body
        self._global: set[str] = set()

    def read(self, name: str) -> None:
        if name not in self.hidden:
            self.body.reads.add(name)

    def bind(self, name: str) -> None:
        if name in self._global:
            self.body.binds.add(name)

    def change(self, name: str, kind: ChangeKind) -> None:
        self.body.changes.add(name)

    def mention(self, name: str) -> None:
        self.body.attributes.add(name)

    def visit_function(self, node: FunctionNode, name: str) -> None:
        outside, outside_global = self.hidden, self._global
        local, declared = _locals(node)
        self.hidden = (outside | local) - declared
        self._global = declared
        statements = node.body if isinstance(node.body, list) else [node.body]
        for statement in statements:
            self.visit(statement)
        self.hidden, self._global = outside, outside_global

    def visit_class_body(self, node: ast.ClassDef) -> None:
        for statement in node.body:
            self.visit(statement)


def body_of(
    node: FunctionNode, hidden: frozenset[str] = frozenset(), lazy_annotations: bool = False
) -> Body:
    """What a function does with the names of its module when it is called."""
    parameters = tuple(argument.arg for argument in _all_arguments(node.args))
    body = Body(parameters=parameters)
    reader = _BodyReader(body, lazy_annotations)
    reader.hidden = hidden
    reader.visit_function(node, "")
    body.changed_parameters = _changed(node, set(parameters))
    return body


def _changed(node: FunctionNode, names: set[str]) -> set[str]:
    """Which of these names' objects the function changes in place."""
    found = Uses()
    statements = node.body if isinstance(node.body, list) else []
    for statement in statements:
        for part in ast.walk(statement):
            if isinstance(part, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Expr):
                found.changes.update(uses([part]).changes)
    return names & set(found.changes)


def _all_arguments(arguments: ast.arguments) -> list[ast.arg]:
    found = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    found += [extra for extra in (arguments.vararg, arguments.kwarg) if extra is not None]
    return found


def _locals(node: FunctionNode) -> tuple[set[str], set[str]]:
    """The names local to a function, and those that it declares global."""
    local = {argument.arg for argument in _all_arguments(node.args)}
    declared: set[str] = set()
    waiting: list[ast.AST] = list(node.body) if isinstance(node.body, list) else [node.body]
    while waiting:
        part = waiting.pop()
        match part:
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
            ):
                local.add(name)
                continue
            case ast.Lambda():
                continue
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                # Of what a comprehension binds, only `:=` reaches the function.
                local.update(
                    walrus.target.id
                    for walrus in ast.walk(part)
                    if isinstance(walrus, ast.NamedExpr)
                )
                continue
            case ast.Global(names=names):
                declared.update(names)
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                local.add(name)
            case ast.Import() | ast.ImportFrom():
                local.update(alias.asname or alias.name.partition(".")[0] for alias in part.names)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                local.add(name)
            case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                local.add(name)
            case _:
                pass
        waiting += ast.iter_child_nodes(part)
    return local - declared, declared
