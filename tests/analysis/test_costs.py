"""Optimizers, devices, time and fit: the arithmetic on a recorded step."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from archcheck.analysis.costs.devices import device, devices
from archcheck.analysis.costs.optimizers import OPTIMIZERS, Optimizer, Weight, optimizer_name
from archcheck.analysis.costs.remedies import remedies
from archcheck.analysis.costs.timeline import Timeline
from archcheck.analysis.costs.training import TrainingCosts
from archcheck.core.cost_request import CostRequest, StepRequest
from archcheck.evidence.trace import Trace
from archcheck.evidence.training_step import Block, Kernel, TrainingStep
from archcheck.tracing.costs.memory import ActivationMemory
from archcheck.tracing.ladder import TensorSpec, trace_module
from archcheck.tracing.record.recorder import tensors_in

SHAPES = ((64, 128), (256, 64), (100,), (32, 3, 3, 3))
MATRICES = ((64, 128), (256, 64), (96, 96))
O = torch.optim  # noqa: E741
REAL: dict[str, tuple[Callable[..., Any], Sequence[tuple[int, ...]]]] = {
    "sgd": (lambda p: O.SGD(p, 0.1, foreach=True), SHAPES),
    "sgd-momentum": (lambda p: O.SGD(p, 0.1, momentum=0.9, foreach=True), SHAPES),
    "adam": (lambda p: O.Adam(p, foreach=True), SHAPES),
    "adamw": (lambda p: O.AdamW(p, foreach=True), SHAPES),
    "adamw-fused": (lambda p: O.AdamW(p, fused=True), SHAPES),
    "adafactor": (lambda p: O.Adafactor(p, foreach=False), SHAPES),
    "rmsprop": (lambda p: O.RMSprop(p, foreach=True), SHAPES),
    "adagrad": (lambda p: O.Adagrad(p, foreach=True), SHAPES),
    "adamax": (lambda p: O.Adamax(p, foreach=True), SHAPES),
    "nadam": (lambda p: O.NAdam(p, foreach=True), SHAPES),
    "radam": (lambda p: O.RAdam(p, foreach=True), SHAPES),
    "adadelta": (lambda p: O.Adadelta(p, foreach=True), SHAPES),
}
if hasattr(O, "Muon"):
    REAL["muon"] = (lambda p: O.Muon(p), MATRICES)


class Watched(TorchDispatchMode):
    def __init__(self, memory: ActivationMemory) -> None:
        super().__init__()
        self._memory = memory

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tensors_in(result):
            self._memory.saw(tensor)
        return result


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(REAL))
def test_an_optimizer_keeps_and_takes_what_the_real_one_does(name: str) -> None:
    make, shapes = REAL[name]
    parameters = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    optimizer = make(parameters)
    states: list[torch.Tensor] = []
    for _ in range(2):
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        gradients = [parameter.grad for parameter in parameters]
        memory = ActivationMemory([*parameters, *gradients, *states])  # type: ignore[list-item]
        with Watched(memory):
            optimizer.step()
        states = [
            value
            for state in optimizer.state.values()
            for value in state.values()
            if isinstance(value, torch.Tensor)
        ]
    weights = [Weight(str(place), shape, "float32") for place, shape in enumerate(shapes)]
    ours = OPTIMIZERS[name]
    # Scalars that count steps are left out.
    kept = sum(one.numel() * 4 for one in states if one.dim() > 0)
    assert sum(ours.state_bytes(weights)) == kept
    assert memory.peak == pytest.approx(ours.temporary(weights), rel=0.01, abs=64)


def test_eight_bits_keep_a_byte_and_a_scale_for_each_block() -> None:
    weights = [Weight("large", (1024, 1024), "float32"), Weight("small", (100,), "float32")]
    kept = OPTIMIZERS["adamw8bit"].state_bytes(weights)
    assert sum(kept) == 2 * (1024 * 1024 + 4096 * 4) + 2 * 100 * 4 + 2 * 256 * 4


@pytest.mark.parametrize(
    ("name", "known"),
    [("AdamW", "adamw"), ("adamw_8bit", "adamw8bit"), ("momentum", "sgd-momentum")],
)
def test_an_optimizer_has_several_names(name: str, known: str) -> None:
    assert optimizer_name(name) == known


def test_an_unknown_optimizer_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="'admw' is no known optimizer; did you mean 'adamw'"):
        optimizer_name("admw")


def test_at_least_forty_devices_each_have_a_source_with_its_month() -> None:
    assert len(devices()) >= 40
    for one in devices().values():
        assert one.source and re.fullmatch(r"20\d\d-\d\d", one.date), one
        assert one.memory >= 8 * 1024**3
        assert one.bandwidth is None or 1e11 < one.bandwidth < 1e13
        for rate in (one.rates or {}).values():
            assert 1e12 < rate < 1e16


def test_a_device_is_a_name_or_a_size() -> None:
    assert device("H100").name == "h100-80gb"
    assert device("24GiB").memory == 24 * 1024**3
    with pytest.raises(ValueError, match=r"did you mean 'h100-80gb'.*24GiB"):
        device("h100-80g")


# Two samples of 100 bytes each are kept; a gradient of 1,000 stays; 600 come and go in between.
STEP = TrainingStep(
    batch=2,
    start=(0,),
    blocks=(
        Block(40, "input", growth=20),
        Block(200, "activation", growth=100),
        Block(600, "activation_gradient", growth=300),
        Block(1000, "gradient", name="weight", growth=0),
    ),
    kernels=(
        Kernel("forward", "forward", 0, (1,), (), 10, 10),
        Kernel("one", "backward", 0, (2,), (), 10, 10),
        Kernel("two", "backward", 0, (3,), (1, 2), 10, 10),
    ),
)
WEIGHTS = (Weight("weight", (250,), "float32"),)


def line(optimizer: Optimizer, **more: Any) -> Timeline:
    return Timeline(STEP, (1000,), WEIGHTS, optimizer, rounding=1, **more)


def test_the_peak_is_the_most_that_is_there_at_once() -> None:
    plain = line(OPTIMIZERS["sgd"])
    assert [moment.total for moment in plain.moments] == [1240, 1840, 2840, 2040]
    assert plain.peak.kernel == 2
    assert plain.gradient_bytes == 1000 and plain.activation_bytes == 200
    # Two states of 1,000 all the time, and a copy of the weights while it steps.
    adam = line(OPTIMIZERS["adamw"])
    assert [moment.total for moment in adam.moments] == [3240, 3840, 4840, 5040]
    assert adam.peak.kernel is None
    assert sum(adam.peak.by_kind.values()) == 5040


def test_blocks_are_rounded_as_the_allocator_rounds_them() -> None:
    timeline = Timeline(STEP, (1000,), WEIGHTS, OPTIMIZERS["sgd"])
    assert timeline.moments[0].total == 1024 + 512 + 512


def test_another_batch_is_a_line() -> None:
    assert line(OPTIMIZERS["sgd"], batch=4).peak.total == 2840 + 2 * (20 + 100 + 300)


def test_what_a_checkpoint_drops_is_not_there_in_between() -> None:
    dropped = line(OPTIMIZERS["sgd"], dropped={1: (0, 2)})
    assert [moment.total for moment in dropped.moments] == [1240, 1640, 2840, 2040]


def traced(width: int, blocks: int, batch: int) -> Trace:
    def build() -> torch.nn.Module:
        layers = [
            torch.nn.Sequential(
                torch.nn.Linear(width, 4 * width),
                torch.nn.GELU(),
                torch.nn.Linear(4 * width, width),
            )
            for _ in range(blocks)
        ]
        return torch.nn.Sequential(*layers)

    return trace_module(build, [TensorSpec((batch, width), None)], training=StepRequest())


def costs(trace: Trace, **how: Any) -> TrainingCosts:
    assert trace.step is not None
    return TrainingCosts(trace, trace.step, CostRequest(**how))


def test_the_largest_batch_is_the_last_that_fits() -> None:
    found = costs(traced(64, 4, 16), optimizer="sgd", device="2GiB")
    largest = found.largest_batch
    assert largest is not None and largest > 16
    again = costs(traced(64, 4, largest), optimizer="sgd", device="2GiB")
    assert again.fits is True
    assert costs(traced(64, 4, largest + 1), optimizer="sgd", device="2GiB").fits is not True


def test_remedies_save_what_they_say() -> None:
    trace = traced(64, 6, 4096)
    found = costs(trace, optimizer="sgd", device="1GiB")
    by_text = {remedy.text: remedy for remedy in remedies(found)}
    checkpoints = next(remedy for text, remedy in by_text.items() if "checkpointing" in text)
    assert checkpoints.flops > 0 and 0 < checkpoints.saves < found.peak_bytes
    assert [one.saves for one in remedies(found)] == sorted(
        (one.saves for one in remedies(found)), reverse=True
    )


def test_real_checkpoints_hold_no_more_than_the_remedy_says() -> None:
    """The same blocks, checkpointed by torch, and recorded."""
    from torch.utils.checkpoint import checkpoint

    class Checkpointed(torch.nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for block in self:
                x = checkpoint(block, x, use_reentrant=False)
            return x

    def build() -> torch.nn.Module:
        plain = [
            torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.GELU(), torch.nn.Linear(256, 64))
            for _ in range(6)
        ]
        return Checkpointed(*plain)

    found = costs(traced(64, 6, 4096), optimizer="sgd")
    remedy = next(one for one in remedies(found) if "checkpointing" in one.text)
    real = trace_module(build, [TensorSpec((4096, 64), None)], training=StepRequest())
    said = found.peak_bytes - remedy.saves
    assert costs(real, optimizer="sgd").peak_bytes == pytest.approx(said, rel=0.1)


def test_time_is_bounded_by_the_slower_of_arithmetic_and_memory() -> None:
    bound = costs(traced(256, 4, 512), device="h100-80gb").time_bound
    assert bound is not None and 0 < bound.launch_bound <= bound.kernels
    slower = costs(traced(256, 4, 512), device="t4").time_bound
    assert slower is not None and slower.seconds > bound.seconds
    assert costs(traced(256, 4, 512), device="24GiB").time_bound is None
