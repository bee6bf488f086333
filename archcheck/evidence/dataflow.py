"""The dataflow of a trace: which value reaches which, where paths meet, what is affine.

A graph whose nodes are the values and ops of one forward pass. Rules on wiring and losses ask it
questions by name. Ops stand in the order in which they ran, so one walk along them answers what
comes after a set of values, and one walk back what comes before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from archcheck.core.finding import Location
from archcheck.evidence.records import ModuleCall, Op, ValueIndex
from archcheck.evidence.traced_pass import TracedPass

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

# Ops whose derivative is zero wherever they have one.
STEPS = frozenset("sign sgn round floor ceil trunc floor_divide heaviside".split())


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


class Dataflow:
    """The graph of one trace. Get it from `trace.dataflow`, which makes it once."""

    def __init__(self, trace: TracedPass) -> None:
        self.trace = trace

    # Paths --------------------------------------------------------------------------------

    @cached_property
    def outputs(self) -> tuple[int, ...]:
        """The values that the model returns."""
        return tuple(indices(self.trace.outputs))

    @cached_property
    def live(self) -> frozenset[int]:
        """The values that some output of the model depends on."""
        return self.before(self.outputs)

    @cached_property
    def used(self) -> frozenset[int]:
        """The values that an output depends on, or that are kept: written into a buffer, a
        parameter, an input or a tensor that the pass did not make."""
        kept = [
            index
            for op in self.trace.ops
            for index in op.outputs
            if self.trace.values[index].storage in self._lasting
        ]
        return self.before((*self.outputs, *kept))

    @cached_property
    def _lasting(self) -> frozenset[int]:
        values = self.trace.values
        return frozenset(value.storage for value in values if value.kind != "computed")

    @cached_property
    def fed(self) -> frozenset[int]:
        """The values that depend on what the model was given, that itself included."""
        return self.after(value.index for value in self.trace.values if value.kind == "input")

    def before(self, values: Iterable[int]) -> frozenset[int]:
        """What these values were computed from, they themselves included."""
        found = set(values)
        for op in reversed(self.trace.ops):
            if not found.isdisjoint(op.outputs):
                found.update(op.inputs)
                found.update(self.wrapped[v] for v in op.inputs if v in self.wrapped)
        return frozenset(found)

    def after(self, values: Iterable[int], ops: Iterable[Op] | None = None) -> frozenset[int]:
        """What was computed from these values, by these ops alone if given; they themselves
        included."""
        found = set(values)
        for op in self.trace.ops if ops is None else ops:
            if not found.isdisjoint(op.inputs):
                found.update(op.outputs)
        return frozenset(found)

    def reaches(
        self, values: Iterable[int], others: Iterable[int], ops: Iterable[Op] | None = None
    ) -> bool:
        """Whether any of the others was computed from any of these values, by these ops alone if
        given, or is one of them."""
        return not self.after(values, ops).isdisjoint(others)

    # Ops and where paths meet -------------------------------------------------------------

    def ops_of(self, call: ModuleCall) -> tuple[Op, ...]:
        """The ops that ran inside a module call, calls below included."""
        return self.trace.ops[call.first_op : call.end_op]

    def producer(self, value: int) -> Op | None:
        """The op that computed a value."""
        index = self.trace.values[value].producer
        return None if index is None else self.trace.ops[index]

    def joins(self, call: ModuleCall) -> Iterator[Op]:
        """The ops in a module call where two different values from the call's input meet.

        Sums, concatenations, products and attention of values that both come from what the call
        was given; a product with a mere parameter is none.
        """
        ops = self.ops_of(call)
        given = self.after(indices(call.inputs), ops)
        for op in ops:
            if op.name in JOINS and len(given.intersection(op.inputs)) > 1:
                yield op

    def is_bypassed(self, call: ModuleCall) -> bool:
        """Whether what a module call gives is joined, later, with a value that does not come
        through it: a skip around it, another branch."""
        later = self.trace.ops[call.end_op :]
        through = self.after(indices(call.outputs), later)
        for op in later:
            if op.name in JOINS:
                fed = self.fed.intersection(op.inputs)
                if not fed.isdisjoint(through) and not fed <= through:
                    return True
        return False

    def origin(self, value: int, through: frozenset[str] = MOVES) -> int:
        """The value that this one is a rearrangement of: back through ops that only move."""
        while (op := self.producer(value)) is not None and op.name in through and op.inputs:
            value = op.inputs[0]
        return value

    def last_nonlinear(self, value: int, through: frozenset[str] = MOVES) -> Op | None:
        """The op that computed a value, seen through those that only move it."""
        return self.producer(self.origin(value, through))

    # What nothing reads -------------------------------------------------------------------

    def dead_places(self) -> dict[Location, list[Op]]:
        """The places in the source all of whose results nothing uses, with the ops there: calls
        of modules as a whole, and other ops of the user's code."""
        found: dict[Location, list[Op]] = {}
        alive: set[Location] = set()
        for call in self.trace.calls:
            if call.location is not None:
                ops = self.ops_of(call)
                if not ops or not all(self._is_dead(op) for op in ops):
                    alive.add(call.location)
                else:
                    found.setdefault(call.location, []).extend(ops)
        for op in self.trace.ops:
            if op.location is not None and op.location not in found:
                if self._is_dead(op) and not self._counts(op):
                    found[op.location] = [op]
                else:
                    alive.add(op.location)
        return {at: ops for at, ops in found.items() if at not in alive}

    def _is_dead(self, op: Op) -> bool:
        return bool(op.outputs) and (self.used.isdisjoint(op.outputs) or self._counts(op))

    def _counts(self, op: Op) -> bool:
        """Whether an op only keeps a layer's own books: how many batches a norm has seen."""
        if not op.in_place or len(op.inputs) != 1:
            return False
        return (self.trace.values[op.inputs[0]].name or "").endswith("num_batches_tracked")

    def layers_before(self, ops: Iterable[Op]) -> list[str]:
        """The modules whose parameters only lead to what these dead ops give, in order."""
        values = self.before(index for op in ops for index in op.outputs)
        return list(
            dict.fromkeys(
                self.trace.calls[op.call].path
                for op in self.trace.ops
                if op.call is not None
                and self._is_dead(op)
                and not values.isdisjoint(op.outputs)
                and any(self.trace.values[index].kind == "parameter" for index in op.inputs)
            )
        )

    # Linearity ----------------------------------------------------------------------------

    def affine_chain(self, op: Op) -> tuple[Op, ...]:
        """The ops between an affine op and the affine op before it, both included.

        Empty where something nonlinear, a join or no affine op lies before it.
        """
        chain = [op]
        value = op.inputs[0] if op.inputs else None
        while value is not None:
            before = self.producer(value)
            if before is None:
                return ()
            chain.append(before)
            if before.name in AFFINE:
                return tuple(reversed(chain))
            data = [v for v in before.inputs if self.trace.values[v].kind in ("computed", "input")]
            if before.name not in LINEAR or len(data) != 1:
                return ()
            value = data[0]
        return ()

    # Gradients ----------------------------------------------------------------------------

    @cached_property
    def carrying(self) -> frozenset[int]:
        """The values that a gradient may flow through.

        Below a scripted function torch records kernels and says nothing of gradients: there it is
        what comes of such values.
        """
        found = {value.index for value in self.trace.values if value.requires_grad}
        for op in self.trace.ops:
            is_kernel = op.function.startswith("aten.") and op.name != "detach"
            if is_kernel and op.grad_enabled and not found.isdisjoint(op.inputs):
                found.update(op.outputs)
        return frozenset(found)

    @cached_property
    def wrapped(self) -> Mapping[int, int]:
        """The tensors that user code made anew from the memory of a computed one, without its
        history (`nn.Parameter(x)`), with that one."""
        computed: dict[int, int] = {}
        found: dict[int, int] = {}
        for value in self.trace.values:
            if value.producer is not None:
                computed[value.storage] = value.index
            elif value.kind == "constant" and value.storage in computed:
                found[value.index] = computed[value.storage]
        return found

    @cached_property
    def reached_by_gradient(self) -> frozenset[int]:
        """The values that a loss on what the pass ends in would compute a gradient for.

        A pass ends in its outputs, and in whatever nothing reads: a loss may be kept somewhere.
        """
        values = self.trace.values
        ends = self.carrying.difference(self.wrapped.values())
        found = {value for value in ends if not values[value].users}
        found.update(self.carrying.intersection(self.outputs))
        for op in reversed(self.trace.ops):
            through = self._behind_autograd(op)
            found.update(before for output, before in through.items() if output in found)
            own = [output for output in op.outputs if output not in through]
            if not found.isdisjoint(own) and not self.stops_gradient(op):
                found.update(self.carrying.intersection(op.inputs))
        return frozenset(found)

    def _behind_autograd(self, op: Op) -> Mapping[int, int]:
        """The tensors whose memory an op rewrote without autograd's knowledge (`x.data[i] = y`),
        each with what it was before: its gradient goes on from there."""
        values = self.trace.values
        if not op.in_place or not op.outputs or values[op.outputs[0]].requires_grad:
            return {}
        found: dict[int, int] = {}
        for output in op.outputs[1:]:
            now = values[output]
            before = [
                v.index for v in values[: op.outputs[0]]
                if v.storage == now.storage and v.shape == now.shape and v.requires_grad
            ]  # fmt: skip
            if now.requires_grad and before:
                found[output] = before[-1]
        return found

    def stops_gradient(self, op: Op) -> bool:
        """Whether no gradient goes from what an op gives back to what it was given, although that
        has one: below `no_grad`, a detached copy, an index, a step function."""
        if self.carrying.isdisjoint(op.inputs):
            return False
        return op.name in STEPS or self.carrying.isdisjoint(op.outputs)

    def barriers(self, parameter: int) -> list[Op]:
        """The ops that keep the gradient of a live output from a parameter, in order."""
        found: list[Op] = []
        carried = {parameter}
        for op in self.trace.ops:
            if carried.isdisjoint(op.inputs) or self.live.isdisjoint(op.outputs):
                continue
            if self.stops_gradient(op):
                found.append(op)
            else:
                carried.update(op.outputs)
        return found

    # Depth --------------------------------------------------------------------------------

    @cached_property
    def depth(self) -> int:
        """How many ops with weights the longest path from an input to an output applies."""
        depths: dict[int, int] = {}
        for op in self.trace.ops:
            fed = [value for value in op.inputs if value in self.fed]
            longest = max((depths.get(value, 0) for value in fed), default=0)
            for value in op.outputs if fed else ():
                depths[value] = longest + (op.name in AFFINE)
        return max((depths.get(value, 0) for value in self.outputs), default=0)
