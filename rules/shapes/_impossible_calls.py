"""Why a call that rearranges its input, or works along a dimension, is impossible, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from types import MappingProxyType
from typing import Any

from archcheck.analysis.shapes.arithmetic import text
from archcheck.analysis.shapes.failures import ShapeError

Arguments = Mapping[str, Any]
_DIMENSIONS = ("dim", "dim0", "dim1", "dims", "source", "destination", "start_dim", "axis")


def why_impossible(fault: ShapeError) -> str | None:
    """Return why an operator that rearranges cannot do what it is asked; None if it may."""
    reason = _REASONS.get(fault.kind)
    if reason is None or fault.op is None or not fault.values:
        return None
    return reason(fault.op.arguments, fault.got)


def missing_dimension(fault: ShapeError) -> int | None:
    """Return the dimension that a call names and its input does not have."""
    if fault.op is None or not fault.values:
        return None
    rank = len(fault.got) + (fault.kind in ("unsqueeze", "stack"))
    for name in _DIMENSIONS:
        value = fault.op.arguments.get(name)
        for dim in value if isinstance(value, list | tuple) else (value,):
            if type(dim) is int and not -max(rank, 1) <= dim < max(rank, 1):
                return dim
    return None


def _permuted(arguments: Arguments, got: tuple[int, ...]) -> str | None:
    dims = arguments.get("dims")
    if not isinstance(dims, list | tuple) or len(dims) == len(got):
        return None
    return f"it names {len(dims)} dimensions, and there are {len(got)}"


def _expanded(arguments: Arguments, got: tuple[int, ...]) -> str | None:
    sizes = arguments.get("size")
    if not isinstance(sizes, list | tuple):
        return None
    if len(sizes) < len(got):
        return f"it names {len(sizes)} dimensions, and there are {len(got)}"
    for size, wanted in zip(reversed(got), reversed(sizes), strict=False):
        if size not in (1, wanted) and wanted != -1:
            return f"only a size of 1 expands, and {size} is to become {wanted}"
    return None


def _split(arguments: Arguments, got: tuple[int, ...]) -> str | None:
    parts = arguments.get("split_size_or_sections", arguments.get("split_size"))
    parts = parts if parts is not None else arguments.get("split_sizes")
    dim = arguments.get("dim", 0)
    if not isinstance(parts, list | tuple) or type(dim) is not int:
        return None
    if not -len(got) <= dim < len(got) or not all(type(part) is int for part in parts):
        return None
    if sum(parts) == got[dim]:
        return None
    return f"the parts add up to {sum(parts)}, and dimension {dim} has {got[dim]}"


def _shuffled(arguments: Arguments, got: tuple[int, ...]) -> str | None:
    factor = arguments.get("upscale_factor")
    if type(factor) is not int or len(got) < 3 or not factor or got[-3] % factor**2 == 0:
        return None
    return f"{got[-3]} channels are no multiple of {factor} x {factor}"


def _unshuffled(arguments: Arguments, got: tuple[int, ...]) -> str | None:
    factor = arguments.get("downscale_factor")
    if type(factor) is not int or len(got) < 3 or not factor:
        return None
    odd = next((size for size in got[-2:] if size % factor), None)
    return None if odd is None else f"{odd} is no multiple of {factor}"


def _halved(arguments: Arguments, got: tuple[int, ...]) -> str | None:
    dim = arguments.get("dim", -1)
    if type(dim) is not int or not -len(got) <= dim < len(got) or got[dim] % 2 == 0:
        return None
    return f"it halves dimension {dim}, which has {got[dim]}"


def _folded(arguments: Arguments, got: tuple[int, ...]) -> str | None:
    kernel = arguments.get("kernel_size")
    area = kernel**2 if type(kernel) is int else prod(kernel) if isinstance(kernel, tuple) else 0
    if len(got) < 2 or not area or got[-2] % area == 0:
        return None
    return f"{got[-2]} rows are no multiple of the {area} pixels of its kernel"


_REASONS: Mapping[str, Callable[[Arguments, tuple[int, ...]], str | None]] = MappingProxyType(
    {
        "permute": _permuted,
        "expand": _expanded,
        "broadcast_to": _expanded,
        "split": _split,
        "split_with_sizes": _split,
        "pixel_shuffle": _shuffled,
        "pixel_unshuffle": _unshuffled,
        "glu": _halved,
        "fold": _folded,
    }
)


def described(fault: ShapeError) -> str:
    """Return how many dimensions arrived, in words."""
    rank = len(fault.got)
    return f"{text(fault.got)} has {rank} dimension{'' if rank == 1 else 's'}"
