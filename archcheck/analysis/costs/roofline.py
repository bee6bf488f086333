"""A lower bound of a step's time on a device: each kernel at the roof (Williams et al., 2009)."""

from __future__ import annotations

from dataclasses import dataclass

from archcheck.analysis.costs.devices import Device
from archcheck.analysis.costs.optimizers import Optimizer, Weight
from archcheck.core.precisions import Precision
from archcheck.evidence.training_step import TrainingStep

# No launch of a kernel takes less, by NVIDIA's own measurements of empty ones.
LAUNCH_SECONDS = 2e-6


@dataclass(frozen=True, slots=True)
class TimeBound:
    """Seconds that a step takes at least.

    Attributes:
        launch_bound: How many kernels would be done sooner than the next one is launched.
    """

    seconds: float
    kernels: int
    launch_bound: int
    memory_bound: int


def time_bound(
    step: TrainingStep,
    optimizer: Optimizer,
    weights: tuple[Weight, ...],
    precision: Precision,
    device: Device,
) -> TimeBound | None:
    """At full rate and full bandwidth, nothing fused; None where the device's are not known."""
    rate = _fastest(device, precision)
    if rate is None or device.bandwidth is None or not step.kernels:
        return None
    seconds, launch, memory = 0.0, 0, 0
    for kernel in step.kernels:
        arithmetic = kernel.work / rate
        movement = kernel.moved / device.bandwidth
        seconds += max(arithmetic, movement)
        launch += max(arithmetic, movement) < LAUNCH_SECONDS
        memory += movement > arithmetic
    if step.no_backward is None:
        seconds += optimizer.passes * sum(weight.bytes for weight in weights) / device.bandwidth
    return TimeBound(seconds, len(step.kernels), launch, memory)


def _fastest(device: Device, precision: Precision) -> float | None:
    """The rate of products: singles may run on the matrix units, if the user allows it."""
    if precision.rate == "fp32":
        return device.rate("tf32") or device.rate("fp32")
    return device.rate(precision.rate)
