"""What a function of torch is called, and the names of the arguments that it was given."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F

from archcheck.tracing.record.traced_size import TracedSize
from archcheck.tracing.signatures import signature_of

_SAME: Mapping[str, str] = {
    "__add__": "add", "__radd__": "add", "__iadd__": "add",
    "__sub__": "sub", "__rsub__": "sub", "__isub__": "sub", "subtract": "sub", "rsub": "sub",
    "__mul__": "mul", "__rmul__": "mul", "__imul__": "mul", "multiply": "mul",
    "__truediv__": "div", "__rtruediv__": "div", "__itruediv__": "div", "__rdiv__": "div",
    "__div__": "div", "__idiv__": "div", "divide": "div", "true_divide": "div",
    "__floordiv__": "floor_divide", "__rfloordiv__": "floor_divide",
    "__ifloordiv__": "floor_divide", "__mod__": "remainder", "__rmod__": "remainder",
    "__imod__": "remainder",
    "__pow__": "pow", "__rpow__": "pow", "__ipow__": "pow", "float_power": "pow",
    "__matmul__": "matmul", "__rmatmul__": "matmul", "__imatmul__": "matmul",
    "__neg__": "neg", "negative": "neg", "__pos__": "positive",
    "__abs__": "abs", "absolute": "abs",
    "__and__": "bitwise_and", "__rand__": "bitwise_and", "__iand__": "bitwise_and",
    "__or__": "bitwise_or", "__ror__": "bitwise_or", "__ior__": "bitwise_or",
    "__xor__": "bitwise_xor", "__rxor__": "bitwise_xor", "__ixor__": "bitwise_xor",
    "__invert__": "bitwise_not",
    "__lshift__": "bitwise_left_shift", "__rshift__": "bitwise_right_shift",
    "__eq__": "eq", "__ne__": "ne", "__lt__": "lt", "__le__": "le", "__gt__": "gt",
    "__ge__": "ge", "equal_": "eq", "not_equal": "ne", "less": "lt", "less_equal": "le",
    "greater": "gt", "greater_equal": "ge",
    "__getitem__": "getitem", "__setitem__": "setitem",
    "concat": "cat", "concatenate": "cat", "clip": "clamp", "swapaxes": "transpose",
    "swapdims": "transpose", "moveaxis": "movedim", "arccos": "acos", "arcsin": "asin",
    "arctan": "atan", "special_expit": "sigmoid", "special_softmax": "softmax",
    "special_log_softmax": "log_softmax",
}  # fmt: skip

_REVERSED = {"__rsub__", "__rtruediv__", "__rdiv__", "__rfloordiv__", "__rmod__", "__rpow__"}
_REVERSED |= {"__rmatmul__", "rsub"}

# Getters of Tensor that give a tensor; all others tell a property, and are no work.
_TENSOR_GETTERS = {"T", "H", "mT", "mH", "real", "imag", "data", "grad"}

# Functions that give no tensor, or give back their own without touching it.
_QUIET = {
    "size", "dim", "ndimension", "stride", "numel", "nelement", "element_size", "itemsize",
    "is_contiguous", "is_floating_point", "is_complex", "is_signed", "is_tensor", "is_inference",
    "is_conj", "is_neg", "is_set_to", "is_shared", "is_pinned", "is_same_size", "is_storage",
    "data_ptr", "storage", "storage_offset", "untyped_storage", "storage_type", "get_device",
    "__len__", "__hash__", "__repr__", "__str__", "__format__", "__dir__", "__contains__",
    "__reduce_ex__", "__bool__", "__int__", "__float__", "__complex__", "__index__", "__set__",
    "__delete__", "__array__", "__iter__", "item", "tolist", "numpy", "is_nonzero", "equal",
    "allclose", "requires_grad_", "retain_grad", "register_hook", "backward", "has_names",
    "dense_dim", "sparse_dim", "result_type", "promote_types", "can_cast", "_set_grad_enabled",
    "__cuda_array_interface__", "register_post_accumulate_grad_hook",
    "_has_compatible_shallow_copy_type",
    "_nested_tensor_size", "_is_view", "is_distributed", "names", "broadcast_shapes", "finfo",
    "is_grad_enabled", "is_autocast_enabled", "get_default_dtype", "_assert",
}  # fmt: skip


@dataclass(slots=True)
class Function:
    """A function of torch, as the trace names it.

    Attributes:
        name: The canonical name; `function`: where it is found, such as `torch.Tensor.view`.
        quiet: It makes no tensor, so it is no op.
        reversed: Its operands stand in the other order, as in `1 - x`.
        factory: It makes a tensor from no tensor.
        in_place: Its name says that it writes into its first argument.
    """

    name: str
    function: str
    quiet: bool = False
    reversed: bool = False
    factory: bool = False
    in_place: bool = False
    bindings: dict[Any, _Binding | None] = field(default_factory=dict)


_REQUIRED = object()


@dataclass(frozen=True, slots=True)
class _Binding:
    """How the arguments of one kind of call get their names."""

    parameters: tuple[tuple[str, Any], ...]  # in order, with defaults where there are any
    packed: int | None = None  # the position whose parameter takes the rest as one tuple
    renamed: Mapping[str, str] = field(default_factory=dict)


class Functions:
    """Describes the functions that a pass calls; each is looked up once."""

    def __init__(self) -> None:
        self._known: dict[Any, Function] = {}

    def of(self, func: Any) -> Function:
        try:
            return self._known[func]
        except KeyError:
            described = self._known[func] = describe(func)
            return described
        except TypeError:  # unhashable: a callable that a library registered
            return describe(func)


def describe(func: Any) -> Function:
    """The function's names, and what kind of thing it does."""
    raw = getattr(func, "__name__", None) or type(func).__name__
    owner = getattr(func, "__self__", None)
    if raw == "__get__" and owner is not None:
        raw = getattr(owner, "__name__", raw)
        return Function(raw, f"torch.Tensor.{raw}", quiet=raw not in _TENSOR_GETTERS)
    in_place = (raw.endswith("_") and not raw.endswith("__")) or raw == "__setitem__"
    in_place = in_place or (raw.startswith("__i") and raw in _SAME and raw != "__invert__")
    bare = raw[:-1] if in_place and raw.endswith("_") and not raw.endswith("__") else raw
    name = _SAME.get(bare, bare.strip("_") if bare.startswith("__") else bare).lstrip("_")
    return Function(
        name=name or raw,
        function=_where(func, raw),
        quiet=raw in _QUIET,
        reversed=raw in _REVERSED,
        factory=_is_factory(func),
        in_place=in_place,
    )


