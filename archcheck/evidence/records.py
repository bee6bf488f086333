"""What a traced pass is recorded as: values, operators, module calls, lines, failures.

Plain frozen data, without torch. Positions are those of the text that Python compiled (see
`finding`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from archcheck.core.finding import Location
from archcheck.core.target import Shape

Rung: TypeAlias = Literal["meta", "fake", "real"]
# ("dim", value, dimension), ("count", value), or an operator's name with one or two of them or
# plain numbers: ("add", ("dim", 3, 0), 1).
SizeSource: TypeAlias = tuple[Any, ...]


class SizeRead(int):
    """A number among an op's arguments that the model's code computed from sizes of tensors."""

    source: SizeSource

    def __new__(cls, value: int, source: SizeSource) -> SizeRead:
        size = super().__new__(cls, value)
        size.source = source
        return size

    def __reduce__(self) -> tuple[Any, ...]:
        return SizeRead, (int(self), self.source)


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor at one moment: an in-place operator makes a new value on the same storage.

    Attributes:
        index: Its place in `Trace.values`.
        kind: Where it came from; `constant` is a tensor that user code made outside any
            recorded operator, or that a module holds unregistered.
        name: The input's name, or the full path of a parameter or buffer; else None.
        producer: The index of the op that made it, None for what the pass started with.
        users: The indices of the ops that read it, in order.
        storage: Equal for values that share memory (views, in-place results).
        version: How often its storage had been written when this value was made.
        stride: In elements. Tells whether a `view` is possible.
        device: `model` where the tensor moves with the model and its input; `cpu` where user code
            made it without saying a device, so that it would stay behind.
        requires_grad: Whether a gradient would flow through it.
        guessed: Recovery put it in the place of a result that was never computed, and its shape
            is a guess. A failure that only a guessed value causes is a consequence.
    """

    index: int
    shape: Shape
    dtype: str
    kind: Literal["input", "parameter", "buffer", "constant", "computed"]
    name: str | None = None
    producer: int | None = None
    users: tuple[int, ...] = ()
    storage: int = 0
    version: int = 0
    stride: Shape = ()
    device: str = "model"
    requires_grad: bool = False
    guessed: bool = False


@dataclass(frozen=True, slots=True)
class Op:
    """One tensor function as the user's code (or a torch layer's forward) called it.

    `F.linear`, `x @ y`, `x.view(…)`, `torch.cat`: one op each, however many kernels ran below.
    What runs below no Python function (a ScriptModule, a custom autograd function) is recorded
    kernel by kernel.

    Attributes:
        name: Canonical: no trailing underscore, no dunder (`add`, `linear`, `conv2d`, `view`,
            `softmax`, `cat`, `matmul`, `batch_norm`, `scaled_dot_product_attention`…).
        function: As it was called, such as `torch.nn.functional.softmax` or `torch.Tensor.view`.
        inputs: Indices of the tensors among the arguments, in order, those in lists included.
        outputs: Indices of what it gave, and of the views that it rewrote in place. Empty where it
            raised and nothing could take its place.
        arguments: Every argument by its parameter's name where torch tells it (by position
            otherwise, "0", "1"…): plain numbers, strings, tuples; a tensor stands as its
            `ValueIndex`. Arguments left at their defaults are there where torch tells them.
        in_place: Whether it wrote into its first input.
        call: The index of the innermost module call that it ran in; None outside all.
        location: The sub-expression, in the innermost frame of the user's code.
        macs: Fused multiply-adds, as fvcore counts them.
        flops: Floating point operations, as torch's FlopCounterMode counts them (2 a
            multiply-add).
        failure: The index of the failure that it raised; its outputs are then recovery's.
        grad_enabled: False below `torch.no_grad()`.
    """

    index: int
    name: str
    function: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    in_place: bool = False
    call: int | None = None
    location: Location | None = None
    macs: int = 0
    flops: int = 0
    failure: int | None = None
    grad_enabled: bool = True

    def argument(self, *names: str, default: Any = None) -> Any:
        """Return an argument by the first of these names that it has."""
        return next((self.arguments[name] for name in names if name in self.arguments), default)


@dataclass(frozen=True, slots=True)
class ValueIndex:
    """Stands for a tensor inside nested arguments, inputs and outputs."""

    index: int


@dataclass(frozen=True, slots=True)
class ModuleCall:
    """One call of a module. `index` is the order in which the calls began.

    `inputs` holds the arguments by forward's parameter names, `outputs` what came back; both keep
    their nesting (tuples, dicts), with a `ValueIndex` for each tensor and None for what is not
    plain data. `first_op` and `end_op` bound the ops that ran inside it, calls below included.
    `direct`: forward was called in place of the module.
    """

    index: int
    path: str
    parent: int | None
    inputs: Mapping[str, Any]
    outputs: Any
    first_op: int
    end_op: int
    location: Location | None = None
    failure: int | None = None
    direct: bool = False


