"""Layers: what an expression that builds a module builds, with its arguments and children."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from archcheck.finding import Location
from archcheck.source.classes import ClassDefinition, is_torch_module
from archcheck.source.fold import Arguments, Given, fold
from archcheck.source.resolve import parts_of, reaching, resolve
from archcheck.source.scan import Binding, Statement
from archcheck.source.scope import Call, Function, argument_of
from archcheck.source.signature import BoundArguments, Signature, torch_signature
from archcheck.source.torch_names import CONTAINERS
from archcheck.source.unknown import UNKNOWN, Unknown

if TYPE_CHECKING:
    from archcheck.source.file import SourceFile
    from archcheck.source.modules import ModuleClass

# Methods of a module that return the module itself.
_RETURN_SELF: Final = frozenset({
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


class Layer:
    """A module as an expression builds it.

    Attributes:
        type: Its dotted name (`torch.nn.Linear`), or the project's own class.
        node: The call that constructs it.
        statement: Where that call stands. In a helper function that is followed, the helper.
        children: Of a Sequential, ModuleList or ModuleDict, what it holds, in order; UNKNOWN
            where that cannot be told. Of any other layer, empty.
        name: Its name in the container that holds it: "0", "1", … or a key; "" elsewhere.
        repeated: It stands for several, built in a loop or a comprehension.
    """

    def __init__(
        self,
        type: str | ModuleClass,
        node: ast.Call,
        statement: Statement,
        given: Arguments | None = None,
        children: tuple[Layer, ...] | Unknown = (),
        name: str = "",
        repeated: bool = False,
    ) -> None:
        self.type = type
        self.node = node
        self.statement = statement
        self.children = children
        self.name = name
        self.repeated = repeated
        self._given = given

    def __repr__(self) -> str:
        return f"Layer({self.class_name})"

    def renamed(self, name: str, repeated: bool = False) -> Layer:
        """The same layer under a name in a container."""
        return Layer(
            self.type, self.node, self.statement, self._given, self.children, name,
            repeated or self.repeated,
        )  # fmt: skip

    @property
    def file(self) -> SourceFile:
        return self.statement.scope.file

    @property
    def location(self) -> Location:
        """The constructing call."""
        return self.file.location(self.node)

    @property
    def class_name(self) -> str:
        """`Linear`, `Block`."""
        return self.type.rpartition(".")[2] if isinstance(self.type, str) else self.type.name

    def is_a(self, *names: str) -> bool:
        """Whether it is one of these classes of torch.nn, by their short names: `Conv2d`.

        A subclass in the project that brings no forward of its own counts.
        """
        if isinstance(self.type, str):
            return self.type.removeprefix("torch.nn.") in names
        if self.type.find_method("forward") is not None:
            return False
        return self.type.derives_from(*(f"torch.nn.{name}" for name in names))

    @property
    def is_torch(self) -> bool:
        return isinstance(self.type, str)

    @property
    def module_class(self) -> ModuleClass | None:
        """The project's own class; None for torch's."""
        return None if isinstance(self.type, str) else self.type

    @cached_property
    def signature(self) -> Signature | None:
        """What its constructor takes; None if that is not certain."""
        if isinstance(self.type, str):
            return torch_signature(self.type)
        return self.type.constructor

    @cached_property
    def bound(self) -> BoundArguments | None:
        """The constructing call held against the signature."""
        return self.signature.bind(self.node) if self.signature is not None else None

    def expression(self, name: str) -> ast.expr | None:
        """The expression given for a parameter, by the parameter's name (`in_features`)."""
        return self.bound.values.get(name) if self.bound is not None else None

    def argument(self, name: str, *, defaults: bool = False) -> Any | Unknown:
        """The folded value of a parameter: what is given, or the class's own default.

        UNKNOWN where it is not certain. With `defaults`, a name that stands for a parameter of
        the enclosing constructor counts as that parameter's default.
        """
        if self.bound is None or self.signature is None:
            return UNKNOWN
        given = self.bound.values.get(name)
        if given is not None:
            return fold(given, self.statement, self._given, defaults=defaults)
        parameter = self.signature.by_name.get(name)
        if not self.bound.complete or parameter is None or parameter.default is None:
            return UNKNOWN
        if isinstance(self.type, str):
            default = parameter.default
            return default.value if isinstance(default, ast.Constant) else _literal(default)
        return fold(parameter.default, self.type.definition.statement or self.statement)

    def walk(self, depth: int = 6) -> Iterator[Layer]:
        """Itself, what its containers hold, and the submodules of the project's classes."""
        yield self
        if depth <= 0:
            return
        for child in () if self.children is UNKNOWN else self.children:
            yield from child.walk(depth - 1)
        if not isinstance(self.type, str):
            for definition in self.type.lineage:
                module = definition.module
                for submodule in module.submodules if module is not None else ():
                    for layer in submodule.alternatives:
                        yield from layer.walk(depth - 1)


