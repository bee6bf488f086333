"""SourceFile: one file, as source rules read it."""

from __future__ import annotations

import ast
import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from archcheck.python.modules import mentions
from archcheck.python.names.resolve import Resolved, dotted_of, resolve, resolve_parts
from archcheck.python.names.scope import Call, Function, Scope
from archcheck.python.names.sites import Binding, Reference, Site, Statement, Suite
from archcheck.python.names.unknown import UNKNOWN, Unknown
from archcheck.python.syntax.source_text import SourceText
from archcheck.python.syntax.tree import Parsed
from archcheck.python.text.document import Document

if TYPE_CHECKING:
    from archcheck.python.flow.chains import Chain
    from archcheck.python.flow.flow import Flow
    from archcheck.python.flow.script import Loop, LossCall
    from archcheck.python.modules.classes import ClassDefinition
    from archcheck.python.modules.layer import Layer
    from archcheck.python.modules.module_class import ModuleClass
    from archcheck.python.program.events import Run
    from archcheck.python.project import Project


class SourceFile(SourceText):
    """One file: its text, its tree, and what is known about the names, classes and calls in it.

    Attributes:
        document: The file as its author wrote it. All positions here are those of
            `document.code`.
        project: What it belongs to.
        place: Its absolute path.
        path: The path that findings carry.
        is_referred: Whether another file's classes or names depend on definitions in this one.
    """

    kind: Final = "file"

    def __init__(self, document: Document, project: Project, place: Path) -> None:
        self.is_referred = False
        self._exports: dict[str, Resolved] = {}
        super().__init__(document)
        self.project = project
        self.place = place

    @cached_property
    def parsed(self) -> Parsed:
        return self.project.parse(self._read)

    def forget(self) -> None:
        """Drop everything but the text; see `Project.release`. The scopes refer to each other in
        circles, which are cut here, so that the memory is free at once."""
        scope = self.__dict__.get("scope")
        kept = {"_read", "project", "place", "path", "is_referred", "_exports"}
        for name in [name for name in self.__dict__ if name not in kept]:
            del self.__dict__[name]
        self._exports.clear()
        waiting = [scope] if scope is not None else []
        while waiting:
            found = waiting.pop()
            waiting += found.__dict__.get("children", {}).values()
            flow = found.__dict__.get("_flow")
            for step in flow.steps if flow is not None else ():
                step.users.clear()
            found.__dict__.clear()

    # Names --------------------------------------------------------------------------------

    @cached_property
    def is_relevant(self) -> bool:
        """Whether the file can have to do with models at all: its text mentions torch, or it
        imports from a file of the project that does. Others have no classes and no calls."""
        return self._mentions_torch or any(file._mentions_torch for file in self.imported_files())

    @cached_property
    def _mentions_torch(self) -> bool:
        return "torch" in self.code or "lightning" in self.code

    def imported_files(self) -> Iterator[SourceFile]:
        """Yield the files of the project that the imports at the top of the file lead to."""
        for node in self.tree.body:
            if isinstance(node, ast.ImportFrom):
                names = [(node.module or "", node.level)]
                if not node.module:
                    names = [(alias.name, node.level) for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [(alias.name, 0) for alias in node.names]
            else:
                continue
            for name, level in names:
                found = self.project.find(name, self, level)
                if found is not None:
                    yield found[0]

    @cached_property
    def scope(self) -> Scope:
        """The module's scope; all others are in it."""
        return Scope(self.tree, self)

    @cached_property
    def scopes(self) -> tuple[Scope, ...]:
        """Every scope, outermost first, in source order; none in a file without models."""
        return tuple(self.scope.walk()) if self.is_relevant else ()

    @cached_property
    def functions(self) -> tuple[Function, ...]:
        """Every function and method."""
        return tuple(scope for scope in self.scopes if isinstance(scope, Function))

    @cached_property
    def classes(self) -> tuple[ClassDefinition, ...]:
        """Every class, nested ones too, in source order."""
        return tuple(scope for scope in self.scopes if scope.kind == "class")  # type: ignore[misc]

    @cached_property
    def modules(self) -> tuple[ModuleClass, ...]:
        """Every class that certainly is an nn.Module, in source order."""
        return tuple(found.module for found in self.classes if found.module is not None)

    @cached_property
    def imports(self) -> dict[str, str]:
        """The names that imports bind at module level, and what they mean."""
        found: dict[str, str] = {}
        for name, bindings in self.scope.bindings.items():
            for binding in bindings:
                if binding.kind == "import":
                    found[name] = "." * binding.level + binding.dotted
        return found

    @cached_property
    def star_imports(self) -> tuple[Binding, ...]:
        return tuple(b for b in self.scope.bindings.get("*", ()) if b.kind == "star")

    def exported(self, name: str, depth: int = 0) -> Resolved:
        """What a name means to those who import it from this file."""
        if name not in self._exports:
            # An import that leads back here while this one is looked up finds nothing.
            self._exports[name] = UNKNOWN
            found = self._export(name, depth)
            self._exports[name] = found
            if getattr(found, "file", None) is self:
                self.is_referred = True
        return self._exports[name]

    def may_define(self, name: str) -> bool:
        """Whether the text alone leaves it open that a name is defined here.

        A package may star-import hundreds of files: this settles most of them unparsed. What a
        file that is no package merely imports does not count.
        """
        if "import *" in self.code:
            return True
        if name not in self.code:
            return False
        pattern = rf"^[ \t]*(?:(?:class|def|async def) {name}\b|{name}\s*[:=])"
        return self.place.name == "__init__.py" or bool(re.search(pattern, self.code, re.M))

    def _export(self, name: str, depth: int) -> Resolved:
        scope = self.scope if name in self.code or "import *" in self.code else None
        if scope is not None and (name in scope.bindings or self.star_imports):
            end = Statement(self.tree, _last_suite(scope), scope, len(scope.statements))
            found = resolve_parts((name,), end, depth + 1)
            # Built-ins are not exported.
            if found is not UNKNOWN and found != name:
                return found
        if self.place.name == "__init__.py":
            place = self.project.find(name, self, 1)
            if place is not None and not place[1]:
                return place[0]
        return UNKNOWN

    def statement_at(self, node: ast.AST) -> Statement:
        """The innermost statement that a node of this file stands in."""
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        scope: Scope = self.scope
        while True:
            inner = next(
                (
                    child
                    for child in (*scope.functions, *scope.classes)
                    if child.node is not node and _in_body(child.node, line, column)
                ),
                None,
            )
            if inner is None:
                break
            scope = inner
        if not scope.statements:
            return Statement(scope.node, _last_suite(scope), scope, 0)
        return scope.statements[max(0, bisect_right(scope.starts, (line, column)) - 1)]

    def resolve(self, expression: ast.expr, at: Statement | None = None) -> Resolved:
        """What a name or dotted expression means: a dotted name outside the project, a class or
        function of the project, or unknown."""
        return resolve(expression, at or self.statement_at(expression))

    def dotted(self, expression: ast.expr, at: Statement | None = None) -> str | None:
        """The canonical dotted name outside the project that a name or attribute means, such as
        `torch.nn.functional.softmax`; None if it means none, or something else.

        `at` is the statement that the expression stands in, where the caller has it.
        """
        return dotted_of(expression, at or self.statement_at(expression))

    def value(
        self, expression: ast.expr, at: Statement | None = None, *, defaults: bool = False
    ) -> Any | Unknown:
        """The constant that an expression has, folded; UNKNOWN if it is not certain.

        Args:
            defaults: Take a parameter for its default. That is what happens when the caller
                gives none, not a certainty.
        """
        from archcheck.python.names.fold import fold

        return fold(expression, at or self.statement_at(expression), defaults=defaults)

    # Calls and other sites ----------------------------------------------------------------

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        """Every call in the file, scope by scope."""
        return tuple(call for scope in self.scopes for call in scope.calls)

    @cached_property
    def _calls_by_name(self) -> dict[str, list[Call]]:
        found: dict[str, list[Call]] = {}
        for call in self.calls:
            found.setdefault(call.parts[-1], []).append(call)
        return found

    def calls_named(self, *names: str) -> tuple[Call, ...]:
        """The calls whose callee's last name is one of these: `F.relu(x)`, `x.relu()`."""
        return tuple(call for name in names for call in self._calls_by_name.get(name, ()))

    def calls_to(self, *dotted: str) -> tuple[Call, ...]:
        """The calls of functions or classes outside the project, by canonical dotted names."""
        return tuple(call for name in dotted for call in self._calls_by_target.get(name, ()))

    def calls_of(self, definition: ClassDefinition | Function) -> tuple[Call, ...]:
        """The calls in this file of a class or function of the project."""
        return tuple(self._calls_by_target.get(definition, ()))

    @cached_property
    def _calls_by_target(self) -> dict[object, list[Call]]:
        found: dict[object, list[Call]] = {}
        for call in self.calls:
            target = call.target
            if target is not UNKNOWN:
                found.setdefault(target, []).append(call)
        return found

    @cached_property
    def references(self) -> tuple[Reference, ...]:
        """Every dotted expression in the file, calls included."""
        return tuple(ref for scope in self.scopes for ref in scope.references)

    @cached_property
    def names_read_of_others(self) -> frozenset[str]:
        """Every attribute name that is read in the file from anything but a method's own
        instance, by a dot or by `getattr` and the like with a literal name."""
        return frozenset(mentions.read_of_others(self))

    @cached_property
    def names_set_on_others(self) -> frozenset[str]:
        """Every attribute name that is set on anything but a method's own instance."""
        return frozenset(mentions.set_on_others(self))

    @cached_property
    def global_names(self) -> frozenset[str]:
        """The module-level names that some function declares `global`: their values change."""
        return frozenset(mentions.declared_global(self))

    @cached_property
    def mutated_names(self) -> frozenset[str]:
        """The bare names whose object is changed in place somewhere, by a method or a subscript."""
        return frozenset(mentions.mutated(self))

    def nodes(self, *kinds: type[ast.AST]) -> Iterator[Site]:
        """See `Scope.nodes`; of all scopes."""
        for scope in self.scopes:
            yield from scope.nodes(*kinds)

    # Layers, loops, losses ----------------------------------------------------------------

    def layers(self, expression: ast.expr, at: Statement | None = None) -> tuple[Layer, ...]:
        """The layers that an expression may build or hold; empty unless that is certain."""
        from archcheck.python.modules.layers import build

        return build(expression, at or self.statement_at(expression))

    def instance_of(
        self, expression: ast.expr, at: Statement | None = None
    ) -> ClassDefinition | str | Unknown:
        """The class that an expression's value is certainly an instance of: the project's own
        (ask its `.module`), or a dotted name (`torch.optim.Adam`)."""
        from archcheck.python.flow.script import instance_of

        return instance_of(expression, at or self.statement_at(expression))

    @cached_property
    def chains(self) -> tuple[Chain, ...]:
        """Every run of layers and functions that pass one value on: in Sequentials (built in any
        way, at module level too) and in the forwards of the modules here."""
        from archcheck.python.flow.chains import chains_of

        return tuple(chains_of(self))

    @cached_property
    def loops(self) -> tuple[Loop, ...]:
        """Every `for` and `while`, in functions and outside."""
        from archcheck.python.flow.script import loops_of

        return tuple(loops_of(self))

    @cached_property
    def losses(self) -> tuple[LossCall, ...]:
        """Every call of a loss of torch, by function, by class, or by a name bound to one."""
        from archcheck.python.flow.script import losses_of

        return tuple(losses_of(self))

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """What the file's code does when it runs, from each place where it may start: across
        functions, methods and files."""
        from archcheck.python.program.start import runs_of

        return tuple(runs_of(self))

    def flow(self, scope: Scope | None = None) -> Flow:
        """What a function, or the statements outside functions, do step by step. For methods of
        modules ask `ModuleClass.flow`."""
        from archcheck.python.flow.flow import flow_of

        return flow_of(scope or self.scope)

    @cached_property
    def fragments(self) -> tuple[ModuleClass, ...]:
        """Bare `self.… = …` statements of a Markdown document or notebook, read as part of an
        `__init__`: a class without a name for each run of them. Not among `modules`: nothing is
        known of such a class but its submodules."""
        from archcheck.python.modules.fragments import fragments_of

        return tuple(fragments_of(self))


def _in_body(node: ast.AST, line: int, column: int) -> bool:
    first = node.body[0]  # type: ignore[attr-defined]
    start = (first.lineno, first.col_offset)
    if isinstance(first, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and (
        first.decorator_list
    ):
        decorator = first.decorator_list[0]
        start = (decorator.lineno, decorator.col_offset - 1)
    end = (node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]
    return start <= (line, column) < end


def _last_suite(scope: Scope) -> Suite:
    """The suite of a scope's own statements."""
    for statement in scope.statements:
        if statement.suite.parent is None:
            return statement.suite
    return Suite(None, "body", scope.node)