@dataclass(frozen=True, slots=True)
class Module:
    """A module of the model, whether the pass called it or not.

    Attributes:
        path: Its first name in `named_modules()`; "" is the model itself.
        aliases: The other paths of the same object.
        type: Its class's name; `qualified_type` has the module's name before it.
        attributes: Its plain public attributes (`in_features`, `kernel_size`, `training`…).
        children: The paths of its direct submodules.
        parameters: Its own parameters and buffers, not its children's: full name to element
            count, in `Trace.parameters` with their shapes.
        constructed: The expression in the user's code that built it.
        defined: The `class` statement of its type, where that is the user's code.
        forward: The `def forward` of its type, where that is the user's code.
        calls: The indices of its calls.
        macs, flops: Over all its calls, calls below included.
    """

    path: str
    type: str
    qualified_type: str
    bases: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    children: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    constructed: Location | None = None
    defined: Location | None = None
    forward: Location | None = None
    calls: tuple[int, ...] = ()
    macs: int = 0
    flops: int = 0
    activation_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter or buffer, named by its first path; `aliases` are its other paths (tied)."""

    name: str
    shape: Shape
    dtype: str
    trainable: bool
    buffer: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        product = 1
        for size in self.shape:
            product *= size
        return product


@dataclass(frozen=True, slots=True)
class StateEntry:
    """An entry of the model's `state_dict()`, or a buffer that is left out of it.

    Attributes:
        name: Its key, hooks and wrappers included.
        shape: None for what is no tensor (`_extra_state`), or a lazy parameter without a size.
        kind: `unsaved` is a buffer that is registered as not persistent.
        module: The class of the module that has it, such as `Linear`.
        tie: Equal and not 0 for entries that are one tensor.
        optional: Batch norms load without it from files of before torch 0.4.
    """

    name: str
    shape: Shape | None
    dtype: str
    kind: Literal["parameter", "buffer", "extra", "unsaved"]
    module: str = ""
    tie: int = 0
    optional: bool = False


@dataclass(frozen=True, slots=True)
class LineValue:
    """What an executed line of a user's forward bound to a name: one tensor, or a nest of them."""

    location: Location
    name: str
    value: Any
    call: int | None = None


@dataclass(frozen=True, slots=True)
class SizeName:
    """What a line of a user's code called a size of a tensor: `batch, time, _ = x.shape`."""

    location: Location
    name: str
    value: int
    dimension: int


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of the user's code in a failure's traceback."""

    location: Location
    function: str


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception, with what raised it and how the trace went on.

    Attributes:
        stage: What was being done.
        error: The exception's type, such as `RuntimeError`.
        message: Its text, as raised.
        location: The sub-expression in the innermost frame of the user's code.
        frames: The frames of the user's code, outermost first.
        op, call: What raised it, if inside the pass.
        recovered: An output was put in the place of the missing one, and the pass went on.
        consequence_of: The index of the earlier failure whose guessed value causes this one.
        missing: The name of the package or attribute that could not be imported, if that.
    """

    stage: Literal["import", "construct", "input", "forward", "limit"]
    error: str
    message: str
    location: Location | None = None
    frames: tuple[Frame, ...] = ()
    op: int | None = None
    call: int | None = None
    recovered: bool = False
    consequence_of: int | None = None
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class TracedInput:
    """An argument that the pass was given."""

    name: str
    value: Any  # a nest of ValueIndex
    free: Mapping[int, str] = field(default_factory=dict)  # dimension -> letter


@dataclass(frozen=True, slots=True)
class Sizes:
    """Which sizes of a dimension the model accepts, others as they were.

    `low` and `high` bound the accepted sizes around the traced one, within 1 to `searched`;
    `multiple_of` is the step between them; low, high and step are 1, `searched` and 1 where
    nothing limits it. `dimension` names it: H, W, T, or the user's letter. `tied` are the
    dimensions that have to vary with it; `axes` are (index of the input's value, dimension).
    Where the traced size itself is rejected, the accepted sizes nearest to it are given.
    `others`: sizes come in bands, and some outside this one are accepted too.
    """

    dimension: str
    traced: int
    low: int
    high: int
    multiple_of: int = 1
    searched: int = 1024
    limited_by: int | None = None  # the op that rejects the nearest sizes outside
    tied: tuple[str, ...] = ()
    axes: tuple[tuple[int, int], ...] = ()
    others: bool = False


SizeAnswer: TypeAlias = Literal["any", "range", "bands", "only", "unknown"]
"""What is known of the sizes of a dimension: nothing limits it; some work; only the traced one
does; or that could not be told."""
