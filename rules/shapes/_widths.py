"""Where a width that arrived comes from, and what the width that was expected would mean."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from archcheck.analysis.shapes.arithmetic import flattened, grid, spatial_for
from archcheck.analysis.shapes.failures import named
from archcheck.evidence.dataflow import MOVES

if TYPE_CHECKING:
    from archcheck.core.target import Shape
    from archcheck.evidence.records import Op, Sizes, Value
    from archcheck.evidence.trace import Trace

# Ops that change no shape, so that a width passes through them.
_SAME_WIDTH = frozenset(
    "relu relu6 leaky_relu elu selu gelu silu mish hardtanh hardswish hardsigmoid sigmoid tanh "
    "softplus prelu rrelu celu dropout dropout1d dropout2d dropout3d alpha_dropout "
    "feature_dropout batch_norm layer_norm group_norm instance_norm rms_norm normalize softmax "
    "log_softmax contiguous clone detach to type float half double bfloat16 clamp neg abs exp "
    "log sqrt square identity".split()
)
_FLATTENS = frozenset("view reshape flatten view_as reshape_as ravel".split())


class Origin(NamedTuple):
    """What a value's last dimension was before it was flattened.

    Attributes:
        value: The last value that had separate dimensions.
        folded: The sizes that the flattening multiplied: (512, 2, 2); empty where there was none.
        maker: The op that first gave the width, where none was flattened.
    """

    value: Value
    folded: Shape = ()
    maker: Op | None = None


def origin(trace: Trace, value: Value) -> Origin:
    """Follow a width back to the flattening or to the layer that made it."""
    seen = value
    while True:
        op = trace.dataflow.producer(seen.index)
        if op is None or not op.inputs:
            return Origin(seen)
        before = trace.values[op.inputs[0]]
        if op.name in _FLATTENS:
            folded = folded_sizes(before.shape, seen.shape)
            if len(folded) > 1:
                return Origin(before, folded)
        if before.shape == seen.shape and op.name in _SAME_WIDTH | MOVES:
            seen = before
        elif op.name in ("squeeze", "unsqueeze", "mean", "sum", "amax", "getitem", "select"):
            if not before.shape or seen.shape[-1:] != before.shape[-1:]:
                return Origin(seen, maker=op)
            seen = before
        else:
            return Origin(seen, maker=op)


def folded_sizes(before: Shape, after: Shape) -> Shape:
    """The trailing sizes of a shape that became the one last size of another."""
    if not after:
        return ()
    for start in range(len(before)):
        if prod(before[start:]) == after[-1] and prod(before[:start]) == prod(after[:-1]):
            return before[start:]
    return ()


def explained(trace: Trace, value: Value, expected: int) -> tuple[tuple[str, ...], Shape]:
    """Sentences about the width that arrived and the one that was expected.

    Returns:
        The sentences, and the sizes that were flattened: channels first, spatial ones after.
    """
    got = value.shape[-1]
    came = origin(trace, value)
    folded = without_leading_ones(came.folded)
    sentences = []
    if len(folded) > 1:
        sentence = flattened(got, folded)
        wanted = spatial_for(expected, folded) if expected != got else None
        if wanted is None and prod(folded[1:]) == 1:
            sentence = f"{got} channels of a single position arrive"
        if wanted is not None:
            form = f"of {grid(wanted)}" if len(wanted) > 1 else f"of length {wanted[0]}"
            sentence += f"; {expected} would be {folded[0]} {form}"
            sentence += _input_for(trace)
        sentences.append(sentence)
    else:
        module = trace.module_of(came.maker) if came.maker is not None else None
        if module is not None and module.path and module.attributes.get("out_features") == got:
            sentences.append(f"the {got} come from {named(module)}")
    if expected != got and (len(folded) <= 1 or spatial_for(expected, folded) is None):
        sizes = working_sizes(trace)
        if sizes:
            sentences.append(sizes)
    return tuple(sentences), folded if len(folded) > 1 else ()


def without_leading_ones(shape: Shape) -> Shape:
    while len(shape) > 1 and shape[0] == 1 and prod(shape) > 1:
        shape = shape[1:]
    return shape


def _input_for(trace: Trace) -> str:
    sizes = span(trace)
    return f", an input of {sizes}" if sizes else ""


def working_sizes(trace: Trace) -> str:
    """`it works with 163 to 226 pixels`, where that is known."""
    sizes = span(trace)
    return f"it works with {sizes}" if sizes else ""


def span(trace: Trace) -> str:
    """The sizes that the model accepts: `163 to 226 pixels`; "" where they are not known."""
    sizes = trace.valid_input_sizes
    return "" if all(size.high < 8 for size in sizes) else spans_of(sizes)


def spans_of(sizes: Sequence[Sizes]) -> str:
    """Accepted sizes in words: `163 to 226 pixels`, `1 to 77 for T`."""
    spans = {size.dimension: between(size) for size in sizes}
    if len(set(spans.values())) == 1 and set(spans) <= {"H", "W"}:
        return f"{next(iter(spans.values()))} pixels"
    return ", ".join(f"{sizes} for {name}" for name, sizes in spans.items())


def accepts(size: Sizes, number: int) -> bool:
    """Whether a dimension may have this size."""
    return size.low <= number <= size.high and (number - size.low) % size.multiple_of == 0


def between(size: Sizes) -> str:
    """`163 to 226`, `at least 29`, `multiples of 16`."""
    step, low, high = size.multiple_of, size.low, size.high
    if low == high:
        return f"{low}"
    is_open = high > size.searched - step
    if step > 1 and low % step == 0:
        whole = f"multiples of {step}"
        return whole + ("" if is_open and low == step else f" from {low} to {high}")
    steps = f" in steps of {step}" if step > 1 else ""
    return f"at least {low}{steps}" if is_open else f"{low} to {high}{steps}"
