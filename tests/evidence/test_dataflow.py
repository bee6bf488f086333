"""The graph of real passes: what reaches what, where paths meet, what is linear, what is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from archcheck.evidence.dataflow import Dataflow, indices
from archcheck.evidence.records import ModuleCall, Op, ValueIndex
from archcheck.evidence.trace import Trace

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from archcheck.tracing.ladder import TensorSpec, trace_module  # noqa: E402


def flow_of(build: Callable[[], Any], *shapes: tuple[int, ...]) -> Dataflow:
    inputs = [TensorSpec(shape) for shape in shapes]
    trace = trace_module(build, inputs, target="model", path=__file__)
    assert trace.complete
    assert not trace.failures
    return trace.dataflow


def ops(flow: Dataflow, name: str) -> list[Op]:
    return [op for op in flow.trace.ops if op.name == name]


def call(flow: Dataflow, path: str) -> ModuleCall:
    return next(call for call in flow.trace.calls if call.path == path)


def weight(flow: Dataflow, name: str) -> int:
    return next(value.index for value in flow.trace.values if value.name == name)


def names(found: Sequence[Op]) -> list[str]:
    return [op.name for op in found]


class Functional(nn.Module):
    """Any function of x as a model with a few layers."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.one = nn.Linear(4, 4)
        self.two = nn.Linear(4, 4)
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.register_buffer("kept", torch.zeros(4))
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self, x)


def graph(function: Callable[..., Any], *shape: int) -> Dataflow:
    return flow_of(lambda: Functional(function), shape or (2, 4))


def test_what_an_output_depends_on_is_live_and_the_rest_is_not() -> None:
    def forward(self: Functional, x: torch.Tensor) -> Any:
        self.two(x)
        return {"scores": (self.one(x),)}

    flow = graph(forward)
    first, second = ops(flow, "linear")
    assert second.outputs[0] in flow.live
    assert first.outputs[0] not in flow.live
    assert flow.outputs == second.outputs
    assert flow.reaches([weight(flow, "one.weight")], flow.outputs)
    assert not flow.reaches([weight(flow, "two.weight")], flow.outputs)
    # A statement that drops a result: the place is dead, and `two` computes for it alone.
    ((place, dead),) = flow.dead_places().items()
    assert place == first.location
    assert flow.layers_before(dead) == ["two"]


def test_what_is_written_into_a_buffer_is_used() -> None:
    def forward(self: Functional, x: torch.Tensor) -> Any:
        with torch.no_grad():
            self.kept.lerp_(self.two(x).mean(0), 0.1)
        return self.one(x)

    flow = graph(forward)
    first, _ = ops(flow, "linear")
    assert first.outputs[0] not in flow.live
    assert first.outputs[0] in flow.used
    assert flow.dead_places() == {}


