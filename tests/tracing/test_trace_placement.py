"""Ordinary model code runs on the first rung: devices, constants, random numbers, old idioms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
numpy = pytest.importorskip("numpy")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from archcheck.tracing.ladder import TensorSpec, trace_module  # noqa: E402
from archcheck.tracing.record.placement import requested_elements  # noqa: E402


class Holder(nn.Module):
    def __init__(self, call: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.call = call
        self.layer = nn.Linear(4, 4)
        self.register_buffer("average", torch.zeros(4))
        self.register_buffer("count", torch.tensor(0))

    def forward(self, x: Any) -> Any:
        return self.call(self, x)


def filled(_: Any, x: Any) -> Any:
    made = torch.zeros(2, 8)
    made[:, :4] = x
    made[0, 4:].copy_(x[0])
    return made


def averaged(model: Any, x: Any) -> Any:
    model.average.mul_(0.9).add_(x.mean(0) * 0.1)
    model.average = model.average * 0.9
    model.count += 1
    return (x - model.average) * model.count.item()


def sampled(_: Any, x: Any) -> Any:
    normal = torch.distributions.Normal(x, x.exp())
    other = torch.distributions.Normal(0.0, 1.0)
    return normal.rsample() + torch.distributions.kl_divergence(normal, other)


CODE: dict[str, Callable[[Any, Any], Any]] = {
    "to a gpu": lambda _, x: x.to("cuda") + torch.zeros(4, device="cuda") + torch.ones(4).cuda(),
    "to the input's device": lambda _, x: x + torch.zeros(4, device=x.device) + x.new_ones(4),
    "a large constant": lambda _, x: x + torch.zeros(2, 4, 100_000).to(x.device).sum(-1),
    "a constant without a device": lambda _, x: x + torch.tensor([1.0, 2.0, 3.0, 4.0]),
    "a list of rates": lambda _, x: sum(x * rate for rate in torch.linspace(0, 1, 4).tolist()),
    "numpy": lambda _, x: x + torch.from_numpy(numpy.ones(4, dtype=numpy.float32)),
    "old constructors": lambda _, x: x + torch.Tensor([1, 2, 3, 4]) + torch.FloatTensor(4).zero_(),
    "one hot": lambda _, x: F.one_hot(torch.arange(4), 4).float().to(x) @ x.t(),
    "a mask": lambda _, x: x.masked_fill(torch.ones(2, 4).tril() == 0, -1e9),
    "indices": lambda _, x: x[torch.tensor([0, 1]), torch.tensor([1, 2])],
    "gather": lambda _, x: x.gather(1, torch.tensor([[0], [1]])),
    "a permutation": lambda _, x: x[torch.randperm(2)],
    "filled": filled,
    "averaged": averaged,
    "sampled": sampled,
    "noise": lambda _, x: x + torch.randn_like(x) * torch.rand(x.shape[0], 1),
    "a size as a tensor": lambda _, x: x / torch.sqrt(torch.tensor(x.shape[1]).float()),
    "vmap": lambda _, x: torch.vmap(lambda row: row * 2)(x),
    "autocast": lambda model, x: model.layer(x) if torch.is_autocast_enabled() else x,
    "half and back": lambda model, x: model.layer(x.half().float()),
    "an affine grid": lambda _, x: F.grid_sample(
        x.view(2, 1, 2, 2), F.affine_grid(torch.eye(2, 3).repeat(2, 1, 1), (2, 1, 2, 2))
    ),
    "complex numbers": lambda _, x: torch.view_as_real(
        torch.polar(torch.ones(4), torch.arange(4.0)) * x
    ),
    "fourier": lambda _, x: torch.fft.rfft(x).abs(),
    "parts in a loop": lambda _, x: torch.stack([row * 2 for row in x]),
}


@pytest.mark.parametrize("name", CODE)
def test_forwards(name: str) -> None:
    trace = trace_module(lambda: Holder(CODE[name]), [TensorSpec((2, 4))], path=__file__)
    assert trace.rung == "meta"
    assert trace.complete
    assert not trace.failures


class Built(nn.Module):
    def __init__(self, build: Callable[[Any], Any]) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        build(self)

    def forward(self, x: Any) -> Any:
        return self.layer(x)


def positions(model: Any) -> None:
    table = torch.zeros(5000, 64)
    place = torch.arange(0, 5000).unsqueeze(1).float()
    rate = torch.exp(torch.arange(0, 64, 2).float() * -(math.log(10000.0) / 64))
    table[:, 0::2] = torch.sin(place * rate)
    table[:, 1::2] = torch.cos(place * rate)
    model.register_buffer("table", table.unsqueeze(0))


def filled_weights(model: Any) -> None:
    nn.init.orthogonal_(model.layer.weight)
    model.layer.weight.data.mul_(0.1)
    model.layer.weight.data[0] = 0
    model.layer.bias.data.zero_()
    model.layer.load_state_dict({"weight": torch.ones(4, 4), "bias": torch.ones(4)})


CONSTRUCTORS: dict[str, Callable[[Any], Any]] = {
    "on a gpu": lambda model: model.cuda(),
    "a layer on a gpu": lambda model: nn.Linear(4, 4, device="cuda").to("cuda"),
    "positions": positions,
    "filled weights": filled_weights,
    "another dtype and back": lambda model: model.half().float(),
    "rates": lambda model: [rate.item() for rate in torch.linspace(0, 1, 5)],
    "frozen": lambda model: model.layer.weight.requires_grad_(False),
    "lists": lambda model: setattr(
        model, "list", nn.ParameterList([nn.Parameter(torch.zeros(3)) for _ in range(2)])
    ),
}


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_constructors(name: str) -> None:
    trace = trace_module(lambda: Built(CONSTRUCTORS[name]), [TensorSpec((2, 4))], path=__file__)
    assert not trace.failures
    assert trace.rung == "meta"
    assert trace.complete


def test_tied_parameters_stay_tied_on_meta() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            weight = nn.Parameter(torch.zeros(4, 4))
            self.first, self.second = weight, weight
            self.layer = nn.Linear(4, 4)
            self.layer.weight = weight

        def forward(self, x: Any) -> Any:
            return self.layer(x @ self.first)

    trace = trace_module(Tied, [TensorSpec((2, 4))], path=__file__)
    (weight, bias) = trace.parameters
    assert weight.aliases == ("second", "layer.weight")
    assert bias.name == "layer.bias"


def test_what_stays_behind_is_marked() -> None:
    def forward(_: Any, x: Any) -> Any:
        loose = torch.arange(4).float()
        return x + loose + torch.zeros(4, device=x.device)

    trace = trace_module(lambda: Holder(forward), [TensorSpec((2, 4))], path=__file__)
    devices = [(op.name, trace.values[op.outputs[0]].device) for op in trace.ops]
    assert devices == [
        ("arange", "cpu"),
        ("float", "cpu"),
        ("add", "model"),
        ("zeros", "model"),
        ("add", "model"),
    ]


@pytest.mark.parametrize(
    "name, args, kwargs, count",
    [
        ("zeros", (2, 3), {}, 6),
        ("zeros", ((2, 3),), {}, 6),
        ("ones", (), {"size": (4,)}, 4),
        ("full", ((2, 2), 1.0), {}, 4),
        ("randint", (0, 9, (5,)), {}, 5),
        ("arange", (10,), {}, 10),
        ("arange", (2, 10, 2), {}, 4),
        ("arange", (), {"start": 1, "end": 5}, 4),
        ("eye", (3,), {}, 9),
        ("eye", (3, 4), {}, 12),
        ("randperm", (7,), {}, 7),
        ("tril_indices", (3, 3), {}, 18),
        ("tensor", ([1, 2],), {}, 0),
        ("zeros", ("x",), {}, 0),
    ],
)
def test_how_much_a_factory_is_asked_for(name: str, args: Any, kwargs: Any, count: int) -> None:
    assert requested_elements(name, args, kwargs) == count
