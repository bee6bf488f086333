"""Where attributes of `self` are set, and where base classes are asked."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from archcheck.python.modules.dynamic import SETTERS
from archcheck.python.modules.uses import AttributeWrite, SuperCall, WriteKind
from archcheck.python.names.sites import Reference, Statement

if TYPE_CHECKING:
    from archcheck.python.modules.classes import ClassDefinition
    from archcheck.python.names.scope import Call, Function

_LOCAL_KINDS: Final = frozenset({"assign", "augmented", "annotation", "for", "with", "import"})


def attribute_writes(definition: ClassDefinition) -> tuple[AttributeWrite, ...]:
    """Every attribute that a class's own body sets, in source order."""
    known = definition.__dict__.get("_attribute_writes")
    if known is None:
        found = [*_in_class_body(definition)]
        for function in definition.functions:
            if function.self_name is not None or function.is_classmethod:
                found += _in_method(function, definition)
        known = tuple(sorted(found, key=lambda write: getattr(write.node, "lineno", 0)))
        definition.__dict__["_attribute_writes"] = known
    return known


def _in_class_body(definition: ClassDefinition) -> Iterator[AttributeWrite]:
    for name, bindings in definition.bindings.items():
        for binding in bindings:
            kind: WriteKind = "class"
            if binding.kind in ("function", "class"):
                kind = "method"
            elif binding.kind == "annotation":
                kind = "annotation"
            if name == "__slots__" and isinstance(binding.value, ast.Tuple | ast.List):
                for item in binding.value.elts:
                    if isinstance(item, ast.Constant) and isinstance(item.value, str):
                        yield AttributeWrite(
                            item.value, "slots", item, None, binding.statement, None, definition
                        )
            value = binding.value if not binding.path else None
            yield AttributeWrite(
                name, kind, binding.node, value, binding.statement, None, definition
            )


def _in_method(function: Function, definition: ClassDefinition) -> Iterator[AttributeWrite]:
    arguments = function.node.args
    positional = (*arguments.posonlyargs, *arguments.args)
    if not positional:
        return
    name = positional[0].arg
    for scope in function.walk():
        if scope is not function and name in getattr(scope, "parameters", ()):
            continue
        for reference in scope.references:
            parts = reference.parts
            if parts[0] == name and len(parts) == 2 and reference.kind in ("store", "delete"):
                kind, value = _assigned(reference.node, reference.statement)
                if reference.kind == "delete":
                    kind, value = "delete", None
                yield AttributeWrite(
                    parts[1], kind, reference.node, value, reference.statement, function, definition
                )
        for call in scope.calls:
            if call.name in SETTERS or call.name in ("setattr", "__setattr__"):
                write = _by_call(call, name, function, definition)
                if write is not None:
                    yield write


def _assigned(target: ast.expr, statement: Statement) -> tuple[WriteKind, ast.expr | None]:
    """How a statement sets one of its targets, and to what."""
    node = statement.node
    if isinstance(node, ast.Assign):
        for candidate in node.targets:
            if candidate is target:
                return "assign", node.value
            if isinstance(candidate, ast.Tuple | ast.List):
                return "unpack", _element(candidate, node.value, target)
    if isinstance(node, ast.AnnAssign):
        return ("annotation", None) if node.value is None else ("assign", node.value)
    if isinstance(node, ast.AugAssign):
        return "augmented", node.value
    if isinstance(node, ast.With | ast.AsyncWith):
        return "with", None
    return "loop", None


def _element(targets: ast.Tuple | ast.List, value: ast.expr, wanted: ast.expr) -> ast.expr | None:
    if not isinstance(value, ast.Tuple | ast.List) or len(value.elts) != len(targets.elts):
        return None
    for target, element in zip(targets.elts, value.elts, strict=True):
        if target is wanted:
            return None if isinstance(element, ast.Starred) else element
        if isinstance(target, ast.Starred):
            return None
    return None


def _by_call(
    call: Call, self_name: str, function: Function, definition: ClassDefinition
) -> AttributeWrite | None:
    arguments = call.node.args
    if call.parts == ("setattr",) and len(arguments) == 3:
        target, named, value = arguments
        kind: WriteKind = "setattr"
        if not (isinstance(target, ast.Name) and target.id == self_name):
            return None
    elif call.name == "__setattr__" and len(arguments) in (2, 3):
        # `self.__setattr__("mask", m)`, `super().__setattr__(…)`, `object.__setattr__(self, …)`
        named, value = arguments[-2:]
        kind = "setattr"
        if len(arguments) == 2 and call.parts[0] not in (self_name, ""):
            return None
    elif len(call.parts) == 2 and call.parts[0] == self_name and call.name in SETTERS:
        kind = SETTERS[call.name]
        found = call.argument("name", 0)
        if found is None:
            return None
        named = found
        given = call.argument({"register_buffer": "tensor", "register_parameter": "param"}.get(
            call.name, "module"), 1)  # fmt: skip
        value = given if given is not None else ast.Constant(None)
    else:
        return None
    if not (isinstance(named, ast.Constant) and isinstance(named.value, str)):
        return None
    return AttributeWrite(named.value, kind, call.node, value, call.statement, function, definition)


def super_calls(method: Function) -> tuple[SuperCall, ...]:
    """See `ModuleClass.super_calls`."""
    found: list[SuperCall] = []
    names = (method.name, "__init__")
    for scope in method.walk():
        bare: dict[ast.expr, SuperCall] = {}
        for reference in scope.references:
            parts = reference.parts
            if parts == ("super",) and reference.kind == "call":
                call = reference.node
                assert isinstance(call, ast.Call)
                bare[call] = SuperCall("", False, call, call, reference.statement)
            elif len(parts) == 2 and not parts[0]:
                # `super().name`, perhaps
                node = reference.node
                called = isinstance(node, ast.Call)
                function = node.func if isinstance(node, ast.Call) else node
                root = function.value if isinstance(function, ast.Attribute) else None
                if isinstance(root, ast.Call) and _is_super(root):
                    found.append(SuperCall(parts[1], called, node, root, reference.statement))
            elif len(parts) > 1 and parts[-1] in names and _gives_self(reference, method):
                # `Base.__init__(self, …)`: the instance is handed over by hand.
                node = reference.node
                found.append(SuperCall(parts[-1], True, node, None, reference.statement))
        for use in found:
            if use.super_node is not None:
                bare.pop(use.super_node, None)
        found += bare.values()
    return tuple(sorted(found, key=lambda use: (use.node.lineno, use.node.col_offset)))


def _is_super(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Name) and node.func.id == "super"


def _gives_self(reference: Reference, method: Function) -> bool:
    node = reference.node
    if not isinstance(node, ast.Call) or not node.args:
        return False
    first = node.args[0]
    return isinstance(first, ast.Name) and first.id == method.self_name