class CountsItself(nn.BatchNorm2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        return F.batch_norm(x, None, None, self.weight, self.bias, True)


def test_a_count_of_batches_that_the_user_keeps_is_not_dead() -> None:
    assert flow_of(lambda: CountsItself(3), (2, 3, 4, 4)).dead_places() == {}


def test_values_that_depend_on_the_input_are_fed() -> None:
    flow = graph(lambda self, x: self.one(x) + self.two(self.kept))
    first, second = ops(flow, "linear")
    assert first.outputs[0] in flow.fed
    assert second.outputs[0] not in flow.fed


@pytest.mark.parametrize(
    ("function", "joins"),
    [
        (lambda self, x: x + self.one(x), ["add"]),
        (lambda self, x: torch.cat([x, self.one(x)], dim=1), ["cat"]),
        (lambda self, x: x * torch.sigmoid(self.one(x)), ["mul"]),
        (lambda self, x: torch.einsum("bi,bi->b", x, self.one(x)), ["einsum"]),
        (lambda self, x: torch.where(x > 0, x, self.one(x)), ["where"]),
        (lambda self, x: self.one(x).add_(x), ["add"]),
        (lambda self, x: F.relu(self.two(F.relu(self.one(x)))), []),
        (lambda self, x: self.one(x) + self.kept, []),
        (lambda self, x: self.one(x) + self.one.bias, []),
        (lambda self, x: self.one(x) * 2 - 1, []),
    ],
)
def test_paths_from_the_input_meet_in_joins(function: Callable[..., Any], joins: list[str]) -> None:
    flow = graph(function)
    assert names(list(flow.joins(flow.trace.calls[0]))) == joins


def test_a_skip_around_a_module_bypasses_it() -> None:
    flow = graph(lambda self, x: self.two(self.one(x)) + x)
    assert flow.is_bypassed(call(flow, "one"))
    assert flow.is_bypassed(call(flow, "two"))
    straight = graph(lambda self, x: self.two(self.one(x)) + self.kept)
    assert not straight.is_bypassed(call(straight, "one"))


def test_a_value_written_through_a_view_reaches_what_reads_the_whole() -> None:
    def forward(self: Functional, x: torch.Tensor) -> Any:
        out = torch.zeros(2, 8)
        out[:, :4] = self.one(x)
        half = out[:, 4:]
        half += self.two(x)
        return out

    flow = graph(forward)
    first, second = ops(flow, "linear")
    assert first.outputs[0] in flow.live
    assert second.outputs[0] in flow.live
    assert flow.dead_places() == {}


def test_the_origin_of_a_rearranged_value() -> None:
    flow = graph(lambda self, x: self.one(x).view(2, 2, 2).transpose(1, 2).flatten(1))
    (linear,) = ops(flow, "linear")
    assert flow.origin(flow.outputs[0]) == linear.outputs[0]
    assert flow.last_nonlinear(flow.outputs[0]) == linear
    assert flow.last_nonlinear(0) is None


@pytest.mark.parametrize(
    ("function", "chain"),
    [
        (lambda self, x: self.two(self.one(x)), ["linear", "linear"]),
        (lambda self, x: self.two(F.dropout(self.one(x)) * 1), []),
        (lambda self, x: self.two(F.dropout(self.one(x))), ["linear", "dropout", "linear"]),
        (lambda self, x: self.two(self.one(x) + self.kept), ["linear", "add", "linear"]),
        (lambda self, x: self.two(self.one(x).relu()), []),
        (lambda self, x: self.two(self.one(x) + self.two(x)), []),
        (lambda self, x: self.two(x), []),
    ],
)
def test_affine_chains(function: Callable[..., Any], chain: list[str]) -> None:
    flow = graph(function)
    assert names(flow.affine_chain(ops(flow, "linear")[-1])) == chain


class Around(torch.autograd.Function):
    """A step whose gradient goes straight through."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.sign()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


@pytest.mark.parametrize(
    ("function", "reached", "barrier"),
    [
        (lambda self, x: self.two(self.one(x)), True, None),
        (lambda self, x: self.two(self.one(x).detach()), False, "detach"),
        (lambda self, x: self.two(self.one(x).data), False, "data"),
        (lambda self, x: self.two(self.one(x).round()), False, "round"),
        (lambda self, x: self.two(F.one_hot(self.one(x).argmax(1), 4).float()), False, "argmax"),
        (lambda self, x: self.two(self.one(x).long().float()), False, "long"),
        (lambda self, x: self.two((self.one(x) > 0).float()), False, "gt"),
        (lambda self, x: self.two(Around.apply(self.one(x))), True, None),
        (lambda self, x: self.two(x) + (self.one(x) - self.one(x).detach()), True, None),
    ],
)
def test_how_far_gradients_reach(
    function: Callable[..., Any], reached: bool, barrier: str | None
) -> None:
    flow = graph(function)
    assert (weight(flow, "one.weight") in flow.reached_by_gradient) is reached
    assert weight(flow, "two.weight") in flow.reached_by_gradient
    if barrier is not None:
        assert names(flow.barriers(weight(flow, "one.weight"))[:1]) == [barrier]


def test_no_grad_stops_the_gradient() -> None:
    def forward(self: Functional, x: torch.Tensor) -> Any:
        with torch.no_grad():
            x = self.one(x).relu()
        return self.two(x)

    flow = graph(forward)
    assert weight(flow, "one.weight") not in flow.reached_by_gradient
    assert names(flow.barriers(weight(flow, "one.weight"))[:1]) == ["linear"]


def test_a_loss_that_is_kept_reaches_its_parameters() -> None:
    def forward(self: Functional, x: torch.Tensor) -> Any:
        hidden = self.one(x)
        self.loss = hidden.square().mean()
        return self.two(hidden.detach())

    flow = graph(forward)
    assert weight(flow, "one.weight") in flow.reached_by_gradient


def test_in_place_writes_make_new_versions_of_the_same_memory() -> None:
    def forward(self: Functional, x: torch.Tensor) -> Any:
        image = self.conv(x)
        kept = image
        out = self.norm(F.relu(image, inplace=True))
        return out + kept

    flow = graph(forward, 2, 3, 8, 8)
    (conv,), (relu,) = ops(flow, "conv2d"), ops(flow, "relu")
    before, after = (flow.trace.values[op.outputs[0]] for op in (conv, relu))
    assert relu.in_place
    assert before.storage == after.storage and before.version < after.version
    # The sum reads what the ReLU left behind.
    (total,) = [op for op in ops(flow, "add") if not op.in_place]
    assert relu.outputs[0] in total.inputs


def test_an_inverted_mask_is_a_new_tensor() -> None:
    flow = graph(lambda self, x: torch.where(~(x > 0), self.one(x), x))
    (inverted,) = ops(flow, "bitwise_not")
    assert not inverted.in_place


def test_what_writes_into_the_memory_of_a_returned_view_is_used() -> None:
    def forward(self: Functional, x: torch.Tensor) -> Any:
        image = self.conv(x)
        flat = image.flatten(1)
        image.mul_(2)
        return flat

    flow = graph(forward, 2, 3, 8, 8)
    # What is returned is the view as the write left it, so the product is live.
    (mul,) = ops(flow, "mul")
    assert not flow.used.isdisjoint(mul.outputs)


def test_the_depth_is_that_of_the_longest_path() -> None:
    def forward(self: Functional, x: torch.Tensor) -> Any:
        short = self.one(x)
        long = self.two(self.two(self.two(x).relu()).relu())
        return short + long

    assert graph(forward).depth == 3


def test_values_in_a_nest() -> None:
    nest = {"a": (ValueIndex(3), None, 1), "b": {"c": ValueIndex(1)}}
    assert list(indices(nest)) == [3, 1]


def test_an_empty_pass_has_an_empty_graph() -> None:
    flow = Trace("model", "model.py").dataflow
    assert flow.outputs == ()
    assert flow.live == frozenset()
    assert flow.dead_places() == {}
    assert flow.depth == 0
