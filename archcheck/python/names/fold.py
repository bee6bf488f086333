"""Constants, folded: sizes written as `28 * 28`, names bound once, attributes set once."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from archcheck.python.names.resolve import reaching
from archcheck.python.names.sites import Binding, Statement
from archcheck.python.names.unknown import UNKNOWN, Unknown

_OPERATORS: Final[Mapping[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}  # fmt: skip
_COMPARISONS: Final[Mapping[type[ast.cmpop], Callable[[Any, Any], bool]]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Is: operator.is_, ast.IsNot: operator.is_not,
}  # fmt: skip
_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "int": int, "float": float, "len": len, "max": max, "min": min, "sum": sum, "abs": abs,
    "round": round, "tuple": tuple, "bool": bool,
}  # fmt: skip
MUTATORS: Final = frozenset({
    "append", "extend", "insert", "pop", "remove", "clear", "reverse", "sort", "update",
    "setdefault", "popitem", "__setitem__",
})  # fmt: skip
_LARGEST: Final = 1 << 53
_DEEPEST: Final = 16
_MOST_STEPS: Final = 1000


class Given(NamedTuple):
    """What a parameter was given in a call that is being followed."""

    expression: ast.expr
    statement: Statement
    arguments: Arguments | None = None


Arguments: TypeAlias = Mapping[str, Given]


def fold(
    expression: ast.expr,
    at: Statement,
    arguments: Arguments | None = None,
    *,
    defaults: bool = False,
    depth: int = 0,
) -> Any | Unknown:
    """The constant that an expression has at a statement, UNKNOWN if it is not certain.

    Lists fold to tuples, dict displays to dicts.

    Args:
        arguments: What the parameters of the enclosing function are given.
        defaults: Take a parameter that is given nothing for its default.
    """
    return _Folder(arguments, defaults).fold(expression, at, depth)


class _Folder:
    def __init__(
        self, arguments: Arguments | None, defaults: bool, budget: list[int] | None = None
    ) -> None:
        self.arguments = arguments
        self.defaults = defaults
        # Names that are bound in terms of each other would be followed for ever.
        self.budget = [_MOST_STEPS] if budget is None else budget

    def fold(self, node: ast.expr, at: Statement, depth: int) -> Any | Unknown:
        if isinstance(node, ast.Constant):
            return node.value
        self.budget[0] -= 1
        if depth > _DEEPEST or self.budget[0] < 0:
            return UNKNOWN
        try:
            match node:
                case ast.Name():
                    return self._name(node.id, at, depth + 1)
                case ast.Tuple() | ast.List():
                    values = tuple(self.fold(item, at, depth + 1) for item in node.elts)
                    return UNKNOWN if UNKNOWN in values else values
                case ast.UnaryOp():
                    return self._unary(node, at, depth + 1)
                case ast.BinOp():
                    return self._binary(node, at, depth + 1)
                case ast.Attribute():
                    return self._attribute(node, at, depth + 1)
                case ast.Subscript():
                    return self._subscript(node, at, depth + 1)
                case ast.Call():
                    return self._call(node, at, depth + 1)
                case ast.Compare(ops=[comparison], comparators=[right]):
                    compare = _COMPARISONS.get(type(comparison))
                    first, second = (
                        self.fold(node.left, at, depth + 1),
                        self.fold(right, at, depth + 1),
                    )
                    if compare is None or first is UNKNOWN or second is UNKNOWN:
                        return UNKNOWN
                    return compare(first, second)
                case ast.IfExp():
                    test = self.fold(node.test, at, depth + 1)
                    if test is UNKNOWN:
                        return UNKNOWN
                    return self.fold(node.body if test else node.orelse, at, depth + 1)
                case ast.Dict():
                    pairs = {}
                    for key, value in zip(node.keys, node.values, strict=True):
                        name = self.fold(key, at, depth + 1) if key is not None else UNKNOWN
                        if name is UNKNOWN:
                            return UNKNOWN
                        pairs[name] = self.fold(value, at, depth + 1)
                    return pairs
        except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError):
            return UNKNOWN
        return UNKNOWN

    def _name(self, name: str, at: Statement, depth: int) -> Any | Unknown:
        bindings = reaching(name, at)
        if not bindings:
            return UNKNOWN
        first = self._bound(bindings[0], depth)
        for binding in bindings[1:]:
            if first is UNKNOWN:
                break
            value = self._bound(binding, depth)
            if type(value) is not type(first) or value != first:
                return UNKNOWN
        return first

    def _bound(self, binding: Binding, depth: int) -> Any | Unknown:
        scope = binding.statement.scope
        if binding.kind == "parameter":
            return self._parameter(binding, depth)
        if binding.kind == "import":
            return self._imported(binding, depth)
        if binding.kind != "assign" or binding.value is None:
            return UNKNOWN
        if scope.kind == "module" and binding.name in scope.file.global_names:
            return UNKNOWN
        value = self.fold(binding.value, binding.statement, depth)
        for position in binding.path:
            if not isinstance(value, tuple) or position >= len(value):
                return UNKNOWN
            value = value[position]
        if isinstance(binding.value, ast.List | ast.Dict) and binding.name in (
            scope.file.mutated_names
        ):
            return UNKNOWN
        return value

    def _imported(self, binding: Binding, depth: int) -> Any | Unknown:
        file = binding.statement.scope.file
        if binding.level == 0 and binding.dotted.partition(".")[0] == "torch":
            return UNKNOWN
        found = file.project.find(binding.dotted, file, binding.level)
        if found is None or len(found[1]) != 1 or found[0] is file:
            return UNKNOWN
        scope = found[0].scope
        bindings = scope.bindings.get(found[1][0], ())
        if len(bindings) != 1:
            return UNKNOWN
        return self._bound(bindings[0], depth)

    def _parameter(self, binding: Binding, depth: int) -> Any | Unknown:
        name = binding.name
        if self.arguments is not None and name in self.arguments:
            given = self.arguments[name]
            inner = _Folder(given.arguments, self.defaults, self.budget)
            return inner.fold(given.expression, given.statement, depth)
        function = binding.statement.scope.function
        if not self.defaults or function is None or binding.within is not None:
            return UNKNOWN
        parameter = function.signature.by_name.get(name)
        if parameter is None or parameter.default is None or function.statement is None:
            return UNKNOWN
        return self.fold(parameter.default, function.statement, depth)

    def _unary(self, node: ast.UnaryOp, at: Statement, depth: int) -> Any | Unknown:
        value = self.fold(node.operand, at, depth)
        if value is UNKNOWN:
            return UNKNOWN
        if isinstance(node.op, ast.Not):
            return not value
        if isinstance(value, int | float):
            return -value if isinstance(node.op, ast.USub) else value if isinstance(
                node.op, ast.UAdd) else UNKNOWN  # fmt: skip
        return UNKNOWN

    def _binary(self, node: ast.BinOp, at: Statement, depth: int) -> Any | Unknown:
        operate = _OPERATORS.get(type(node.op))
        first = UNKNOWN if operate is None else self.fold(node.left, at, depth)
        second = UNKNOWN if first is UNKNOWN else self.fold(node.right, at, depth)
        if operate is None or first is UNKNOWN or second is UNKNOWN:
            return UNKNOWN
        numbers = isinstance(first, int | float) and isinstance(second, int | float)
        if numbers:
            if isinstance(node.op, ast.Pow) and not (abs(second) <= 64 and abs(first) <= 1 << 16):
                return UNKNOWN
        elif isinstance(first, tuple) and isinstance(second, int):
            if not isinstance(node.op, ast.Mult) or second > 4096:
                return UNKNOWN
        elif not (isinstance(node.op, ast.Add) and type(first) is type(second)):
            return UNKNOWN
        result = operate(first, second)
        if isinstance(result, int | float) and abs(result) > _LARGEST:
            return UNKNOWN
        return result

    def _attribute(self, node: ast.Attribute, at: Statement, depth: int) -> Any | Unknown:
        function = at.scope.function
        if not isinstance(node.value, ast.Name) or function is None:
            return UNKNOWN
        owner = function.owner
        if owner is None or node.value.id != function.self_name or owner.module is None:
            return UNKNOWN
        module = owner.module
        writes = [
            write for write in module.attributes.get(node.attr, ()) if write.kind != "annotation"
        ]
        if len(writes) != 1 or not module.is_certain or module.has_dynamic_attributes:
            return UNKNOWN
        write = writes[0]
        if (
            write.kind not in ("assign", "class", "unpack")
            or write.value is None
            or write.conditional
        ):
            return UNKNOWN
        if write.function is not None and write.function.name != "__init__":
            return UNKNOWN
        # What a parameter of __init__ was given says nothing about another method's.
        inner = self if write.function is function else _Folder(None, self.defaults, self.budget)
        return inner.fold(write.value, write.statement, depth)

    def _subscript(self, node: ast.Subscript, at: Statement, depth: int) -> Any | Unknown:
        value = self.fold(node.value, at, depth)
        index = self.fold(node.slice, at, depth)
        if index is UNKNOWN or not isinstance(value, tuple | dict):
            return UNKNOWN
        return value[index]

    def _call(self, node: ast.Call, at: Statement, depth: int) -> Any | Unknown:
        if not isinstance(node.func, ast.Name) or node.keywords:
            return UNKNOWN
        function = _FUNCTIONS.get(node.func.id)
        if function is None or reaching(node.func.id, at):
            return UNKNOWN
        values = [self.fold(argument, at, depth) for argument in node.args]
        return UNKNOWN if UNKNOWN in values else function(*values)
