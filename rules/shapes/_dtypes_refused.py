"""What torch says when an operator does not take a dtype, in plain words."""

from __future__ import annotations

import re
from typing import NamedTuple

from archcheck.analysis.shapes.failures import ShapeError, shortened

_OVERFLOW = re.compile(r"value cannot be converted to type \S+ without overflow")
_NO_KERNEL = re.compile(r"\"[\w:]+\" not implemented for '\w+'")
_ABOUT_DTYPES = re.compile(
    r"not implemented for '|same d?type|scalar type|expected .*\bdtype|different dtypes"
    r"|only supports? (?:boolean|float|int)|Input type \(|with a bool tensor|can't be cast"
    r"|only applicable to index tensor|cannot be applied to|Expected a long tensor"
    r"|must be (?:long|bool|int)|weight type",
    re.IGNORECASE,
)
_SIGNS = {"bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^", "bitwise_not": "~"}


class Refused(NamedTuple):
    """Why an operator does not take its operands, and what to write instead."""

    message: str
    label: str
    help: str | None


def refused(fault: ShapeError) -> Refused | None:
    """What is wrong with the dtypes of a call; None where something else is wrong with it."""
    said = fault.failure.message
    if fault.op is None or not fault.values:
        return None
    if _OVERFLOW.search(said):
        return _overflow(fault)
    if not _ABOUT_DTYPES.search(said):
        return None
    dtypes = list(dict.fromkeys(value.dtype for value in fault.values))
    got = " and ".join(dtypes)
    name = next(iter(fault.operands()), "x")
    if fault.kind == "sub" and "bool" in dtypes:
        mask = _named_bool(fault)
        return Refused(
            f"{fault.subject} subtracts truth values", f"`{mask}` is bool", f"~{mask}, a mask too"
        )
    if fault.kind in _SIGNS:
        sign = _SIGNS[fault.kind]
        wrong = next((one for one in dtypes if one.startswith(("float", "bfloat"))), got)
        help = f"compare first, as in {name} > 0, or torch.logical_and, _or, _not"
        return Refused(f"`{sign}` takes truth values or integers, got {wrong}", f"got {got}", help)
    if fault.kind in ("masked_fill", "masked_scatter", "where"):
        mask_dtype = next((one for one in reversed(dtypes) if one != "bool"), got)
        return Refused(
            f"{fault.subject} takes a mask of truth values, got {mask_dtype}",
            f"got {mask_dtype}",
            "make the mask with a comparison, or .bool()",
        )
    if len(dtypes) > 1 and not _NO_KERNEL.search(said):
        return Refused(f"{fault.subject} takes one dtype, got {got}", f"got {got}", None)
    return Refused(f"{fault.subject} does not take {got}", f"got {got}", None)


def _overflow(fault: ShapeError) -> Refused:
    """A constant beyond the largest number of a dtype."""
    arguments = fault.op.arguments if fault.op is not None else {}
    numbers = [
        value
        for value in arguments.values()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    dtype = fault.values[0].dtype
    number = f"{max(numbers, key=abs):g}" if numbers else "the constant"
    name = next(iter(fault.operands()), "x")
    return Refused(
        f"{number} does not fit into {dtype}, the dtype of `{shortened(name)}`",
        f"got {dtype}",
        f"torch.finfo({name}.dtype).min in its place",
    )


def _named_bool(fault: ShapeError) -> str:
    """The operand that holds truth values, as it is written."""
    names = fault.operands()
    if len(names) == len(fault.values):
        for name, value in zip(names, fault.values, strict=True):
            if value.dtype == "bool":
                return name
    return names[-1] if names else "mask"
