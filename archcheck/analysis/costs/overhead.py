"""What an accelerator's memory holds besides tensors, as an interval.

Low is what nobody gets around; high is generous. The context of CUDA takes 135 MiB on a T4 and up
to 600 MiB on a Hopper with all of torch's kernels loaded; cuBLAS keeps 8 MiB a stream, on Hopper
32; cuDNN's convolutions choose among algorithms that take memory; blocks that are freed in another
order than they are asked for leave holes.
"""

from __future__ import annotations

from dataclasses import dataclass

from archcheck.analysis.costs.timeline import Timeline

MIB = 1024**2
_CONTEXT = (128 * MIB, 640 * MIB)
_PRODUCTS = (0, 64 * MIB)
_CONVOLUTIONS = (0, 256 * MIB)
_HOLES = 0.1
# Of the memory on the data sheet a driver leaves at least so much (a T4 with ECC).
_LEFT = 0.91


@dataclass(frozen=True, slots=True)
class Interval:
    """Bytes, at least and at most."""

    low: int
    high: int

    def fits(self, memory: int) -> bool | None:
        """Whether it is in a memory of this size; None where that depends on what is unknown."""
        if self.low > memory:
            return False
        return True if self.high <= memory * _LEFT else None


def occupied(timeline: Timeline) -> Interval:
    """All that the step takes of an accelerator's memory."""
    peak = timeline.peak.total
    names = {kernel.name for kernel in timeline.step.kernels}
    low, high = _CONTEXT
    high += _PRODUCTS[1]
    if any("convolution" in name for name in names):
        high += _CONVOLUTIONS[1]
    moving = max(peak - timeline.weight_bytes - timeline.optimizer_bytes, 0)
    return Interval(peak + low, peak + high + int(_HOLES * moving))
