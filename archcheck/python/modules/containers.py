"""What a container holds: arguments, lists that are appended to, dicts, `add_module`."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from archcheck.python.modules.layer import Layer
from archcheck.python.names.resolve import parts_of, reaching, resolve
from archcheck.python.names.scope import Call, argument_of
from archcheck.python.names.sites import Statement, Suite
from archcheck.python.names.unknown import UNKNOWN, Unknown

if TYPE_CHECKING:
    from archcheck.python.modules.layers import Place

_DICTS = ("collections.OrderedDict", "dict")
# Layers in order; None where not even their number can be told.
_Layers: TypeAlias = Sequence[Layer] | None


def container(target: str, node: ast.Call, place: Place) -> Layer:
    """The container that a call of `nn.Sequential`, `ModuleList` or `ModuleDict` builds."""
    children: _Layers
    if node.keywords and not all(keyword.arg == "modules" for keyword in node.keywords):
        children = None
    elif target == "torch.nn.Sequential":
        children = _sequential(node, place)
    else:
        given = argument_of(node, "modules", 0)
        if given is None:
            children = None if node.args else ()
        elif target == "torch.nn.ModuleList":
            children = _elements(given, place.deeper())
        else:
            children = _pairs(given, place.deeper())
    held = UNKNOWN if children is None else _numbered(children)
    return Layer(target, node, place.statement, place.given, held)


def _numbered(children: Sequence[Layer]) -> tuple[Layer, ...]:
    found: list[Layer] = []
    counted = True
    for index, child in enumerate(children):
        counted = counted and not child.repeated
        found.append(child.placed(str(index)) if counted and not child.name else child)
    return tuple(found)


def _one(node: ast.expr, place: Place) -> Layer:
    """The layer that an expression in a container is, known or not."""
    layers = place.build(node)
    if len(layers) == 1:
        return layers[0]
    return Layer("", node, place.statement, place.given)


def _hole(node: ast.expr, place: Place) -> Layer:
    """Any number of layers, none of them known."""
    return Layer("", node, place.statement, place.given, repeated=True)


def _sequential(node: ast.Call, place: Place) -> _Layers:
    if len(node.args) == 1:
        only = node.args[0]
        if isinstance(only, ast.Call) and resolve(only.func, place.statement) == _DICTS[0]:
            return _pairs(only, place.deeper())
        if isinstance(only, ast.Name):
            filled = _filled(only, place)
            if filled is not UNKNOWN:
                return filled
    return _items(node.args, place.deeper())


def _filled(name: ast.Name, place: Place) -> _Layers | Unknown:
    """The layers in a name bound to an OrderedDict; UNKNOWN if it is bound to something else."""
    bindings = reaching(name.id, place.statement)
    if len(bindings) != 1 or not isinstance(bindings[0].value, ast.Call):
        return UNKNOWN
    call, at = bindings[0].value, bindings[0].statement
    if resolve(call.func, at) not in _DICTS:
        return UNKNOWN
    start = _pairs(call, place.deeper(at))
    if start is None or _is_changed(name.id, at, frozenset({"[]"})):
        return None
    found = list(start)
    for statement in at.scope.statements:
        node = statement.node
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Subscript):
            continue
        if _is_name(node.targets[0].value, name.id):
            key = place.value(node.targets[0].slice)
            if not isinstance(key, str) or statement.suite.conditional:
                return None
            found.append(_one(node.value, place.deeper(statement)).placed(key))
    return found


def _items(arguments: Sequence[ast.expr], place: Place) -> Sequence[Layer]:
    """The layers of positional arguments, with `*layers` expanded."""
    found: list[Layer] = []
    for argument in arguments:
        if isinstance(argument, ast.Starred):
            inner = _elements(argument.value, place.deeper())
            found += [_hole(argument, place)] if inner is None else inner
        else:
            found.append(_one(argument, place.deeper()))
    return found


def _elements(node: ast.expr, place: Place) -> _Layers:
    """The layers in a list: a display, a comprehension, a sum of lists, or a name bound to one."""
    if place.is_too_deep:
        return None
    match node:
        case ast.List() | ast.Tuple():
            return _items(node.elts, place)
        case ast.ListComp() | ast.GeneratorExp():
            inside = _inside(node, place.statement)
            return [_one(node.elt, place.deeper(inside)).placed("", True, inside.suite)]
        case ast.BinOp(op=ast.Add()):
            left = _elements(node.left, place.deeper())
            right = _elements(node.right, place.deeper())
            return [*left, *right] if left is not None and right is not None else None
        case ast.Call(func=ast.Name(id="list" | "tuple"), args=[only]):
            return _elements(only, place.deeper())
        case ast.Name():
            return _named(node, place)
    return None


def _inside(node: ast.ListComp | ast.GeneratorExp, at: Statement) -> Statement:
    """The statement that the element of a comprehension stands in."""
    for bindings in at.scope.bindings.values():
        for binding in bindings:
            if binding.within is node:
                return binding.statement
    return at


def _named(node: ast.Name, place: Place) -> _Layers:
    """A name bound to a list, and what is appended to it before it is used."""
    bindings = reaching(node.id, place.statement)
    if len(bindings) == 1 and bindings[0].kind == "parameter":
        given = place.given.get(node.id) if place.given is not None else None
        return None if given is None else _elements(given.expression, place.at(given))
    if any(binding.kind == "augmented" for binding in bindings):
        scope = bindings[0].statement.scope
        bindings = tuple(b for b in scope.bindings[node.id] if b.kind != "augmented")
    if len(bindings) != 1 or bindings[0].kind != "assign" or bindings[0].value is None:
        return None
    start = bindings[0].statement
    found = _elements(bindings[0].value, place.deeper(start))
    if found is None or _is_changed(node.id, start, frozenset({"append", "extend"})):
        return None
    if start.scope is not place.statement.scope:
        return found
    found = list(found)
    for statement in start.scope.statements[start.index + 1 : place.statement.index]:
        added = _added_by(statement, node.id, place)
        if added:
            found += _in_turn(added, statement.suite, start.suite)
    return found


def _in_turn(layers: Sequence[Layer], suite: Suite, outside: Suite) -> Sequence[Layer]:
    """Layers added in a suite: repeated in a loop, uncertain in a branch."""
    if suite.solid is outside.solid:
        return layers
    if suite.solid.kind == "loop":
        return [layer.placed("", True, suite.solid) for layer in layers]
    first = layers[0]
    return [Layer("", first.node, first.statement, first.given, repeated=True)]


def _added_by(statement: Statement, name: str, place: Place) -> _Layers:
    """What a statement appends to the list of a name; None if it does not."""
    node = statement.node
    here = place.deeper(statement)
    if isinstance(node, ast.AugAssign) and _is_name(node.target, name):
        added = _elements(node.value, here)
        return [_hole(node.value, here)] if added is None else added
    call = node.value if isinstance(node, ast.Expr) else None
    if not isinstance(call, ast.Call) or len(call.args) != 1:
        return None
    method = parts_of(call.func)
    if method == (name, "append"):
        return [_one(call.args[0], here)]
    if method == (name, "extend"):
        added = _elements(call.args[0], here)
        return [_hole(call.args[0], here)] if added is None else added
    return None


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _is_changed(name: str, start: Statement, allowed: frozenset[str]) -> bool:
    """Whether a list or dict is changed in another way than those that are followed."""
    for call in start.scope.calls:
        if call.parts[0] == name and len(call.parts) > 1 and call.name not in allowed:
            return True
    return "[]" not in allowed and any(
        isinstance(node, ast.Subscript)
        and _is_name(node.value, name)
        and not isinstance(node.ctx, ast.Load)
        for node, _ in start.scope.nodes(ast.Subscript)
    )


def _pairs(node: ast.expr, place: Place) -> _Layers:
    """The layers of a dict display, of a list of (name, layer) pairs, or of a dict made of one."""
    if place.is_too_deep:
        return None
    entries: list[tuple[ast.expr | None, ast.expr]] = []
    if isinstance(node, ast.Dict):
        entries = list(zip(node.keys, node.values, strict=True))
    elif isinstance(node, ast.List | ast.Tuple):
        for item in node.elts:
            if not isinstance(item, ast.Tuple) or len(item.elts) != 2:
                return None
            entries.append((item.elts[0], item.elts[1]))
    elif isinstance(node, ast.Call) and resolve(node.func, place.statement) in _DICTS:
        if node.keywords or len(node.args) > 1:
            return None
        return _pairs(node.args[0], place.deeper()) if node.args else ()
    else:
        return None
    found: list[Layer] = []
    for key, value in entries:
        name = place.value(key) if key is not None else UNKNOWN
        if not isinstance(name, str):
            return None
        found.append(_one(value, place.deeper()).placed(name))
    return found


def with_added(layer: Layer, parts: tuple[str, ...], place: Place) -> Layer:
    """A container bound to a name (or to an attribute of `self`) at a place, with what
    `add_module` and `append` add to it in the same function."""
    start = place.statement
    children = layer.children
    for call in start.scope.calls:
        if children is UNKNOWN or call.parts[:-1] != parts or call.statement.index <= start.index:
            continue
        if call.name in ("add_module", "register_module", "append"):
            children = (*children, *_in_turn(_added(call, children, place), call.statement.suite,
                                             start.suite))  # fmt: skip
        elif call.name in ("extend", "insert", "pop", "update", "__setitem__"):
            children = UNKNOWN
    for node, _ in start.scope.nodes(ast.Subscript):
        assert isinstance(node, ast.Subscript)
        if parts_of(node.value) == parts and not isinstance(node.ctx, ast.Load):
            children = UNKNOWN
    return layer if children is layer.children else layer.holding(children)


def _added(call: Call, children: Sequence[Layer], place: Place) -> Sequence[Layer]:
    named = call.name != "append"
    here = place.deeper(call.statement)
    given = call.argument("module", 1 if named else 0)
    if given is None:
        return [_hole(call.node, here)]
    name: object = str(len(children))
    if named:
        key = call.argument("name", 0)
        name = here.value(key) if key is not None else UNKNOWN
    return [_one(given, here).placed(name if isinstance(name, str) else "")]
