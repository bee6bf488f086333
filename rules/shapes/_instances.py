"""Modules of a traced model as instances of their classes: what their constructors were given."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, NamedTuple

from archcheck.analysis.edits.size_source import Defaults, Given
from archcheck.analysis.shapes.failures import is_built_once, node_at, source_file
from archcheck.core.target import parse_target
from archcheck.python import Project, SourceFile
from archcheck.python.names.scope import Function

if TYPE_CHECKING:
    from archcheck.evidence.records import Module
    from archcheck.evidence.trace import Trace


class Built(NamedTuple):
    """The modules of a traced model whose constructors ran around a layer.

    Attributes:
        path: That of the layer, or of a module around it.
        size: The size that the layer was built for, where it is a size that is asked for.
        is_fed: What it ought to be is a size of the model's own input. Who builds the model with
            the same default may well feed it as the default says.
    """

    trace: Trace
    project: Project
    path: str
    size: int | None = None
    is_fed: bool = False

    @property
    def is_seen(self) -> bool:
        return True

    def given(self, function: Function, name: str) -> Given | None:
        """See `Instance`."""
        module = self.ran(function)
        if module is not None:
            return self._given(function, name, module)
        if function.name == "__init__":
            return None
        return self._handed(function, name) or Defaults().given(function, name)

    def ran(self, function: Function) -> Module | None:
        """The module around the layer whose constructor this function is."""
        owner = function.owner
        if owner is None or function.name != "__init__":
            return None
        path = self.path
        while path:
            path = path.rpartition(".")[0]
            module = self.trace.module(path)
            if module is not None and module.type == owner.name:
                return module
        return None

    def _given(self, function: Function, name: str, module: Module) -> Given | None:
        signature = function.signature.without_first()
        parameter = signature.by_name.get(name)
        call, file = self._call(module)
        above = self._replace(path=module.path)
        if call is not None:
            bound = signature.bind(call)
            if not bound.complete:
                return None
            given = bound.values.get(name)
            if given is not None:
                if file is None or not is_built_once(self.trace, module.constructed):
                    return None
                return Given(given, file.statement_at(given), above)
        if parameter is None or parameter.default is None or function.statement is None:
            return None
        if self.is_fed and self._is_relied_on(function, name):
            return None
        return Given(parameter.default, function.statement, above)

    def _handed(self, function: Function, name: str) -> Given | None:
        """What a function that is no constructor was given, where one call alone can have given
        it the size."""
        if self.size is None:
            return None
        signature = function.signature
        if function.owner is not None:
            signature = signature.without_first()
        found: list[Given] = []
        for file in self.project.files_naming(function.name, function.file):
            for call in file.calls_of(function):
                given = signature.bind(call.node).values.get(name)
                value = file.value(given, call.statement) if given is not None else None
                if given is None or type(value) is not int:
                    return None
                if value == self.size:
                    found.append(Given(given, call.statement, self))
        return found[0] if len(found) == 1 else None

    def _is_relied_on(self, function: Function, name: str) -> bool:
        """Whether the project builds the class without this argument."""
        owner = function.owner
        assert owner is not None
        signature = function.signature.without_first()
        return any(
            name not in signature.bind(call.node).values
            for file in self.project.files_naming(owner.name, function.file)
            for call in file.calls_of(owner)
        )

    def _call(self, module: Module) -> tuple[ast.Call | None, SourceFile | None]:
        """The call that built a module, and its file; None where the user named it."""
        if module.constructed is not None:
            file = source_file(self.project, module.constructed)
            node = node_at(file, module.constructed) if file is not None else None
            return (node, file) if isinstance(node, ast.Call) else (None, None)
        target = parse_target(self.trace.target)
        if target is None or not target.call:
            return None, None
        node = ast.parse(f"_({target.call})", mode="eval").body
        return (node, None) if isinstance(node, ast.Call) else (None, None)
