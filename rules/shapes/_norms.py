"""Normalisation layers: which ranks they take, and which sizes they were built for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archcheck.analysis.shapes.failures import ShapeError

if TYPE_CHECKING:
    from archcheck.core.target import Shape
    from archcheck.evidence.records import Module

# The numbers of dimensions that torch's own check lets through.
RANKS = {
    "BatchNorm1d": (2, 3), "BatchNorm2d": (4,), "BatchNorm3d": (5,),
    "InstanceNorm1d": (2, 3), "InstanceNorm2d": (3, 4), "InstanceNorm3d": (4, 5),
}  # fmt: skip
_FORMS = {
    "BatchNorm1d": "[N, C] or [N, C, L]", "BatchNorm2d": "[N, C, H, W]",
    "BatchNorm3d": "[N, C, D, H, W]", "InstanceNorm1d": "[N, C, L]",
    "InstanceNorm2d": "[N, C, H, W]", "InstanceNorm3d": "[N, C, D, H, W]",
}  # fmt: skip


def norm_type(module: Module | None) -> str | None:
    """Which of torch's batch and instance norms a module is: `BatchNorm1d`."""
    if module is None:
        return None
    names = (module.type, *(base.rpartition(".")[2] for base in module.bases))
    return next((name for name in names if name in RANKS), None)


def form(kind: str) -> str:
    """The dimensions that a norm takes: `[N, C, H, W]`."""
    return _FORMS[kind]


def sibling(kind: str, rank: int) -> str | None:
    """The norm of the same family for batches of this rank: BatchNorm1d, 4 -> BatchNorm2d."""
    wanted = {2: "1d", 3: "1d", 4: "2d", 5: "3d"}.get(rank)
    return f"{kind[:-2]}{wanted}" if wanted else None


def rank_fits(fault: ShapeError) -> bool:
    """Whether a norm's input has as many dimensions as it takes."""
    kind = norm_type(fault.layer)
    return len(fault.got) in RANKS[kind] if kind else len(fault.got) >= 2


def channels_expected(fault: ShapeError) -> int | None:
    """The channels that a batch, instance or group norm was built for, if it has any numbers."""
    named = fault.attribute("num_channels" if fault.kind == "group_norm" else "num_features")
    if isinstance(named, int):
        return named
    sizes = {shape[0] for shape in fault.shapes[1:] if len(shape) == 1}
    return sizes.pop() if len(sizes) == 1 else None


def trailing_expected(fault: ShapeError) -> Shape:
    """The last sizes that a layer or RMS norm was built for."""
    named = fault.attribute("normalized_shape")
    if named is None and fault.op is not None:
        named = fault.op.arguments.get("normalized_shape")
    if isinstance(named, int):
        return (named,)
    if isinstance(named, list | tuple) and all(isinstance(size, int) for size in named):
        return tuple(named)
    return ()
