"""The one place of the source that decides a size, and what it takes to write another one there.

An argument is a number, or a name for one: a variable, a parameter with a default, an attribute,
a field of a configuration. Where others read the same name too, a new number could break them,
and then there is no such place.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from archcheck.python import ClassDefinition, SourceFile
from archcheck.python.names.scope import Function
from archcheck.python.names.sites import Binding, Statement

# The constructor's argument that says how wide the output of a layer is, with its position.
WIDTH_GIVEN: Mapping[str, tuple[str, int]] = {
    "Linear": ("out_features", 1),
    "LazyLinear": ("out_features", 0),
    "Embedding": ("embedding_dim", 1),
    "LSTM": ("hidden_size", 1),
    "GRU": ("hidden_size", 1),
    "RNN": ("hidden_size", 1),
    **{f"Conv{n}d": ("out_channels", 1) for n in (1, 2, 3)},
    **{f"ConvTranspose{n}d": ("out_channels", 1) for n in (1, 2, 3)},
}
_DEEPEST = 8


class Given(NamedTuple):
    """What a parameter was given, its default perhaps: where that stands, in which instance."""

    expression: ast.expr
    statement: Statement
    instance: Instance


class Instance(Protocol):
    """An object whose constructor ran, as far as it is known."""

    def given(self, function: Function, name: str) -> Given | None:
        """What a parameter of the constructor was given; None where that is not known."""

    @property
    def is_seen(self) -> bool:
        """Whether a forward pass shows what becomes of it."""


class Nobody(NamedTuple):
    """No instance: the source alone is read."""

    is_seen: bool = False

    def given(self, function: Function, name: str) -> Given | None:
        return None


class Defaults(NamedTuple):
    """A pass that shows what becomes of a function's defaults, where no call in the project gives
    anything else."""

    is_seen: bool = True

    def given(self, function: Function, name: str) -> Given | None:
        """See `Instance`."""
        parameter = function.signature.by_name.get(name)
        if parameter is None or parameter.default is None or function.statement is None:
            return None
        signature = (
            function.signature if function.owner is None else (function.signature.without_first())
        )
        called = (
            function.name
            if function.name != "__init__" or function.owner is None
            else (function.owner.name)
        )
        for file in function.file.project.files_naming(called, function.file):
            for call in file.calls_named(called):
                bound = signature.bind(call.node)
                if name in bound.values or not bound.complete:
                    return None
        return Given(parameter.default, function.statement, self)


class Place(NamedTuple):
    """An expression that alone decides a value."""

    expression: ast.expr
    statement: Statement

    @property
    def file(self) -> SourceFile:
        return self.statement.scope.file


def size_source(
    expression: ast.expr, at: Statement, instance: Instance, *, depth: int = 0
) -> Place | None:
    """The place that decides an expression's value; None where it decides other things too.

    With a seen instance, other readers in the same function are no obstacle: what becomes of
    them shows.
    """
    if depth > _DEEPEST:
        return None
    match expression:
        case ast.Constant() | ast.BinOp() | ast.UnaryOp() | ast.Call():
            return Place(expression, at)
        case ast.Name():
            return _of_name(expression, at, instance, depth + 1)
        case ast.Attribute(value=ast.Name(id=receiver)):
            function = at.scope.function
            own = function.self_name if function is not None else None
            if receiver == own and function is not None:
                return _of_self(expression, function, at, instance, depth + 1)
            if function is None or receiver != own:
                return _of_config(expression, at, instance, depth + 1) or Place(expression, at)
        case ast.Attribute():
            return Place(expression, at)
        case ast.Subscript(value=ast.Name(), slice=ast.Constant(value=str())):
            return _of_table(expression, at)
    return None


def _of_name(name: ast.Name, at: Statement, instance: Instance, depth: int) -> Place | None:
    bindings = at.scope.reaching(name.id, at)
    if len(bindings) != 1 or bindings[0].within is not None:
        return None
    binding = bindings[0]
    scope = binding.statement.scope
    if binding.kind == "parameter":
        function = scope.function
        given = instance.given(function, name.id) if function is not None else None
        if given is None or function is None:
            return None
        if not instance.is_seen and not _is_only_reader(name, scope.node):
            return None
        return size_source(given.expression, given.statement, given.instance, depth=depth)
    value = _assigned(binding)
    if value is None or not _is_private(name, binding, at, instance):
        return None
    return size_source(value, binding.statement, instance, depth=depth)


def _assigned(binding: Binding) -> ast.expr | None:
    """The expression that a plain assignment binds a name to."""
    value = binding.value
    if binding.kind != "assign" or binding.statement.suite.loop is not None:
        return None
    for position in binding.path:
        if not isinstance(value, ast.Tuple | ast.List) or position >= len(value.elts):
            return None
        value = value.elts[position]
    return value


def _is_private(name: ast.Name, binding: Binding, at: Statement, instance: Instance) -> bool:
    """Whether nobody else reads a variable, or only those whose fate shows."""
    scope = binding.statement.scope
    file = scope.file
    if len(scope.bindings.get(name.id, ())) != 1 or name.id in file.global_names:
        return False
    if scope.kind == "module" and len(file.project.files_naming(name.id, file)) > 1:
        return False
    around = at.scope.node if instance.is_seen and scope.kind != "class" else None
    seen = set(_readers(name.id, around)) if around is not None else {name}
    return seen.issuperset(_readers(name.id, file.tree if scope.kind != "function" else scope.node))


def _is_only_reader(name: ast.Name, tree: ast.AST) -> bool:
    return list(_readers(name.id, tree)) == [name]


def _readers(name: str, tree: ast.AST) -> Iterator[ast.Name]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load):
            yield node


def _of_self(
    attribute: ast.Attribute, function: Function, at: Statement, instance: Instance, depth: int
) -> Place | None:
    owner = function.owner
    module = owner.module if owner is not None else None
    if module is None or not module.is_certain or module.has_dynamic_attributes:
        return None
    writes = [w for w in module.attributes.get(attribute.attr, ()) if w.kind != "annotation"]
    if len(writes) != 1 or writes[0].conditional:
        return None
    (write,) = writes
    if write.value is None or write.kind not in ("assign", "class") or write.owner is not owner:
        return None
    if write.function is not None and write.function.name != "__init__":
        return None
    around = at.scope.node if instance.is_seen else attribute
    seen = set(_reading(attribute.attr, around))
    if not seen.issuperset(_reading(attribute.attr, write.owner.file.tree)):
        return None
    return size_source(write.value, write.statement, instance, depth=depth)


def _reading(name: str, tree: ast.AST) -> Iterator[ast.Attribute]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == name and isinstance(node.ctx, ast.Load):
            yield node


def _of_config(
    attribute: ast.Attribute, at: Statement, instance: Instance, depth: int
) -> Place | None:
    """The field of a configuration object that a dataclass makes."""
    found = _made(attribute.value, at, instance, depth)
    if found is None:
        return None
    call, place, definition = found
    file = definition.file
    if len(file.project.files_naming(attribute.attr, file)) > 1 or definition.constructor is None:
        return None
    if list(_reading(attribute.attr, file.tree)) != [attribute] or file is not at.scope.file:
        return None
    bound = definition.constructor.bind(call)
    if not bound.complete or len(file.calls_of(definition)) > 1:
        return None
    given = bound.values.get(attribute.attr)
    if given is not None:
        return size_source(given, place, instance, depth=depth)
    field = definition.constructor.by_name.get(attribute.attr)
    if field is None or field.default is None:
        return None
    return size_source(field.default, file.statement_at(field.default), instance, depth=depth)


def _made(
    expression: ast.expr, at: Statement, instance: Instance, depth: int
) -> tuple[ast.Call, Statement, ClassDefinition] | None:
    """The call that makes a configuration object, where it stands, and its class."""
    if depth > _DEEPEST:
        return None
    if isinstance(expression, ast.Call):
        target = at.scope.file.resolve(expression.func, at)
        if isinstance(target, ClassDefinition) and target.is_dataclass:
            return expression, at, target
        return None
    if not isinstance(expression, ast.Name):
        return None
    bindings = at.scope.reaching(expression.id, at)
    if len(bindings) != 1:
        return None
    binding = bindings[0]
    if binding.kind == "parameter":
        function = binding.statement.scope.function
        given = instance.given(function, expression.id) if function is not None else None
        if given is None:
            return None
        return _made(given.expression, given.statement, given.instance, depth + 1)
    value = _assigned(binding)
    return _made(value, binding.statement, instance, depth + 1) if value is not None else None


def _of_table(subscript: ast.Subscript, at: Statement) -> Place | None:
    """An entry of a dict display that nobody else reads."""
    assert isinstance(subscript.value, ast.Name) and isinstance(subscript.slice, ast.Constant)
    name, key = subscript.value.id, subscript.slice.value
    bindings = at.scope.reaching(name, at)
    file = at.scope.file
    if len(bindings) != 1 or name in file.mutated_names or name in file.global_names:
        return None
    value = _assigned(bindings[0])
    scope = bindings[0].statement.scope
    if not isinstance(value, ast.Dict) or scope.kind == "class":
        return None
    if scope.kind == "module" and len(file.project.files_naming(name, file)) > 1:
        return None
    readers = {
        node.value: node.slice
        for node in ast.walk(file.tree)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name)
    }
    for reader in _readers(name, file.tree):
        other = readers.get(reader)
        if not isinstance(other, ast.Constant):
            return None
        if other.value == key and other is not subscript.slice:
            return None
    entries = [
        entry
        for entry_key, entry in zip(value.keys, value.values, strict=True)
        if isinstance(entry_key, ast.Constant) and entry_key.value == key
    ]
    return Place(entries[0], bindings[0].statement) if len(entries) == 1 else None


def means_the_same(expression: ast.expr, there: Statement, here: Statement) -> bool:
    """Whether an expression may be written at another statement of the same function, and its
    names mean there what they mean here."""
    if there.scope is not here.scope or not isinstance(expression, ast.Name | ast.Attribute):
        return False
    if there.suite.loop is not None or here.suite.loop is not None:
        return there.suite.loop is here.suite.loop and _same_names(expression, there, here)
    return _same_names(expression, there, here)


def _same_names(expression: ast.expr, there: Statement, here: Statement) -> bool:
    names = [node for node in ast.walk(expression) if isinstance(node, ast.Name)]
    return all(
        there.scope.reaching(name.id, there) == here.scope.reaching(name.id, here) != ()
        for name in names
    )
