"""What is told of a recorded training step: one object that rules and reports read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from archcheck.analysis.costs.devices import Device, device
from archcheck.analysis.costs.generation import Generation, generation
from archcheck.analysis.costs.optimizers import OPTIMIZERS, Optimizer, Weight, optimizer_name
from archcheck.analysis.costs.overhead import Interval, occupied
from archcheck.analysis.costs.roofline import TimeBound, time_bound
from archcheck.analysis.costs.timeline import Timeline, scales
from archcheck.core.cost_request import CostRequest
from archcheck.core.precisions import Precision, precision
from archcheck.evidence.training_step import DTYPE_BYTES, TrainingStep

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

_MOST_SAMPLES = 1 << 24


@dataclass(frozen=True)
class TrainingCosts:
    """The costs of one step of a traced model, by what was asked."""

    trace: Trace
    step: TrainingStep
    request: CostRequest

    @cached_property
    def optimizer_name(self) -> str:
        return optimizer_name(self.request.optimizer)

    @property
    def optimizer(self) -> Optimizer:
        return OPTIMIZERS[self.optimizer_name]

    @property
    def precision(self) -> Precision:
        return precision(self.request.precision)

    @cached_property
    def device(self) -> Device | None:
        return None if self.request.device is None else device(self.request.device)

    @cached_property
    def weights(self) -> tuple[int, ...]:
        return kept_bytes(self.trace, self.precision)

    @cached_property
    def trained(self) -> tuple[Weight, ...]:
        return tuple(
            Weight(one.name, one.shape, kept_dtype(one.dtype, self.precision))
            for one in self.trace.parameters
            if one.trainable and not one.buffer
        )

    @cached_property
    def timeline(self) -> Timeline:
        return self.at(None)

    def at(self, batch: int | None, **changes: object) -> Timeline:
        """The step with another batch, or otherwise changed."""
        timeline = Timeline(self.step, self.weights, self.trained, self.optimizer, batch=batch)
        return replace(timeline, **changes) if changes else timeline  # type: ignore[arg-type]

    @property
    def peak_bytes(self) -> int:
        return self.timeline.peak.total

    @cached_property
    def occupied(self) -> Interval:
        return occupied(self.timeline)

    @cached_property
    def fits(self) -> bool | None:
        """On the device; None where none is named, or what is unknown decides."""
        return None if self.device is None else self.occupied.fits(self.device.memory)

    @property
    def backward_flops(self) -> int:
        return self.step.backward_flops

    @cached_property
    def time_bound(self) -> TimeBound | None:
        if self.device is None:
            return None
        return time_bound(self.step, self.optimizer, self.trained, self.precision, self.device)

    @cached_property
    def largest_batch(self) -> int | None:
        """The most samples that surely fit on the device; 0 where not one does."""
        if self.device is None or not scales(self.step):
            return None
        return largest_batch(self, self.device.memory)

    @cached_property
    def peak_op(self) -> int | None:
        """The op that the peak is at; None where the optimizer's step or the loss causes it."""
        kernel = self.timeline.peak.kernel
        return None if kernel is None else self.step.kernels[kernel].op

    def peak_text(self) -> str:
        """What causes the peak, in words."""
        kernel = self.timeline.peak.kernel
        if kernel is None:
            return "the optimizer's step"
        one = self.step.kernels[kernel]
        if one.op is None:
            return f"{one.phase} ({one.name.rpartition('::')[2]})"
        module = self.trace.module_of(self.trace.ops[one.op])
        where = f" in `{module.path}`" if module is not None and module.path else ""
        return f"the {one.phase} pass of `{self.trace.ops[one.op].name}`{where}"

    def as_json(self) -> Mapping[str, object]:
        """The member "training" of the JSON."""
        bound, timeline = self.time_bound, self.timeline
        return {
            "optimizer": self.optimizer_name,
            "precision": self.request.precision,
            "loss": self.step.loss or None,
            "batch": self.step.batch,
            "weights_bytes": timeline.weight_bytes,
            "gradients_bytes": timeline.gradient_bytes,
            "optimizer_bytes": timeline.optimizer_bytes,
            "activations_bytes": timeline.activation_bytes,
            "peak_bytes": self.peak_bytes,
            "peak_at": self.peak_text(),
            "device_bytes": [self.occupied.low, self.occupied.high],
            "backward_flops": self.backward_flops,
            "device": None if self.device is None else self.device.name,
            "fits": self.fits,
            "largest_batch": self.largest_batch,
            "time_lower_bound_s": None if bound is None else bound.seconds,
        }


def training_costs(trace: Trace) -> TrainingCosts | None:
    """The costs that were asked for; None where none were, or the step is not known."""
    request, step = trace.request.costs, trace.step
    if request is None or step is None or step.unknown is not None:
        return None
    return TrainingCosts(trace, step, request)


def generation_costs(trace: Trace) -> Generation | None:
    """The costs of generating; None where nobody asked, or no attention keeps a cache."""
    request = trace.request.costs
    if request is None or request.tokens is None or not trace.complete:
        return None
    weights = sum(kept_bytes(trace, precision(request.precision)))
    return generation(trace, precision(request.precision), request.tokens, weights)


def kept_bytes(trace: Trace, kept: Precision) -> tuple[int, ...]:
    """The bytes of each parameter and buffer, in the dtype that a precision keeps it in."""
    return tuple(
        int(one.count * DTYPE_BYTES.get(kept_dtype(one.dtype, kept), 4)) for one in trace.parameters
    )


def kept_dtype(dtype: str, kept: Precision) -> str:
    """The dtype that a precision keeps parameters of a dtype in."""
    floating = dtype in ("float32", "float64", "float16", "bfloat16")
    return kept.weights or dtype if floating else dtype


def largest_batch(costs: TrainingCosts, memory: int) -> int:
    """The most samples that surely fit: the peak is a sum of lines in the batch, so it grows."""

    def fits(batch: int) -> bool:
        return occupied(costs.at(batch)).fits(memory) is True

    if not fits(1):
        return 0
    low, high = 1, 2
    while high < _MOST_SAMPLES and fits(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
