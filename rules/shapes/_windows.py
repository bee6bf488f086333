"""Sliding windows: convolutions' and poolings' kernels, and what they leave of a map."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from archcheck.analysis.shapes.arithmetic import grid
from archcheck.analysis.shapes.failures import ShapeError

from ._unsuitable_inputs import spatial_rank

if TYPE_CHECKING:
    from archcheck.core.target import Shape
    from archcheck.evidence.records import Value
    from archcheck.evidence.trace import Trace

_MOST_STEPS = 6


class Window(NamedTuple):
    """A kernel with what makes it step, one number for each spatial dimension.

    Attributes:
        reach: The kernel, dilation included.
    """

    reach: Shape
    stride: Shape
    padding: Shape
    transposed: bool = False


def window(fault: ShapeError) -> Window | None:
    """The kernel of a convolution or pooling that failed; None where it cannot be told."""
    rank = spatial_rank(fault.kind)
    if rank is None:
        return None
    arguments = fault.op.arguments if fault.op is not None else {}

    def numbers(name: str, default: object) -> Shape | None:
        value = arguments.get(name)
        if value is None or value == ():
            value = fault.attribute(name)
        if value is None or value == ():
            value = default
        if isinstance(value, int):
            return (value,) * rank
        if isinstance(value, list | tuple) and all(isinstance(one, int) for one in value):
            return tuple(value) * rank if len(value) == 1 else tuple(value)
        return None

    if fault.kind.startswith("conv"):
        kernel = fault.shapes[1][2:] if len(fault.shapes) > 1 else numbers("kernel_size", None)
        stride = numbers("stride", 1)
    else:
        kernel = numbers("kernel_size", None)
        stride = numbers("stride", kernel)
    padding = numbers("padding", 0)
    dilation = numbers("dilation", 1)
    if kernel is None or stride is None or padding is None or dilation is None:
        return None
    if not len(kernel) == len(stride) == len(padding) == len(dilation) == rank:
        return None
    reach = tuple(step * (size - 1) + 1 for size, step in zip(kernel, dilation, strict=True))
    return Window(reach, stride, padding, "transpose" in fault.kind)


def output_sizes(sizes: Shape, kernel: Window) -> Shape:
    """The spatial sizes that a window leaves (torch.nn.Conv2d, torch.nn.MaxPool2d)."""
    each = zip(sizes, kernel.reach, kernel.stride, kernel.padding, strict=True)
    if kernel.transposed:
        return tuple((size - 1) * s - 2 * p + reach for size, reach, s, p in each)
    return tuple((size + 2 * p - reach) // s + 1 for size, reach, s, p in each)


def shrinking(trace: Trace, value: Value) -> str:
    """How the input's sizes came down: 32 x 32 comes down to 1 x 1 by `conv1` (16 x 16), …"""
    rank = len(value.shape) - 2
    steps: list[tuple[str, Shape]] = []
    last = value.shape[2:]
    seen = value
    while (op := trace.dataflow.producer(seen.index)) is not None:
        before = next(
            (
                trace.values[i]
                for i in op.inputs
                if trace.values[i].kind in ("computed", "input") and len(trace.shape(i)) == rank + 2
            ),
            None,
        )
        if before is None:
            return ""
        if before.shape[2:] != seen.shape[2:]:
            module = trace.module_of(op)
            steps.append((module.path if module and module.path else op.name, seen.shape[2:]))
        seen = before
    if not steps or rank < 1 or seen.kind != "input":
        return ""
    steps.reverse()
    shown = [f"`{name}` ({grid(sizes)})" for name, sizes in steps[-_MOST_STEPS:]]
    more = "… " if len(steps) > _MOST_STEPS else ""
    return f"{grid(seen.shape[2:])} comes down to {grid(last)} by {more}{', '.join(shown)}"
