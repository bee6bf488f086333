"""What one or two passes on small real tensors showed of a model: plain frozen data.

Numbers are those of fixed seeds. What they mean, and whether it is a defect, is for rules to say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal

from archcheck.core.finding import Location
from archcheck.core.target import Shape


@dataclass(frozen=True, slots=True)
class ProbedOp:
    """An op of a real pass, as `Op` names it.

    Attributes:
        module: The path of the module that it ran in.
        location: The sub-expression, in the innermost frame of the user's code.
        trivial: It normalises over a single element (a softmax over one score, a norm over one
            feature) or works on an empty tensor, so that this input alone keeps a gradient from it.
    """

    name: str
    module: str = ""
    location: Location | None = None
    trivial: bool = False


@dataclass(frozen=True, slots=True)
class NonFinite:
    """Values that are no numbers, and where they began.

    Attributes:
        kind: The worst that is there: a NaN, or an infinity.
        seen: What holds them at the end: an output, the gradient of a parameter, or a parameter
            that its constructor never fills.
        name: That of the parameter; of an output its place.
        op: What made them of finite numbers, in the forward pass or in its own derivative; None
            where that was not found.
        backward: They begin in the derivative: the op itself gave finite numbers.
        count, total: How many of the values that `op` gave, in its first call that gave any.
        least, greatest: The bounds of the finite numbers that went into it.
        all_masked: It is a softmax, and a whole row of what went in is -inf.
    """

    kind: Literal["nan", "inf"]
    seen: Literal["output", "gradient", "parameter"]
    name: str
    op: ProbedOp | None = None
    backward: bool = False
    count: int = 0
    total: int = 0
    least: float | None = None
    greatest: float | None = None
    all_masked: bool = False


@dataclass(frozen=True, slots=True)
class NoGradient:
    """A trainable parameter without a gradient, in every pass that was made.

    Attributes:
        missing: It has none at all; else it has one that is exactly zero.
        reaches: An output was computed from it.
        barrier: The last op, in the order of the forward pass, that gets a gradient and hands
            none down to the parameter.
    """

    parameter: str
    missing: bool
    reaches: bool
    barrier: ProbedOp | None = None


@dataclass(frozen=True, slots=True)
class DeadUnits:
    """A rectifier whose units never let anything through.

    Attributes:
        units, dead: Its channels, and how many of them gave nothing but zero.
        seen: How many values of each unit there were.
        greatest: The greatest number that went in.
    """

    op: ProbedOp
    units: int
    dead: int
    seen: int
    greatest: float


@dataclass(frozen=True, slots=True)
class Series:
    """How strong the signal is behind each block of a chain of like modules, in order.

    Attributes:
        pattern: Their paths with `*` for the numbers that differ.
        paths: One for each block.
        forward: The standard deviation between samples of what each block gives.
        backward: The root mean square of the gradient there.
    """

    pattern: str
    paths: tuple[str, ...]
    forward: tuple[float, ...]
    backward: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class BatchLeak:
    """In eval mode one sample was changed, and outputs of others changed.

    Attributes:
        sample: The sample that was changed, of `samples`.
        inputs: The inputs that it was changed in, by name.
        others: The samples whose outputs changed, too.
        change: The greatest change of theirs, as a share of the greatest output.
        op: Where samples first meet; None where that was not found.
    """

    sample: int
    samples: int
    inputs: tuple[str, ...]
    others: tuple[int, ...]
    change: float
    op: ProbedOp | None = None


@dataclass(frozen=True, slots=True)
class ProbedInput:
    """A tensor that the passes were given."""

    name: str
    shape: Shape
    dtype: str


@dataclass(frozen=True, slots=True)
class Probe:
    """All that the passes showed.

    Attributes:
        inputs: What they were given.
        smaller: Why that is smaller than what the user asked for, in a sentence.
        skipped: What was not looked at, and why, in sentences.
        passes: How many training passes the gradients were looked at in.
        parameters: The trainable parameters that were looked at.
        deterministic: Whether two equal calls in eval mode give the same; None where it did not
            matter.
    """

    inputs: tuple[ProbedInput, ...] = ()
    smaller: str | None = None
    skipped: tuple[str, ...] = ()
    passes: int = 0
    parameters: int = 0
    non_finite: tuple[NonFinite, ...] = ()
    no_gradient: tuple[NoGradient, ...] = ()
    dead_units: tuple[DeadUnits, ...] = ()
    series: tuple[Series, ...] = ()
    batch_leak: BatchLeak | None = None
    deterministic: bool | None = None

    def as_json(self) -> dict[str, Any]:
        """Return what was looked at, for the "probe" of a target."""
        return {
            "inputs": [
                {"name": one.name, "shape": list(one.shape), "dtype": one.dtype}
                for one in self.inputs
            ],
            "smaller": self.smaller,
            "passes": self.passes,
            "parameters": self.parameters,
            "without_gradient": [one.parameter for one in self.no_gradient if one.reaches],
            "deterministic": self.deterministic,
            "signal": [
                {
                    "blocks": list(one.paths),
                    "forward": [float(f"{value:.3g}") for value in one.forward],
                    "backward": [float(f"{value:.3g}") for value in one.backward],
                }
                for one in self.series
            ],
            "skipped": list(self.skipped),
        }

    def relocated(self, of: Callable[[Location | None], Location | None]) -> Probe:
        """Return the same with every place changed."""
        moved = _relocated(self, of)
        assert isinstance(moved, Probe)
        return moved


def _relocated(value: Any, of: Callable[[Location | None], Location | None]) -> Any:
    if isinstance(value, Location):
        return of(value)
    if isinstance(value, tuple):
        return tuple(_relocated(item, of) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        changed = {one.name: _relocated(getattr(value, one.name), of) for one in fields(value)}
        return replace(value, **changed)
    return value
