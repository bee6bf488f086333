"""Tensors as torch's pickles describe them: calls of `torch._utils._rebuild_…`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from archcheck.checkpoints.pickle_opcodes import Call, Global, Persistent
from archcheck.evidence.checkpoint import Tensor
from archcheck.evidence.training_step import DTYPE_BYTES

# The storage classes of torch, by what stands before `Storage` in their names.
_DTYPES: Mapping[str, str] = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexDouble": "complex128",
    "ComplexFloat": "complex64",
    "QInt8": "qint8",
    "QUInt8": "quint8",
    "QInt32": "qint32",
    "QUInt4x2": "quint4x2",
    "QUInt2x4": "quint2x4",
    "Untyped": "uint8",
}


def item_bytes(dtype: str) -> int:
    """Return the bytes that an element of a dtype takes; 0 where that is not known."""
    return int(DTYPE_BYTES.get(dtype, 0))


def tensor_of(value: Any, depth: int = 0) -> Tensor | None:
    """Return the tensor that a call would rebuild, without its name; None if it rebuilds none."""
    if not isinstance(value, Call) or depth > 8:
        return None
    function = value.name
    if not function.startswith("torch"):
        return None
    rebuild = _REBUILDS.get(function.rpartition(".")[2])
    if rebuild is None:
        return None
    try:
        return rebuild(value.arguments, depth)
    except (IndexError, TypeError, ValueError, AttributeError):
        return None


def _strided(arguments: tuple[Any, ...], depth: int) -> Tensor:
    key, dtype, stored = _storage(arguments[0])
    return Tensor("", _sizes(arguments[2]), dtype, storage=key, stored_elements=stored)


def _strided_with_dtype(arguments: tuple[Any, ...], depth: int) -> Tensor:
    tensor = _strided(arguments, depth)
    # Its storage is counted in bytes, not in elements.
    return replace(tensor, dtype=_dtype(arguments[6]), stored_elements=None)


def _quantized(arguments: tuple[Any, ...], depth: int) -> Tensor:
    return replace(_strided(arguments, depth), layout="quantized")


def _parameter(arguments: tuple[Any, ...], depth: int) -> Tensor:
    return _required(tensor_of(arguments[0], depth + 1))


def _subclass(arguments: tuple[Any, ...], depth: int) -> Tensor:
    function, kind, inner = arguments[:3]
    tensor = _required(tensor_of(Call(function, inner), depth + 1))
    name = _name(kind)
    own = name in ("torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter")
    return tensor if own or tensor.wrapper else replace(tensor, wrapper=name)


def _wrapper(arguments: tuple[Any, ...], depth: int) -> Tensor:
    kind, dtype, size = arguments[:3]
    return Tensor("", _sizes(size), _dtype(dtype), wrapper=_name(kind))


def _sparse(arguments: tuple[Any, ...], depth: int) -> Tensor:
    data = arguments[1]
    if isinstance(data, Call):
        data = data.arguments
    size = next(item for item in data if _is_size(item))
    found = [tensor for item in data if (tensor := tensor_of(item, depth + 1)) is not None]
    return Tensor("", _sizes(size), found[-1].dtype, layout="sparse")


def _meta(arguments: tuple[Any, ...], depth: int) -> Tensor:
    return Tensor("", _sizes(arguments[1]), _dtype(arguments[0]), layout="meta")


def _nested(arguments: tuple[Any, ...], depth: int) -> Tensor:
    return Tensor("", None, _nested_dtype(arguments, depth), layout="nested")


def _nested_dtype(arguments: tuple[Any, ...], depth: int) -> str:
    for item in arguments:
        values = item.values() if isinstance(item, dict) else (item,)
        for value in values:
            tensor = tensor_of(value, depth + 1)
            if tensor is not None:
                return tensor.dtype
    return ""


def _array(arguments: tuple[Any, ...], depth: int) -> Tensor:
    """From a device whose tensors travel as arrays or as tensors of the CPU."""
    inner = tensor_of(arguments[0], depth + 1)
    if inner is not None:
        return replace(inner, dtype=_dtype(arguments[1]))
    # numpy.core.multiarray._reconstruct: its state is (version, shape, dtype, order, data).
    return Tensor("", _sizes(arguments[0].state[1]), _dtype(arguments[1]))


_REBUILDS: Mapping[str, Callable[[tuple[Any, ...], int], Tensor]] = {
    "_rebuild_tensor": _strided,
    "_rebuild_tensor_v2": _strided,
    "_rebuild_tensor_v3": _strided_with_dtype,
    "_rebuild_qtensor": _quantized,
    "_rebuild_parameter": _parameter,
    "_rebuild_parameter_with_state": _parameter,
    "_rebuild_from_type": _subclass,
    "_rebuild_from_type_v2": _subclass,
    "_rebuild_wrapper_subclass": _wrapper,
    "_rebuild_sparse_tensor": _sparse,
    "_rebuild_sparse_csr_tensor": _sparse,
    "_rebuild_meta_tensor_no_storage": _meta,
    "_rebuild_nested_tensor": _nested,
    "_rebuild_njt": _nested,
    "_rebuild_device_tensor_from_numpy": _array,
    "_rebuild_device_tensor_from_cpu_tensor": _array,
}


def _required(tensor: Tensor | None) -> Tensor:
    if tensor is None:
        raise ValueError("no tensor")
    return tensor


def _storage(value: Any) -> tuple[str, str, int | None]:
    """Return a storage's key in the file, its dtype and its number of elements."""
    if isinstance(value, Call):  # torch.storage._load_from_bytes, and UntypedStorage's wrapper
        raise ValueError("a storage inside the pickle")
    assert isinstance(value, Persistent)
    kind, storage, key, _, count = value.id[:5]
    if kind != "storage":
        raise ValueError(kind)
    name = _name(storage).rpartition(".")[2].removesuffix("Storage")
    return str(key), _DTYPES.get(name, name.lower()), count if isinstance(count, int) else None


def _name(value: Any) -> str:
    if isinstance(value, Global):
        return value.name
    raise TypeError(value)


def _dtype(value: Any) -> str:
    return _name(value).removeprefix("torch.")


def _is_size(value: Any) -> bool:
    if isinstance(value, Call):
        return value.name == "torch.Size"
    return isinstance(value, tuple) and all(isinstance(size, int) for size in value)


def _sizes(value: Any) -> tuple[int, ...]:
    """Return the sizes of a shape, whether it is a plain tuple or a `torch.Size`."""
    if isinstance(value, Call):
        value = value.arguments[0] if value.arguments else ()
    if isinstance(value, list):
        value = tuple(value)
    if not isinstance(value, tuple) or not all(
        isinstance(size, int) and 0 <= size < 2**63 for size in value
    ):
        raise ValueError("no shape")
    return value
