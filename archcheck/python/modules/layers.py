"""Which layers an expression builds: calls, names, and helpers that are followed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from archcheck.python.modules.classes import ClassDefinition, is_torch_module
from archcheck.python.modules.containers import container, with_added
from archcheck.python.modules.layer import Layer
from archcheck.python.names.fold import Arguments, Given, fold
from archcheck.python.names.resolve import reaching, resolve
from archcheck.python.names.scope import Function
from archcheck.python.names.sites import Binding, Statement
from archcheck.python.names.torch_names import CONTAINERS
from archcheck.python.names.unknown import UNKNOWN

# Methods of a module that return the module itself.
RETURN_SELF: Final = frozenset({
    "to", "cuda", "cpu", "eval", "train", "half", "float", "double", "bfloat16", "type", "apply",
    "requires_grad_", "to_empty", "xpu",
})  # fmt: skip
# Functions that return the module that they are given.
_RETURN_ARGUMENT: Final = frozenset({
    "torch.nn.utils.weight_norm", "torch.nn.utils.spectral_norm", "copy.deepcopy", "copy.copy",
    "torch.nn.utils.parametrizations.weight_norm", "torch.compile", "torch.nn.DataParallel",
    "torch.nn.utils.parametrizations.spectral_norm", "torch.nn.utils.parametrizations.orthogonal",
    "torch.nn.parallel.DistributedDataParallel", "torch.jit.script",
})  # fmt: skip
_DEEPEST: Final = 8
_SHALLOW: Final = 2
_MOST_STEPS: Final = 5000
_PLAIN: Final = frozenset({"staticmethod", "classmethod"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where an expression is evaluated.

    Attributes:
        statement: The statement that it stands in.
        given: What the parameters of the function around it are given, where it is followed.
        depth: How many names and calls were followed to come here.
        budget: How many more expressions may be looked at before the question is given up.
    """

    statement: Statement
    given: Arguments | None = None
    depth: int = 0
    budget: list[int] = field(default_factory=lambda: [_MOST_STEPS])

    def deeper(self, statement: Statement | None = None) -> Place:
        """One step further, at another statement of the same function."""
        return Place(statement or self.statement, self.given, self.depth + 1, self.budget)

    def at(self, given: Given) -> Place:
        """Where an argument is evaluated: at the call."""
        return Place(given.statement, given.arguments, self.depth + 1, self.budget)

    @property
    def is_too_deep(self) -> bool:
        return self.depth > _DEEPEST or self.budget[0] < 0

    def build(self, node: ast.expr) -> tuple[Layer, ...]:
        """The layers that an expression may build here."""
        self.budget[0] -= 1
        return () if self.is_too_deep else _build(node, self)

    def value(self, node: ast.expr) -> object:
        """The folded value of an expression here."""
        return fold(node, self.statement, self.given)


def build(expression: ast.expr, at: Statement) -> tuple[Layer, ...]:
    """The layers that an expression may build; empty unless every alternative is certain.

    Helper functions and methods of the same class are followed where they have one `return`.
    """
    return Place(at).build(expression)


def build_bound(binding: Binding) -> tuple[Layer, ...]:
    """The layers that a name is bound to by one assignment, with what is added to a container."""
    return _bound(binding, Place(binding.statement))


def _build(node: ast.expr, place: Place) -> tuple[Layer, ...]:
    match node:
        case ast.Call():
            return _call(node, place)
        case ast.Name():
            return _name(node, place)
        case ast.IfExp():
            test = place.value(node.test)
            if test is not UNKNOWN:
                return place.deeper().build(node.body if test else node.orelse)
            branches = (
                place.deeper().build(branch)
                for branch in (node.body, node.orelse)
                if not (isinstance(branch, ast.Constant) and branch.value is None)
            )
            return _all(branches)
        case ast.NamedExpr():
            return place.deeper().build(node.value)
    return ()


def _all(alternatives: Iterator[tuple[Layer, ...]]) -> tuple[Layer, ...]:
    found: list[Layer] = []
    for layers in alternatives:
        if not layers:
            return ()
        found += layers
    return tuple(found)


