"""What a traced model is and costs, layer by layer: plain data, computed from its trace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from archcheck.core.finding import Location

if TYPE_CHECKING:
    from archcheck.core.target import Shape
    from archcheck.evidence.records import Failure, ModuleCall, Rung, Sizes
    from archcheck.evidence.trace import Trace


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor that went in or came out: its place in the arguments or results, and its shape.

    `value`: which of the trace's it is.
    `guessed`: recovery put it in the place of a result that was never computed.
    """

    shape: Shape
    dtype: str
    name: str = ""
    guessed: bool = False
    value: int = field(default=-1, compare=False)


@dataclass(frozen=True, slots=True)
class ParameterCounts:
    """Elements, each parameter and buffer once however many modules share it."""

    total: int
    trainable: int
    buffers: int


@dataclass(frozen=True, slots=True)
class Layer:
    """One module of a traced model, whether the pass called it or not.

    Attributes:
        path: Its first name in `named_modules()`; "" is the model itself.
        calls: How often it was called.
        inputs, outputs: The tensors of its first call.
        varies: A later call had other shapes.
        params: Elements of its parameters and those below it, shared ones once.
        macs: Fused multiply-adds over all its calls, calls below included.
        own_macs: Those of the operators that ran in it and in no module below it (in the model
            itself also those that ran in no module). Over all layers they add up to the total.
        own_ops: The names of the operators behind `own_macs`, in order.
        own_params: Elements of the parameters that bear its name first. Over all layers they
            add up to the total.
        own_names: The last names of those parameters.
        place: Where it was constructed, in the user's file.
        failure: What one of its calls raised.
        used: It was called, or something read a parameter of it or below it.
    """

    path: str
    type: str
    calls: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    params: int
    macs: int
    flops: int
    own_macs: int = 0
    own_ops: tuple[str, ...] = ()
    own_params: int = 0
    own_names: tuple[str, ...] = ()
    varies: bool = False
    place: Location | None = None
    failure: Failure | None = None
    used: bool = True

    @property
    def depth(self) -> int:
        return self.path.count(".") + 1 if self.path else 0

    @property
    def parent(self) -> str:
        return self.path.rpartition(".")[0]


@dataclass(frozen=True)
class TargetReport:
    """What the trace of one target showed: an entry of the JSON's "targets".

    `places` has the user's own position of a module's construction where it differs from the
    trace's (a notebook's cells).
    """

    trace: Trace
    places: Mapping[str, Location] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.trace.target

    @property
    def mode(self) -> Literal["train", "eval"]:
        return self.trace.mode

    @property
    def rung(self) -> Rung | None:
        return self.trace.rung

    @property
    def built(self) -> bool:
        """Whether there is a model to speak of: its constructor returned."""
        return bool(self.trace.modules)

    @property
    def complete(self) -> bool:
        return self.trace.complete

    @cached_property
    def inputs(self) -> tuple[Tensor, ...]:
        return tuple(
            tensor
            for given in self.trace.inputs
            for tensor in _tensors(self.trace, given.value, given.name)
        )

    @cached_property
    def outputs(self) -> tuple[Tensor, ...] | None:
        """What forward returned; None where it never did."""
        return tuple(_tensors(self.trace, self.trace.outputs)) if self.complete else None

    @cached_property
    def params(self) -> ParameterCounts | None:
        if not self.built:
            return None
        weights = [one for one in self.trace.parameters if not one.buffer]
        return ParameterCounts(
            total=sum(one.count for one in weights),
            trainable=sum(one.count for one in weights if one.trainable),
            buffers=sum(one.count for one in self.trace.parameters if one.buffer),
        )

    @property
    def macs(self) -> int | None:
        """As fvcore counts them; None where the pass did not reach its end."""
        return self.trace.macs if self.complete else None

    @property
    def flops(self) -> int | None:
        """As torch's FlopCounterMode counts them; None where the pass did not reach its end."""
        return self.trace.flops if self.complete else None

    @property
    def peak_activation_bytes(self) -> int | None:
        return self.trace.peak_activation_bytes if self.complete else None

    @property
    def uncounted_ops(self) -> Mapping[str, int]:
        return self.trace.uncounted_ops

    @property
    def valid_input_sizes(self) -> tuple[Sizes, ...] | None:
        return self.trace.valid_input_sizes if self.complete else None

    @cached_property
    def modules(self) -> tuple[Layer, ...]:
        """Every module once, the model itself first, in the order of `named_modules()`."""
        return tuple(_layers(self.trace, self.places))