def _where(func: Any, raw: str) -> str:
    if getattr(torch.Tensor, raw, None) is func:
        return f"torch.Tensor.{raw}"
    module = getattr(func, "__module__", None) or ""
    if module in ("torch._C._nn", "torch._C._linalg", "torch._C._fft", "torch._C._special"):
        if getattr(F, raw, None) is func:
            return f"torch.nn.functional.{raw}"
        kind = module.rpartition("_")[2]
        return f"torch.{kind}.{raw.removeprefix(kind + '_')}"
    if getattr(torch, raw, None) is func:
        return f"torch.{raw}"
    if getattr(F, raw, None) is func:
        return f"torch.nn.functional.{raw}"
    qualified = getattr(func, "__qualname__", raw)
    if "<locals>" in qualified:
        qualified = raw
    return f"{module}.{qualified}".lstrip(".").replace("torch._tensor.", "torch.")


def _is_factory(func: Any) -> bool:
    from torch.utils._device import _device_constructors

    try:
        return func in _device_constructors()
    except TypeError:
        return False


def named_arguments(
    described: Function, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Every argument by its parameter's name; those left at their defaults are added."""
    kinds = tuple(map(type, args))
    if TracedSize in kinds:
        kinds = tuple([int if kind is TracedSize else kind for kind in kinds])
    key = (kinds, tuple(kwargs)) if kwargs else kinds
    try:
        binding = described.bindings[key]
    except KeyError:
        binding = described.bindings[key] = _bind(described, func, args, kwargs)
    if binding is None:
        named: dict[str, Any] = {str(place): value for place, value in enumerate(args)}
        named.update(kwargs)
        return named
    if binding.packed is not None:
        args = (*args[: binding.packed], tuple(args[binding.packed :]))
    given = {binding.renamed.get(name, name): value for name, value in kwargs.items()}
    named = {}
    count = len(args)
    for place, (name, default) in enumerate(binding.parameters):
        if place < count:
            named[name] = args[place]
        elif name in given:
            named[name] = given.pop(name)
        elif default is not _REQUIRED:
            named[name] = default
    named.update(given)
    if described.reversed and "input" in named and "other" in named:
        named["input"], named["other"] = named["other"], named["input"]
    return named


def _bind(
    described: Function, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> _Binding | None:
    if described.name == "getitem":
        return _positional("input", "index")
    if described.name == "setitem":
        return _positional("input", "index", "value")
    raw = getattr(func, "__name__", "")
    if raw == "__get__":
        return _positional("input")
    if raw in _SAME and raw.startswith("__"):
        return _positional(*("input", "other")[: len(args)])
    if inspect.isfunction(func):
        return _bind_python(func, args)
    return _bind_schema(described, raw, args, kwargs)


def _bind_python(func: Any, args: Sequence[Any]) -> _Binding | None:
    # F.max_pool2d and its like choose between two functions; the public signature is theirs.
    if "boolean_dispatch" in getattr(func, "__qualname__", ""):
        func = getattr(F, f"_{func.__name__}", func)
    try:
        parameters = signature_of(func).parameters
    except (TypeError, ValueError):
        return None
    found: list[tuple[str, Any]] = []
    packed = None
    for place, (name, parameter) in enumerate(parameters.items()):
        if parameter.kind is parameter.VAR_KEYWORD or (name.startswith("_") and len(args) <= place):
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            packed = place if len(args) > place else None
            found.append((name, ()))
        else:
            empty = parameter.default is parameter.empty
            found.append((_renamed(name), _REQUIRED if empty else parameter.default))
    return _Binding(tuple(found), packed)


def _positional(*names: str) -> _Binding:
    return _Binding(tuple((name, _REQUIRED) for name in names))


def _bind_schema(
    described: Function, raw: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> _Binding | None:
    """Finds the ATen signature that takes these arguments."""
    family = described.function.split(".")[1:-1]
    names = [raw, raw.rstrip("_"), *(f"{kind}_{raw}" for kind in family)]
    for name in dict.fromkeys(names):
        for schema in torch._C._jit_get_schemas_for_operator(f"aten::{name}"):
            fit = _fit(schema, args, kwargs)
            if fit is not None:
                return fit
    return None


def _fit(schema: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Binding | None:
    parameters = [p for p in schema.arguments if p.name not in ("out", "generator")]
    if any(p.is_out for p in schema.arguments) and "out" not in kwargs:
        return None
    plain = [p for p in parameters if not p.kwarg_only]
    packed = None
    if len(args) > len(plain) or (args and plain and len(args) == len(plain)):
        last = len(plain) - 1
        takes_list = last >= 0 and str(plain[last].type) == "List[int]"
        if takes_list and all(type(value) in (int, TracedSize) for value in args[last:]):
            packed = last
        elif len(args) > len(plain):
            return None
    names = [p.name for p in parameters]
    renamed = {"input": "self"} if "self" in names else {}
    renamed |= {"axis": "dim"} if "dim" in names else {}
    renamed |= {"keepdims": "keepdim"} if "keepdim" in names else {}
    for name in kwargs:
        if renamed.get(name, name) not in (*names, "out", "generator", "device", "layout",
                                           "requires_grad", "pin_memory", "dtype"):  # fmt: skip
            return None
    shown = args if packed is None else [*args[:packed], list(args[packed:])]
    for parameter, value in zip(plain, shown, strict=False):
        if not _takes(str(parameter.type), value):
            return None
    given = len(shown)
    for place, parameter in enumerate(parameters):
        is_given = (not parameter.kwarg_only and place < given) or any(
            renamed.get(name, name) == parameter.name for name in kwargs
        )
        if not is_given and not parameter.has_default_value():
            return None
    in_order = plain + [parameter for parameter in parameters if parameter.kwarg_only]
    return _Binding(
        tuple(
            (
                _renamed(p.name),
                _plain_default(p.default_value) if p.has_default_value() else _REQUIRED,
            )
            for p in in_order
        ),
        packed,
        {name: _renamed(other) for name, other in renamed.items()},
    )


def _takes(kind: str, value: Any) -> bool:
    if kind.startswith("Optional["):
        return value is None or _takes(kind[9:-1], value)
    if kind == "Tensor":
        return isinstance(value, torch.Tensor)
    if kind == "List[Tensor]" or kind.startswith("List[Optional["):
        return isinstance(value, list | tuple)
    if kind == "List[int]":
        if isinstance(value, list | tuple):
            return not any(isinstance(item, torch.Tensor) for item in value)
        return isinstance(value, int)
    if kind.startswith("List["):
        return isinstance(value, list | tuple)
    if kind == "number":
        return isinstance(value, int | float | complex)
    if kind == "float":
        return isinstance(value, int | float)
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "str":
        return isinstance(value, str)
    if kind == "int":  # dtypes, layouts and memory formats are integers to a schema
        return not isinstance(value, str | list | tuple | torch.Tensor | float)
    return not isinstance(value, torch.Tensor)


def _renamed(name: str) -> str:
    """Methods call it self, functions call it input."""
    return "input" if name == "self" else name


def _plain_default(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
