"""Which names of its module a statement binds, changes and reads: now, or once it is called."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from archcheck.worker.slicing.name_sets import (
    Body,
    Call,
    ChangeKind,
    FunctionNode,
    Uses,
    all_arguments,
    bound_names,
    changes_its_object,
    local_names,
    root_name,
)


def uses(nodes: Iterable[ast.AST], *, lazy_annotations: bool = False) -> Uses:
    """What these statements, or parts of a statement, do with the names of their module."""
    reader = _ModuleReader(lazy_annotations)
    for node in nodes:
        reader.visit(node)
    return reader.uses


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
            for argument in all_arguments(arguments):
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
        local, declared = local_names(node)
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
    parameters = tuple(argument.arg for argument in all_arguments(node.args))
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