def _tensors(trace: Trace, nest: Any, name: str = "") -> Iterator[Tensor]:
    """The tensors of nested arguments, named as Python would reach them."""
    from archcheck.evidence.records import ValueIndex

    if isinstance(nest, ValueIndex):
        value = trace.values[nest.index]
        yield Tensor(value.shape, value.dtype, name, value.guessed, nest.index)
    elif isinstance(nest, Mapping):
        for key, member in nest.items():
            yield from _tensors(trace, member, f"{name}[{key!r}]" if name else str(key))
    elif isinstance(nest, list | tuple):
        for position, member in enumerate(nest):
            yield from _tensors(trace, member, f"{name}[{position}]" if name else "")


def _of_arguments(trace: Trace, call: ModuleCall) -> tuple[Tensor, ...]:
    return tuple(
        tensor for name, nest in call.inputs.items() for tensor in _tensors(trace, nest, name)
    )


def _layers(trace: Trace, places: Mapping[str, Location]) -> Iterator[Layer]:
    canonical = {one.path: one.path for one in trace.modules}
    canonical.update((alias, one.path) for one in trace.modules for alias in one.aliases)
    counts = {one.name: 0 if one.buffer else one.count for one in trace.parameters}
    first_names = {alias: one.name for one in trace.parameters for alias in one.aliases}
    below = _parameters_below(trace, canonical, first_names)
    read = {value.name for value in trace.values if value.kind == "parameter" and value.users}

    own: dict[str, int] = {}
    names: dict[str, dict[str, None]] = {}
    for op in trace.ops:
        if op.macs:
            path = "" if op.call is None else canonical.get(trace.calls[op.call].path, "")
            own[path] = own.get(path, 0) + op.macs
            names.setdefault(path, {})[op.name] = None

    for module in trace.modules:
        calls = [trace.calls[index] for index in module.calls]
        inputs = [_of_arguments(trace, call) for call in calls]
        outputs = [tuple(_tensors(trace, call.outputs)) for call in calls]
        failures = [call.failure for call in calls if call.failure is not None]
        yield Layer(
            path=module.path,
            type=module.type,
            calls=len(calls),
            inputs=inputs[0] if inputs else (),
            outputs=outputs[0] if outputs else (),
            varies=len({(_shapes(i), _shapes(o)) for i, o in zip(inputs, outputs, strict=True)})
            > 1,
            params=sum(counts.get(name, 0) for name in below[module.path]),
            macs=module.macs,
            flops=module.flops,
            own_macs=own.get(module.path, 0),
            own_ops=tuple(names.get(module.path, ())),
            own_params=sum(counts.get(name, 0) for name in module.parameters),
            own_names=tuple(
                name.rpartition(".")[2] for name in module.parameters if counts.get(name)
            ),
            place=places.get(module.path, module.constructed),
            failure=trace.failures[failures[0]] if failures else None,
            used=bool(calls) or not read.isdisjoint(below[module.path]),
        )


def _parameters_below(
    trace: Trace, canonical: Mapping[str, str], first_names: Mapping[str, str]
) -> dict[str, frozenset[str]]:
    """For each module the first names of its parameters and buffers, and of those below it."""
    modules = {one.path: one for one in trace.modules}
    found: dict[str, frozenset[str]] = {}

    def visit(path: str) -> frozenset[str]:
        if path not in found:
            found[path] = frozenset()  # a module that holds itself ends here
            names = {first_names.get(name, name) for name in modules[path].parameters}
            for child in modules[path].children:
                below = canonical.get(child)
                if below is not None:
                    names |= visit(below)
            found[path] = frozenset(names)
        return found[path]

    for path in modules:
        visit(path)
    return found


def _shapes(tensors: tuple[Tensor, ...]) -> tuple[Shape, ...]:
    return tuple(tensor.shape for tensor in tensors)
