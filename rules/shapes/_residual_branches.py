"""Two branches that meet with different sizes: which layers made them differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from archcheck.analysis.shapes.arithmetic import grid
from archcheck.evidence.dataflow import MOVES

if TYPE_CHECKING:
    from archcheck.core.target import Shape
    from archcheck.evidence.records import Module, Op, Value
    from archcheck.evidence.trace import Trace

_MOST_CHANGES = 3


class Change(NamedTuple):
    """An op on the way to one operand that changed a size in which the operands differ.

    Attributes:
        module: The layer that it ran in.
        before, after: The sizes, channels included, batch left out.
        padding: What would keep the spatial sizes, where a kernel without enough padding and a
            stride of one is all that changed them.
    """

    op: Op
    module: Module | None
    before: Shape
    after: Shape
    stride: int = 1
    padding: int | None = None

    @property
    def name(self) -> str:
        path = self.module.path if self.module is not None else ""
        return f"`{path or self.op.name}`"

    @property
    def sentence(self) -> str:
        """`conv1` makes 30 x 30 of 32 x 32."""
        parts = []
        if self.before[1:] != self.after[1:]:
            parts.append(f"makes {grid(self.after[1:])} of {grid(self.before[1:])}")
        if self.before[0] != self.after[0]:
            parts.append(f"makes {self.after[0]} channels of {self.before[0]}")
        why = ""
        if self.padding is not None:
            why = ": its kernel has no padding to keep the size"
        elif self.stride > 1:
            why = f": its stride is {self.stride}"
        return f"{self.name} {' and '.join(parts)}{why}"


def parted(trace: Trace, one: Value, other: Value) -> list[Change]:
    """The changes on the way to either operand since their paths parted, first ones first.

    Empty where the operands are no feature maps of the same rank from one source.
    """
    if len(one.shape) != len(other.shape) or len(one.shape) < 3:
        return []
    common = trace.dataflow.before((one.index,)) & trace.dataflow.before((other.index,))
    found = [*_changes(trace, one, common), *_changes(trace, other, common)]
    return sorted(found, key=lambda change: change.op.index)[:_MOST_CHANGES]


def _changes(trace: Trace, value: Value, common: frozenset[int]) -> list[Change]:
    found = []
    while value.index not in common:
        op = trace.dataflow.producer(value.index)
        if op is None:
            break
        before = next(
            (
                trace.values[index]
                for index in op.inputs
                if len(trace.shape(index)) == len(value.shape)
                and trace.values[index].kind in ("computed", "input")
            ),
            None,
        )
        if before is None:
            break
        if before.shape[1:] != value.shape[1:] and op.name in MOVES:
            break  # rearranged: the sizes mean something else from here on
        if before.shape[1:] != value.shape[1:]:
            found.append(_change(trace, op, before.shape[1:], value.shape[1:]))
        value = before
    return found


def _change(trace: Trace, op: Op, before: Shape, after: Shape) -> Change:
    module = trace.module_of(op)
    stride = _single(op.arguments.get("stride")) or 1
    kernel = _single(op.arguments.get("kernel_size"))
    if kernel is None and op.name.startswith("conv") and len(op.inputs) > 1:
        kernel = _single(trace.shape(op.inputs[1])[2:])
    dilation = _single(op.arguments.get("dilation")) or 1
    padding = None
    if kernel and kernel % 2 and stride == 1 and before[1:] != after[1:]:
        padding = dilation * (kernel - 1) // 2
    return Change(op, module, before, after, stride, padding)


def _single(value: object) -> int | None:
    """A number, or the one number that a tuple repeats."""
    if isinstance(value, int):
        return value
    if isinstance(value, list | tuple) and value and len(set(value)) == 1:
        return value[0] if isinstance(value[0], int) else None
    return None


def advice(changes: list[Change], value: Value) -> str | None:
    """The smallest change that makes the two branches meet."""
    if not changes:
        return None
    padded = [change for change in changes if change.padding is not None]
    if len(padded) == len(changes) and all(c.before[0] == c.after[0] for c in changes):
        names = " and ".join(change.name for change in padded)
        paddings = {change.padding for change in padded}
        number = paddings.pop() if len(paddings) == 1 else "(kernel_size - 1) // 2"
        return f"padding={number} in {names} keeps the size"
    stride = 1
    for change in changes:
        stride *= change.stride
    first, last = changes[0].before[0], changes[-1].after[0]
    if len(value.shape) == 4 and (first != last or stride > 1):
        return (
            "let the skip follow with a projection: "
            f"nn.Conv2d({first}, {last}, kernel_size=1, stride={stride})"
        )
    return None


def unsqueezed(one: Shape, other: Shape, names: tuple[str, ...]) -> str | None:
    """The index that lets weights for each channel meet a map: `weights[:, :, None, None]`."""
    long, short = (one, other) if len(one) > len(other) else (other, one)
    if len(names) != 2 or len(long) == len(short) or long[: len(short)] != short or not short:
        return None
    name = names[1] if short is other else names[0]
    index = ", ".join([":"] * len(short) + ["None"] * (len(long) - len(short)))
    return f"{name}[{index}] lines the dimensions up"
