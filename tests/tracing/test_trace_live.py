"""A model that somebody holds is bit for bit what it was, whatever a trace of it met."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
numpy = pytest.importorskip("numpy")

from torch import nn  # noqa: E402

from archcheck.tracing.ladder import TensorSpec, trace_live  # noqa: E402


class Model(nn.Module):
    """Everything that a pass could change: statistics, counters, hooks, gradients, constants."""

    def __init__(self, forward: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8, momentum=None)
        self.spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8))
        self.head = nn.Linear(8, 4)
        self.tied = nn.Linear(8, 4)
        self.tied.weight = self.head.weight
        self.dropout = nn.Dropout()
        self.constant = torch.randn(8)
        self.count = 0
        self.history: list[Any] = []
        self.run = forward

    def forward(self, x: Any) -> Any:
        self.count += 1
        x = self.norm(self.conv(x)).mean((2, 3))
        x = self.dropout(self.spectral(x) + self.constant)
        self.last = x
        self.constant.add_(1)
        return self.run(self, self.head(x) + self.tied(x))


def fine(model: Any, x: Any) -> Any:
    return x * torch.rand(()) * random.random() * numpy.random.rand()


def reads(model: Any, x: Any) -> Any:
    return x if x.sum().item() > 0 else -x


def mismatched(model: Any, x: Any) -> Any:
    return model.head(x)


def settings(model: Any, x: Any) -> Any:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(5)
    torch.set_grad_enabled(False)
    model.eval()
    raise ValueError("half way")


def leaves(model: Any, x: Any) -> Any:
    raise SystemExit(1)


def checksum(model: nn.Module) -> str:
    """One number over everything that must stay."""
    digest = hashlib.sha256()

    def add(*parts: Any) -> None:
        for part in parts:
            if isinstance(part, torch.Tensor):
                digest.update(
                    part.detach().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
                )
                digest.update(repr((part.shape, part.stride(), part.dtype, part._version)).encode())
                digest.update(repr((id(part), part.requires_grad, part.device)).encode())
                if part.is_leaf and part.grad is not None:
                    add(part.grad)
            else:
                digest.update(repr(part).encode())

    for name, module in model.named_modules(remove_duplicate=False):
        add(name, id(module), type(module), module.training, sorted(vars(module)))
        for tensors in (module._parameters, module._buffers):
            for key, tensor in tensors.items():
                add(key)
                if tensor is not None:
                    add(tensor)
        for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks):
            add(list(hooks.items()))
        for key, value in vars(module).items():
            if isinstance(value, torch.Tensor | int | float | list):
                add(key, value)
    add(torch.get_rng_state().tolist(), random.getstate(), numpy.random.get_state()[1].tolist())
    add(torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled())
    add(torch.backends.mha.get_fastpath_enabled(), nn.Module.__call__, nn.Module.__init__)
    add(nn.Module.register_parameter, nn.Linear.forward, Model.forward)
    return digest.hexdigest()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("forward", [fine, reads, mismatched, settings, leaves])
def test_nothing_changes(forward: Callable[[Any, Any], Any], training: bool) -> None:
    model = Model(forward)
    model.conv.register_forward_hook(lambda module, args, output: output * 2)
    model.head.register_forward_pre_hook(lambda module, args: None)
    model(torch.randn(2, 3, 6, 6)).sum().backward() if forward is fine else None
    model.train(training)
    model.norm.eval()
    before = checksum(model)
    trace = trace_live(model, [TensorSpec((2, 3, 6, 6))], mode="train")
    assert checksum(model) == before
    assert trace.calls[0].path == ""
    assert trace.complete is (forward is not settings and forward is not leaves)
    assert bool(trace.failures) is (forward not in (fine, reads))
    assert (trace.rung == "real") is (forward is reads)


def test_the_mode_is_the_models_own_unless_asked() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout()).eval()
    assert trace_live(model, [TensorSpec((2, 4))]).mode == "eval"
    assert trace_live(model, [TensorSpec((2, 4))], mode="train").mode == "train"
    assert not model.training


def test_a_model_that_cannot_be_copied_is_traced_all_the_same() -> None:
    class Uncopied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)
            self.batches = (number for number in range(3))

        def forward(self, x: Any) -> Any:
            self.seen = next(self.batches)
            return self.layer(x)

    model = Uncopied()
    weight, attributes = model.layer.weight, set(vars(model))
    before = weight.detach().clone()
    trace = trace_live(model, [TensorSpec((2, 4))])
    assert trace.complete
    assert model.layer.weight is weight
    assert torch.equal(weight, before)
    assert set(vars(model)) == attributes