def _literal(node: ast.expr) -> Any | Unknown:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return UNKNOWN


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an expression is evaluated: its statement, and what its function was given."""

    statement: Statement
    given: Arguments | None = None
    depth: int = 0

    def deeper(self, statement: Statement | None = None) -> _Place:
        return _Place(statement or self.statement, self.given, self.depth + 1)


def build(expression: ast.expr, at: Statement) -> tuple[Layer, ...]:
    """The layers that an expression may build; empty unless every alternative is certain.

    Helper functions and methods of the same class are followed where they have one `return`.
    """
    return _build(expression, _Place(at))


def build_bound(binding: Binding) -> tuple[Layer, ...]:
    """The layers that a name is bound to by one assignment, with what is added to a container."""
    return _bound(binding, _Place(binding.statement))


def _build(node: ast.expr, place: _Place) -> tuple[Layer, ...]:
    if place.depth > _DEEPEST:
        return ()
    match node:
        case ast.Call():
            return _call(node, place)
        case ast.Name():
            return _name(node, place)
        case ast.IfExp():
            test = fold(node.test, place.statement, place.given)
            if test is not UNKNOWN:
                return _build(node.body if test else node.orelse, place.deeper())
            branches = (
                _build(branch, place.deeper())
                for branch in (node.body, node.orelse)
                if not (isinstance(branch, ast.Constant) and branch.value is None)
            )
            return _all(branches)
        case ast.NamedExpr():
            return _build(node.value, place.deeper())
    return ()


def _all(alternatives: Iterator[tuple[Layer, ...]]) -> tuple[Layer, ...]:
    found: list[Layer] = []
    for layers in alternatives:
        if not layers:
            return ()
        found += layers
    return tuple(found)


def _name(node: ast.Name, place: _Place) -> tuple[Layer, ...]:
    bindings = reaching(node.id, place.statement)
    if len(bindings) == 1 and bindings[0].kind == "parameter":
        given = place.given.get(node.id) if place.given is not None else None
        if given is None:
            return ()
        return _build(given.expression, _Place(given.statement, given.arguments, place.depth + 1))
    return _all(_bound(binding, place) for binding in bindings if not _is_none(binding.value))


def _bound(binding: Binding, place: _Place) -> tuple[Layer, ...]:
    if binding.kind not in ("assign", "walrus") or binding.path or binding.value is None:
        return ()
    layers = _build(binding.value, place.deeper(binding.statement))
    if len(layers) == 1 and layers[0].is_a("Sequential", "ModuleList", "ModuleDict"):
        return (_with_added(layers[0], binding),)
    return layers


def _is_none(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is None


def _call(node: ast.Call, place: _Place) -> tuple[Layer, ...]:
    target = resolve(node.func, place.statement)
    if isinstance(target, str):
        if target in CONTAINERS:
            return (_container(target, node, place),)
        if is_torch_module(target):
            return (Layer(target, node, place.statement, place.given),)
        if target in _RETURN_ARGUMENT and node.args:
            return _build(node.args[0], place.deeper())
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
        if node.func.attr in _RETURN_SELF:
            return _build(node.func.value, place.deeper())
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
    function: Function, call: ast.Call, place: _Place, skip_first: bool
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
    return _build(returns[0].value, _Place(at, given, place.depth + 1))


_PLAIN: Final = frozenset({"staticmethod", "classmethod"})


# Containers -------------------------------------------------------------------------------


def _container(target: str, node: ast.Call, place: _Place) -> Layer:
    children: Sequence[Layer] | None
    if node.keywords and not all(k.arg == "modules" for k in node.keywords):
        children = None
    elif target == "torch.nn.Sequential":
        children = _sequential(node, place)
    else:
        given = argument_of(node, "modules", 0)
        if given is None:
            children = () if not node.args else None
        elif target == "torch.nn.ModuleList":
            children = _elements(given, place.deeper())
        else:
            children = _pairs(given, place.deeper())
    return Layer(
        target, node, place.statement, place.given,
        UNKNOWN if children is None else _numbered(children),
    )  # fmt: skip


def _numbered(children: Sequence[Layer]) -> tuple[Layer, ...]:
    return tuple(
        child if child.name else child.renamed(str(index)) for index, child in enumerate(children)
    )


def _sequential(node: ast.Call, place: _Place) -> Sequence[Layer] | None:
    if len(node.args) == 1 and not isinstance(node.args[0], ast.Starred):
        only = node.args[0]
        if isinstance(only, ast.Call):
            target = resolve(only.func, place.statement)
            if target == "collections.OrderedDict":
                if not only.args:
                    return () if not only.keywords else None
                return _pairs(only.args[0], place.deeper())
        if isinstance(only, ast.Name):
            ordered = _ordered(only, place)
            if ordered is not UNKNOWN:
                return ordered
    return _items(node.args, place.deeper())


def _ordered(name: ast.Name, place: _Place) -> Sequence[Layer] | Unknown | None:
    """The pairs of a name bound to an OrderedDict; UNKNOWN if it is bound to something else."""
    bindings = reaching(name.id, place.statement)
    if len(bindings) != 1 or not isinstance(bindings[0].value, ast.Call):
        return UNKNOWN
    call, at = bindings[0].value, bindings[0].statement
    if resolve(call.func, at) not in ("collections.OrderedDict", "dict"):
        return UNKNOWN
    if call.keywords:
        return None
    found = list(_pairs(call.args[0], place.deeper(at)) or ()) if call.args else []
    for statement in at.scope.statements:
        node = statement.node
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Subscript)
            and isinstance(node.targets[0].value, ast.Name)
            and node.targets[0].value.id == name.id
        ):
            layers = _build(node.value, place.deeper(statement))
            key = fold(node.targets[0].slice, statement, place.given)
            if len(layers) != 1 or not isinstance(key, str) or statement.suite.conditional:
                return None
            found.append(layers[0].renamed(key))
    return found if not _otherwise_used(name.id, at, {"[]"}) else None


def _items(arguments: Sequence[ast.expr], place: _Place) -> Sequence[Layer] | None:
    """The layers of positional arguments, with `*layers` expanded."""
    found: list[Layer] = []
    for argument in arguments:
        if isinstance(argument, ast.Starred):
            inner = _elements(argument.value, place.deeper())
            if inner is None:
                return None
            found += [layer.renamed("", layer.repeated) for layer in inner]
        else:
            layers = _build(argument, place.deeper())
            if len(layers) != 1:
                return None
            found.append(layers[0])
    return found


def _elements(node: ast.expr, place: _Place) -> Sequence[Layer] | None:
    """The layers in a list: a display, a comprehension, or a name bound to one and appended to."""
    if place.depth > _DEEPEST:
        return None
    match node:
        case ast.List() | ast.Tuple():
            return _items(node.elts, place)
        case ast.ListComp() | ast.GeneratorExp():
            inside = _inside(node, place.statement)
            layers = _build(node.elt, place.deeper(inside))
            return [layers[0].renamed("", True)] if len(layers) == 1 else None
        case ast.BinOp(op=ast.Add()):
            left, right = (
                _elements(node.left, place.deeper()),
                _elements(node.right, place.deeper()),
            )
            return [*left, *right] if left is not None and right is not None else None
        case ast.Call(func=ast.Name(id="list" | "tuple"), args=[only]):
            return _elements(only, place.deeper())
        case ast.Name():
            return _list_name(node, place)
    return None


def _inside(node: ast.ListComp | ast.GeneratorExp, at: Statement) -> Statement:
    """The statement that the element of a comprehension stands in."""
    for bindings in at.scope.bindings.values():
        for binding in bindings:
            if binding.within is node:
                return binding.statement
    return at


def _list_name(node: ast.Name, place: _Place) -> Sequence[Layer] | None:
    """A name bound to a list, and what straight-line code appends to it before it is used."""
    bindings = reaching(node.id, place.statement)
    if len(bindings) == 1 and bindings[0].kind == "parameter":
        given = place.given.get(node.id) if place.given is not None else None
        if given is None:
            return None
        return _elements(
            given.expression, _Place(given.statement, given.arguments, place.depth + 1)
        )
    bindings = tuple(b for b in bindings if b.kind != "augmented")
    if len(bindings) != 1 or bindings[0].kind != "assign" or bindings[0].value is None:
        return None
    start = bindings[0].statement
    found = _elements(bindings[0].value, place.deeper(start))
    if found is None or start.scope is not place.statement.scope:
        return found
    found = list(found)
    for call in start.scope.calls:
        if call.parts[:1] != (node.id,) or call.statement.index <= start.index:
            continue
        if call.statement.index >= place.statement.index:
            break
        added = _appended(call, place)
        if added is None or (call.conditional and call.loop is None):
            return None
        found += [layer.renamed("", call.loop is not None) for layer in added]
    for statement in start.scope.statements[start.index + 1 : place.statement.index]:
        augmented = statement.node
        if isinstance(augmented, ast.AugAssign) and _is_name(augmented.target, node.id):
            more = _elements(augmented.value, place.deeper(statement))
            if more is None or statement.suite.conditional:
                return None
            found += more
    return found if not _otherwise_used(node.id, start, {"append", "extend", "+="}) else None


def _appended(call: Call, place: _Place) -> Sequence[Layer] | None:
    if len(call.parts) != 2 or len(call.node.args) != 1:
        return None
    if call.name == "append":
        layers = _build(call.node.args[0], place.deeper(call.statement))
        return layers if len(layers) == 1 else None
    if call.name == "extend":
        return _elements(call.node.args[0], place.deeper(call.statement))
    return None


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _otherwise_used(name: str, start: Statement, allowed: set[str]) -> bool:
    """Whether a list or dict is changed in another way than those that are followed."""
    for call in start.scope.calls:
        if call.parts[0] == name and len(call.parts) > 1 and call.name not in allowed:
            return True
    for node, _ in start.scope.nodes(ast.Subscript):
        assert isinstance(node, ast.Subscript)
        if (
            _is_name(node.value, name)
            and not isinstance(node.ctx, ast.Load)
            and ("[]" not in allowed)
        ):
            return True
    return False


def _pairs(node: ast.expr, place: _Place) -> Sequence[Layer] | None:
    """The layers of a dict display, or of a list of (name, layer) pairs."""
    found: list[Layer] = []
    entries: list[tuple[ast.expr | None, ast.expr]] = []
    if isinstance(node, ast.Dict):
        entries = list(zip(node.keys, node.values, strict=True))
    elif isinstance(node, ast.List | ast.Tuple):
        for item in node.elts:
            if not isinstance(item, ast.Tuple) or len(item.elts) != 2:
                return None
            entries.append((item.elts[0], item.elts[1]))
    elif isinstance(node, ast.Call) and resolve(node.func, place.statement) in (
        "collections.OrderedDict",
        "dict",
    ):
        return _pairs(node.args[0], place.deeper()) if node.args and not node.keywords else None
    else:
        return None
    for key, value in entries:
        layers = _build(value, place.deeper())
        name = fold(key, place.statement, place.given) if key is not None else UNKNOWN
        if len(layers) != 1 or not isinstance(name, str):
            return None
        found.append(layers[0].renamed(name))
    return found


def _with_added(layer: Layer, binding: Binding) -> Layer:
    return with_added(layer, (binding.name,), binding.statement)


def with_added(layer: Layer, parts: tuple[str, ...], start: Statement) -> Layer:
    """A container bound to a name (or to an attribute of `self`), with what `add_module` and
    `append` add to it in the function where it is made."""
    children = layer.children
    for call in start.scope.calls:
        if children is UNKNOWN or call.parts[:-1] != parts:
            continue
        if call.statement.index <= start.index:
            continue
        if call.name in ("add_module", "register_module", "append"):
            children = _added(call, children)
        elif call.name in ("extend", "insert", "pop", "update", "__setitem__"):
            children = UNKNOWN
    for node, _ in start.scope.nodes(ast.Subscript):
        assert isinstance(node, ast.Subscript)
        if parts_of(node.value) == parts and not isinstance(node.ctx, ast.Load):
            children = UNKNOWN
    if children is layer.children:
        return layer
    return Layer(layer.type, layer.node, layer.statement, layer._given, children)


def _added(call: Call, children: tuple[Layer, ...]) -> tuple[Layer, ...] | Unknown:
    named = call.name != "append"
    given = call.argument("module", 1 if named else 0)
    name = call.argument("name", 0) if named else None
    layers = build(given, call.statement) if given is not None else ()
    if len(layers) != 1 or (call.conditional and call.loop is None):
        return UNKNOWN
    key: Any = str(len(children))
    if name is not None:
        key = fold(name, call.statement)
        if not isinstance(key, str):
            key = ""
    return (*children, layers[0].renamed(key, call.loop is not None))