def _name(node: ast.Name, place: Place) -> tuple[Layer, ...]:
    bindings = reaching(node.id, place.statement)
    if len(bindings) == 1 and bindings[0].kind == "parameter":
        given = place.given.get(node.id) if place.given is not None else None
        if given is None:
            return _from_callers(bindings[0], place)
        return place.at(given).build(given.expression)
    return _all(_bound(binding, place) for binding in bindings if not _is_none(binding.value))


def _from_callers(binding: Binding, place: Place) -> tuple[Layer, ...]:
    """What every call of a plain function in its own file gives for a parameter."""
    function = binding.statement.scope.function
    if function is None or function.owner is not None or binding.within is not None:
        return ()
    calls = function.file.calls_of(function)
    given = (function.signature.bind(call.node).values.get(binding.name) for call in calls)
    found = _all(
        Place(call.statement, None, place.depth + 2, place.budget).build(value)
        if value is not None
        else ()
        for value, call in zip(given, calls, strict=True)
    )
    # One place that builds it, reached from several calls, is one layer.
    return tuple({layer.node: layer for layer in found}.values())


def _bound(binding: Binding, place: Place) -> tuple[Layer, ...]:
    if place.given is not None:
        return _assigned(binding, place)
    if binding.layers is None:
        # A name that is bound in terms of itself is nothing certain.
        binding.layers = ()
        found = _assigned(binding, place)
        # An empty answer may only say how far the question had come already.
        binding.layers = found if found or place.depth <= _SHALLOW else None
        return found
    return binding.layers  # type: ignore[no-any-return]


def _assigned(binding: Binding, place: Place) -> tuple[Layer, ...]:
    if binding.kind not in ("assign", "walrus") or binding.path or binding.value is None:
        return ()
    layers = place.deeper(binding.statement).build(binding.value)
    if len(layers) == 1 and layers[0].type in CONTAINERS:
        return (with_added(layers[0], (binding.name,), place.deeper(binding.statement)),)
    return layers


def _is_none(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is None


def _call(node: ast.Call, place: Place) -> tuple[Layer, ...]:
    target = resolve(node.func, place.statement)
    if isinstance(target, str):
        if target in CONTAINERS:
            return (container(target, node, place),)
        if target in _RETURN_ARGUMENT:
            return place.deeper().build(node.args[0]) if node.args else ()
        if is_torch_module(target):
            return (Layer(target, node, place.statement, place.given),)
        return ()
    if isinstance(target, ClassDefinition):
        if target.module is None:
            return ()
        return (Layer(target.module, node, place.statement, place.given),)
    if isinstance(target, Function):
        return _followed(target, node, place, skip_first=False)
    if isinstance(node.func, ast.Attribute):
        method = _own_method(node.func, place.statement)
        if method is not None:
            return _followed(method, node, place, skip_first=not method.is_static)
        if node.func.attr in RETURN_SELF:
            return place.deeper().build(node.func.value)
    return ()


def _own_method(function: ast.Attribute, at: Statement) -> Function | None:
    """The method that `self.name(…)` calls."""
    around = at.scope.function
    owner = around.owner if around is not None else None
    if around is None or owner is None or not isinstance(function.value, ast.Name):
        return None
    if function.value.id != around.parameters[0] if around.parameters else True:
        return None
    return owner.find_method(function.attr)


def _followed(
    function: Function, call: ast.Call, place: Place, skip_first: bool
) -> tuple[Layer, ...]:
    """What a helper returns, with its parameters standing for what the call gives."""
    returns = function.returns
    if len(returns) != 1 or returns[0].value is None or function.is_generator:
        return ()
    if any(not isinstance(name, str) or name not in _PLAIN for name in function.decorators):
        return ()
    signature = function.signature.without_first() if skip_first else function.signature
    bound = signature.bind(call)
    given: dict[str, Given] = {
        name: Given(value, place.statement, place.given) for name, value in bound.values.items()
    }
    if bound.complete and function.statement is not None:
        for parameter in signature.parameters:
            if parameter.default is not None and parameter.name not in given:
                given[parameter.name] = Given(parameter.default, function.statement)
    at = next(s for node, s in function.nodes(ast.Return) if node is returns[0])
    if at.suite.conditional:
        return ()
    return Place(at, given, place.depth + 1, place.budget).build(returns[0].value)
