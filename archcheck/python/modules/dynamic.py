"""Whether a class sets or reads attributes whose names cannot be read in its text."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from archcheck.python.modules.uses import WriteKind
from archcheck.python.names.sites import Reference
from archcheck.python.syntax.walks import elements_read, is_only_looked_at

if TYPE_CHECKING:
    from archcheck.python.modules.classes import ClassDefinition
    from archcheck.python.names.scope import Call, Function

SETTERS: Final[Mapping[str, WriteKind]] = {
    "add_module": "add_module",
    "register_module": "add_module",
    "register_buffer": "register_buffer",
    "register_parameter": "register_parameter",
}
# Calls on `self` that reach attributes without naming them.
_READERS: Final = frozenset({
    "children", "modules", "named_children", "named_modules", "get_submodule", "_modules",
    "__dict__", "__getattr__", "__getattribute__",
})  # fmt: skip
# Those of them that a loop runs over, often only to initialise what it meets.
_WALKERS: Final = frozenset({"children", "modules", "named_children", "named_modules"})
# Functions that take `self` and neither read nor set its attributes.
_HARMLESS_TAKERS: Final = frozenset({
    "super", "isinstance", "type", "id", "print", "repr", "str", "hasattr", "len", "issubclass",
    "callable", "hash", "bool",
})  # fmt: skip


def sets_dynamically(definition: ClassDefinition) -> bool:
    """Whether its own body may set attributes by names that are computed."""
    special = ("__getattr__", "__getattribute__", "__setattr__")
    if any(name in definition.methods for name in special):
        return True
    for call, method in _calls(definition):
        if _takes_self(call, method, "setattr"):
            return True
        if call.name in SETTERS and call.parts[0] == method.self_name and len(call.parts) == 2:
            named = call.argument("name", 0)
            if not isinstance(named, ast.Constant):
                return True
    return any(
        use.parts[1:2] in (("__dict__",), ("_modules",), ("_parameters",), ("_buffers",))
        and use.parts[0] == method.self_name
        for method in definition.functions
        for use in method.references
    )


def reads_dynamically(definition: ClassDefinition) -> bool:
    """Whether its own body may read attributes by names that are computed."""
    special = ("__getattr__", "__getattribute__", "__dir__")
    if any(name in definition.methods for name in special):
        return True
    if any(_takes_self(call, method, "getattr") for call, method in _calls(definition)):
        return True
    return any(
        reference.parts[0] == method.self_name
        and reference.parts[1:2][0] in _READERS
        and not _only_initialises(reference, method)
        for method in definition.functions
        for scope in method.walk()
        for reference in scope.references
        if len(reference.parts) > 1
    )


def _only_initialises(reference: Reference, method: Function) -> bool:
    """Whether a walk over the submodules looks at each, and calls and keeps none."""
    if len(reference.parts) != 2 or reference.parts[1] not in _WALKERS:
        return False
    read = elements_read(reference.node, method.parents)
    return read is not None and all(is_only_looked_at(name, method.parents) for name in read)


def _calls(definition: ClassDefinition) -> list[tuple[Call, Function]]:
    return [
        (call, method)
        for method in definition.functions
        if method.self_name is not None
        for scope in method.walk()
        for call in scope.calls
    ]


def _takes_self(call: Call, method: Function, accessor: str) -> bool:
    """Whether a call hands `self` to something that may set (or read) any attribute of it."""
    name = method.self_name
    given = [*call.node.args, *(keyword.value for keyword in call.node.keywords)]
    if not any(isinstance(item, ast.Name) and item.id == name for item in given):
        return False
    if call.parts in (("setattr",), ("getattr",), ("delattr",)):
        if call.parts != (accessor,):
            return False
        literal = len(call.node.args) > 1 and isinstance(call.node.args[1], ast.Constant)
        return not literal
    if len(call.parts) == 1 and call.name in _HARMLESS_TAKERS:
        return False
    # Base.method(self, …) is a super call, torch's functions set nothing.
    if call.name.startswith("__") or call.parts[0] == "super":
        return False
    return not (call.dotted or "").startswith(("torch.nn.Module.", "math.", "warnings."))
