"""What a file itself gives its model: `model(torch.randn(8, 3, 224, 224))` and its kin, read only.

Nothing is run. A call counts where its arguments can be told from the text: tensors made by size,
through names and arithmetic on whole numbers, and plain literals.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from archcheck.worker.slicing.name_sets import dotted_name

# Functions that make a tensor of a size given by their arguments, or by `size`.
_BY_SIZE = frozenset(("randn", "rand", "zeros", "ones", "empty"))
_WITH_INPUTS = frozenset(("trace", "export", "FlopCountAnalysis", "profile", "add_graph"))
# Methods that leave a tensor's, or a model's, shape as it is.
_SAME_SHAPE = frozenset(
    (
        *("to", "cuda", "cpu", "float", "half", "double", "long", "int", "bool", "bfloat16"),
        *("requires_grad_", "detach", "clone", "contiguous", "eval", "train", "normal_"),
        *("uniform_", "random_", "share_memory", "type"),
    )
)
_CASTS = {
    "long": "int64",
    "int": "int32",
    "bool": "bool",
    "half": "float16",
    "float": "float32",
    "double": "float64",
    "bfloat16": "bfloat16",
}
_WRAPPERS = frozenset(("Variable", "DataParallel", "compile"))


@dataclass(frozen=True, slots=True)
class TensorArgument:
    """A tensor that a call is given. `dtype` is None for torch's default."""

    shape: tuple[int, ...]
    dtype: str | None = None


@dataclass(frozen=True, slots=True)
class PlainArgument:
    """An argument that is no tensor."""

    value: Any


Argument: TypeAlias = TensorArgument | PlainArgument


@dataclass(frozen=True, slots=True)
class OwnCall:
    """A call of the model: what it is given, and where the file says so.

    Attributes:
        line: Of the expression that tells the first tensor's shape.
        text: That expression.
    """

    arguments: tuple[Argument, ...]
    keywords: Mapping[str, Argument]
    line: int
    text: str


class _Unknown(Exception):
    """The text does not tell."""


