"""The dataflow of a trace: which value reaches which, where paths meet, what is affine.

A graph whose nodes are the values and ops of one forward pass. Rules on wiring and losses ask it
questions by name. Sets of values are held as integers, one bit for each value: a pass of ten
thousand ops is answered in milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from archcheck.evidence import ModuleCall, Op, ValueIndex

if TYPE_CHECKING:
    from archcheck.evidence import Trace

# Ops in which two paths meet, so that what comes out holds something of both.
JOINS = frozenset(
    "add sub rsub mul div true_divide cat concat concatenate hstack vstack dstack column_stack "
    "stack where lerp addcmul addcdiv add_n maximum minimum matmul bmm mm baddbmm addmm addbmm "
    "einsum tensordot inner outer dot mv scaled_dot_product_attention multi_head_attention_forward "
    "copy index_add index_copy index_put scatter scatter_add scatter_reduce masked_scatter "
    "masked_fill setitem bilinear logaddexp atan2 pow fmod remainder hypot cross kron chain_matmul "
    "multi_dot linalg_multi_dot logical_or logical_and bitwise_or bitwise_and max min".split()
)

# Ops that weigh their input with parameters, linearly.
AFFINE = frozenset(
    "linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d addmm "
    "bilinear convolution".split()
)

# Ops that only move, copy, slice or rename what they are given.
MOVES = frozenset(
    "view reshape flatten unflatten squeeze unsqueeze permute transpose t mT T H mH swapaxes "
    "swapdims movedim moveaxis contiguous expand expand_as narrow select getitem slice chunk split "
    "tensor_split unbind clone to type float double half bfloat16 view_as reshape_as ravel repeat "
    "tile roll flip rot90 unfold fold pad constant_pad_nd pixel_shuffle pixel_unshuffle detach "
    "index_select gather channel_shuffle alias identity cuda cpu type_as repeat_interleave".split()
)

# Ops that are linear in their data: between two affine layers they add no expressive power.
LINEAR = MOVES | frozenset(
    "add sub rsub neg mean sum dropout dropout1d dropout2d dropout3d alpha_dropout "
    "feature_dropout avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
    "adaptive_avg_pool3d interpolate upsample cat concat stack".split()
)

# Ops through which no gradient reaches their input.
BLOCKS_GRADIENT = frozenset(
    "detach argmax argmin argsort sign round floor ceil trunc eq ne lt le gt ge isnan isinf "
    "isfinite nonzero bool int long short byte numpy item tolist bernoulli multinomial "
    "heaviside one_hot bucketize searchsorted sgn zeros_like ones_like empty_like full_like "
    "rand_like randn_like randint_like new_zeros new_ones new_full new_empty".split()
)


def indices(nest: Any) -> Iterator[int]:
    """The values in a nest of arguments or outputs, in order."""
    if isinstance(nest, ValueIndex):
        yield nest.index
    elif isinstance(nest, dict):
        for item in nest.values():
            yield from indices(item)
    elif isinstance(nest, list | tuple):
        for item in nest:
            yield from indices(item)


def members(bits: int) -> Iterator[int]:
    """The numbers of the bits that are set, ascending."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def bitset(values: Iterable[int]) -> int:
    bits = 0
    for value in values:
        bits |= 1 << value
    return bits


class Dataflow:
    """The graph of one trace. Get it from `trace.dataflow`, which makes it once."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    @cached_property
    def outputs(self) -> tuple[int, ...]:
        """The values that the model returns."""
        return tuple(indices(self.trace.outputs))

    @cached_property
    def ancestors(self) -> list[int]:
        """For each value the set of values that it was computed from, itself included."""
        found = [1 << value.index for value in self.trace.values]
        for op in self.trace.ops:
            above = 0
            for value in op.inputs:
                above |= found[value]
            for value in op.outputs:
                found[value] |= above
        return found

    @cached_property
    def live(self) -> int:
        """The values that some output of the model depends on."""
        bits = 0
        for value in self.outputs:
            bits |= self.ancestors[value]
        return bits

    def reaches(self, value: int, others: Iterable[int]) -> bool:
        """Whether any of the others was computed from the value (or is it)."""
        return any(self.ancestors[other] >> value & 1 for other in others)

    def is_live(self, value: int) -> bool:
        """Whether an output of the model depends on the value."""
        return bool(self.live >> value & 1)

    def ops_of(self, call: ModuleCall) -> tuple[Op, ...]:
        """The ops that ran inside a module call, calls below included."""
        return self.trace.ops[call.first_op : call.end_op]

    def producer(self, value: int) -> Op | None:
        """The op that computed a value."""
        index = self.trace.values[value].producer
        return None if index is None else self.trace.ops[index]

    def joins(self, call: ModuleCall) -> Iterator[Op]:
        """The ops in a module call where two different paths from the call's input meet.

        Sums, concatenations, products and attention of values that both come from what the call
        was given; a product with a mere parameter is none.
        """
        start = bitset(indices(call.inputs))
        for op in self.ops_of(call):
            if op.name in JOINS:
                fed = {value for value in op.inputs if self.ancestors[value] & start}
                if len(fed) > 1:
                    yield op

    def origin(self, value: int, through: frozenset[str] = MOVES) -> int:
        """The value that this one is a rearrangement of: back through ops that only move."""
        while (op := self.producer(value)) is not None and op.name in through and op.inputs:
            value = op.inputs[0]
        return value

    def last_nonlinear(self, value: int, through: frozenset[str] = MOVES) -> Op | None:
        """The op that computed a value, seen through those that only move it."""
        return self.producer(self.origin(value, through))

    def affine_chain(self, op: Op) -> tuple[Op, ...]:
        """The ops between an affine op and the affine op before it, both included.

        Empty where something nonlinear, a join, a second user of a value or no affine op lies
        before it.
        """
        chain = [op]
        value = op.inputs[0] if op.inputs else None
        while value is not None:
            before = self.producer(value)
            if before is None or len(self.trace.values[value].users) > 1:
                return ()
            chain.append(before)
            if before.name in AFFINE:
                return tuple(reversed(chain))
            data = [v for v in before.inputs if self.trace.values[v].kind == "computed"]
            if before.name not in LINEAR or len(data) != 1:
                return ()
            value = data[0]
        return ()

    def is_linear_between(self, first: int, second: int) -> bool:
        """Whether a value is computed from an earlier one by linear ops alone."""
        start = 1 << first
        seen, waiting = 0, [second]
        while waiting:
            value = waiting.pop()
            if value == first or seen >> value & 1 or not self.ancestors[value] & start:
                continue
            seen |= 1 << value
            op = self.producer(value)
            if op is None or op.name not in LINEAR | AFFINE:
                return False
            waiting += op.inputs
        return self.reaches(first, [second])

    @cached_property
    def reached_by_gradient(self) -> int:
        """The values whose gradient a loss on the model's outputs would compute."""
        bits = bitset(value for value in self.outputs if self._carries_gradient(value))
        for op in reversed(self.trace.ops):
            if op.name in BLOCKS_GRADIENT or not op.grad_enabled:
                continue
            if any(bits >> value & 1 for value in op.outputs):
                bits |= bitset(value for value in op.inputs if self._carries_gradient(value))
        return bits

    def _carries_gradient(self, value: int) -> bool:
        dtype = self.trace.values[value].dtype
        return dtype.startswith(("float", "bfloat", "complex", "double", "half"))