def own_calls(tree: ast.Module, name: str, line: int = 0) -> Iterator[OwnCall]:
    """The calls of a model in its own file, in order.

    Args:
        name: The class, function or variable that is the model, or makes it.
        line: Only what stands at or after this line counts.
    """
    makers = _makers(tree, name)
    scopes: list[ast.Module | ast.FunctionDef] = [tree]
    scopes += [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    module_level = _Scope(tree, makers, name, None)
    for scope in scopes:
        reader = module_level if scope is tree else _Scope(scope, makers, name, module_level)
        for call in reader.calls():
            if call.line >= line:
                yield call


def _makers(tree: ast.Module, name: str) -> set[str]:
    """The names that make the model: its own, and functions that return what it makes."""
    makers = {name}
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    for _ in functions:
        more = {
            function.name
            for function in functions
            for node in ast.walk(function)
            if isinstance(node, ast.Return)
            and node.value is not None
            and _maker_of(node.value) in makers
        }
        if more <= makers:
            break
        makers |= more
    return makers


def _maker_of(node: ast.expr) -> str | None:
    """The name whose call makes a value, through `.to(device)` and wrappers."""
    while isinstance(node, ast.Call):
        match node.func:
            case ast.Attribute(attr=method, value=owner) if method in _SAME_SHAPE:
                node = owner
            case function if _last(function) in _WRAPPERS and node.args:
                node = node.args[0]
            case function:
                return dotted_name(function)
    return None


def _last(node: ast.expr) -> str:
    return (dotted_name(node) or "").rpartition(".")[2]


class _Scope:
    """A function or the module: its assignments and calls, in the order of the text."""

    def __init__(
        self,
        node: ast.Module | ast.FunctionDef,
        makers: set[str],
        name: str,
        outside: _Scope | None,
    ) -> None:
        self._makers = makers
        self._name = name
        self._outside = outside
        self._nodes = list(_own_nodes(node))
        self._assigned: dict[str, list[tuple[int, ast.expr | None]]] = {}
        for part in self._nodes:
            if isinstance(part, ast.Assign):
                for target in part.targets:
                    self._note(target, part.value)
            elif isinstance(part, ast.AnnAssign) and part.value is not None:
                self._note(part.target, part.value)
            elif isinstance(part, ast.For):
                for name_node in ast.walk(part.target):
                    self._note(name_node, None)
        self._layer_loops = {
            part.target.id: part.iter
            for part in self._nodes
            if isinstance(part, ast.For) and isinstance(part.target, ast.Name)
        }

    def _note(self, target: ast.AST, value: ast.expr | None) -> None:
        if isinstance(target, ast.Name):
            self._assigned.setdefault(target.id, []).append((target.lineno, value))
        elif isinstance(target, ast.Tuple | ast.List):
            same = isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts)
            values: list[ast.expr | None] = (
                list(value.elts)
                if same and isinstance(value, ast.Tuple | ast.List)
                else [None] * len(target.elts)
            )
            for part, part_value in zip(target.elts, values, strict=True):
                self._note(part, part_value)

    def assigned(self, name: str, before: int) -> ast.expr | None:
        """What a name was last assigned above a line."""
        known = self._assigned.get(name)
        if known is None:
            return self._outside.assigned(name, 1 << 30) if self._outside else None
        earlier = [value for line, value in known if line < before]
        return earlier[-1] if earlier else None

    def calls(self) -> Iterator[OwnCall]:
        for node in self._nodes:
            if isinstance(node, ast.Call):
                try:
                    found = self._call(node)
                except _Unknown:
                    continue
                if found is not None:
                    yield found

    def _call(self, node: ast.Call) -> OwnCall | None:
        function = node.func
        if isinstance(function, ast.Attribute) and function.attr == "forward":
            function = function.value
        if self._is_model(function, node.lineno) or self._is_first_layer(function, node):
            return self._with_arguments(node.args, node.keywords, node.lineno)
        if not node.args or not self._is_model(node.args[0], node.lineno):
            return None
        name = _last(node.func)
        if name == "summary" or name == "get_model_complexity_info":
            return self._summarised(node, name)
        if name in _WITH_INPUTS:
            given = node.args[1] if len(node.args) > 1 else _keyword(node, "inputs", "args")
            if given is not None:
                inputs = list(given.elts) if isinstance(given, ast.Tuple) else [given]
                return self._with_arguments(inputs, [], node.lineno)
        return None

    def _with_arguments(
        self, arguments: list[ast.expr], keywords: list[ast.keyword], line: int
    ) -> OwnCall | None:
        values = [self._argument(argument, line) for argument in arguments]
        named = {k.arg: self._argument(k.value, line) for k in keywords if k.arg is not None}
        if len(named) < len(keywords):
            return None
        places = [*arguments, *(keyword.value for keyword in keywords)]
        for place, value in zip(places, (*values, *named.values()), strict=True):
            if isinstance(value, TensorArgument):
                where = place
                if isinstance(place, ast.Name):
                    where = self.assigned(place.id, line) or place
                return OwnCall(tuple(values), named, where.lineno, ast.unparse(where))
        return None

    def _summarised(self, node: ast.Call, name: str) -> OwnCall | None:
        """`summary(model, (3, 32, 32))`: torchsummary leaves the batch out, torchinfo doesn't."""
        size = node.args[1] if len(node.args) > 1 else _keyword(node, "input_size", "input_res")
        if size is None:
            return None
        if isinstance(size, ast.List) and size.elts and isinstance(size.elts[0], ast.Tuple):
            size = size.elts[0]
        shape = self._sizes(size, node.lineno)
        if name != "summary" or len(shape) in (1, 3):
            shape = (2, *shape)
        return OwnCall((TensorArgument(shape),), {}, node.lineno, ast.unparse(node))

    def _is_model(self, node: ast.expr, line: int) -> bool:
        if _maker_of(node) in self._makers:
            return True
        if isinstance(node, ast.Name):
            value = self.assigned(node.id, line)
            if value is not None and _maker_of(value) in self._makers:
                return True
            # A variable is its own model; a class or function of that name only makes it.
            return node.id == self._name and value is not None
        return False

    def _is_first_layer(self, function: ast.expr, call: ast.Call) -> bool:
        """`for layer in net: x = layer(x)`, the model run layer by layer."""
        if not isinstance(function, ast.Name):
            return False
        layers = self._layer_loops.get(function.id)
        if isinstance(layers, ast.Call) and isinstance(layers.func, ast.Attribute):
            layers = layers.func.value
        return layers is not None and self._is_model(layers, call.lineno)

    def _argument(self, node: ast.expr, line: int, depth: int = 0) -> Argument:
        if depth > 8:
            raise _Unknown
        match node:
            case ast.Name(id=name):
                value = self._before_loop(name, line)
                if value is None:
                    raise _Unknown
                return self._argument(value, value.lineno, depth + 1)
            case ast.Constant(value=value):
                return PlainArgument(value)
            case ast.Call(func=ast.Attribute(attr=method, value=owner)) if (
                method in _SAME_SHAPE and _last(node.func) != method
            ) or method in _CASTS:
                inner = self._argument(owner, line, depth + 1)
                if isinstance(inner, TensorArgument) and method in _CASTS:
                    return TensorArgument(inner.shape, _CASTS[method])
                return inner
            case ast.Call(func=ast.Attribute(attr=method, value=owner)) if method in _SAME_SHAPE:
                return self._argument(owner, line, depth + 1)
            case ast.Call():
                return self._made(node, line, depth)
            case _:
                raise _Unknown

    def _before_loop(self, name: str, line: int) -> ast.expr | None:
        """What a name was assigned, passing over `x = layer(x)`."""
        known = self._assigned.get(name)
        if known is None:
            return self._outside.assigned(name, 1 << 30) if self._outside else None
        for at, value in reversed(known):
            if at < line or (at == line and value is not None and value.lineno < line):
                return value
        return None

    def _made(self, node: ast.Call, line: int, depth: int) -> TensorArgument:
        name = _last(node.func)
        if name in _WRAPPERS and node.args:
            inner = self._argument(node.args[0], line, depth + 1)
            if isinstance(inner, TensorArgument):
                return inner
            raise _Unknown
        dtype = _dtype(_keyword(node, "dtype"))
        size = _keyword(node, "size")
        if name in _BY_SIZE:
            sizes = [size] if size is not None else node.args
        elif name == "full":
            sizes = [size if size is not None else node.args[0]] if size or node.args else []
        elif name == "randint":
            sizes = [size] if size is not None else node.args[-1:]
            dtype = dtype or "int64"
        else:
            raise _Unknown
        if len(sizes) == 1:
            try:
                return TensorArgument(self._sizes(sizes[0], line), dtype)
            except _Unknown:
                if name not in _BY_SIZE:
                    raise
        return TensorArgument(tuple(self._number(part, line) for part in sizes), dtype)

    def _sizes(self, node: ast.expr, line: int) -> tuple[int, ...]:
        if isinstance(node, ast.Name):
            value = self.assigned(node.id, line)
            if value is None:
                raise _Unknown
            node = value
        if not isinstance(node, ast.Tuple | ast.List):
            raise _Unknown
        return tuple(self._number(element, line) for element in node.elts)

    def _number(self, node: ast.expr, line: int, depth: int = 0) -> int:
        match node:
            case ast.Constant(value=int(value)) if not isinstance(value, bool) and value >= 0:
                return value
            case ast.Name(id=name) if depth < 8:
                assigned = self.assigned(name, line)
                if assigned is not None:
                    return self._number(assigned, line, depth + 1)
            case ast.BinOp(left=left, op=op, right=right) if depth < 8:
                one = self._number(left, line, depth + 1)
                two = self._number(right, line, depth + 1)
                match op:
                    case ast.Add():
                        return one + two
                    case ast.Sub() if one > two:
                        return one - two
                    case ast.Mult():
                        return one * two
                    case ast.FloorDiv() if two:
                        return one // two
                    case ast.Pow() if two < 16:
                        return int(one**two)
        raise _Unknown


def _own_nodes(scope: ast.Module | ast.FunctionDef) -> Iterator[ast.AST]:
    """All nodes of a scope in the order of the text, without those of functions in it."""
    waiting: list[ast.AST] = list(reversed(scope.body))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            continue
        yield node
        waiting += reversed(list(ast.iter_child_nodes(node)))


def _keyword(node: ast.Call, *names: str) -> ast.expr | None:
    return next((k.value for k in node.keywords if k.arg in names), None)


def _dtype(node: ast.expr | None) -> str | None:
    if node is None:
        return None
    name = _last(node)
    return {"long": "int64", "int": "int32", "float": "float32", "half": "float16"}.get(name, name)
