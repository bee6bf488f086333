"""The bytes of activations, counted by hand."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

from archcheck.tracing.costs.memory import ActivationMemory  # noqa: E402


class Watch(TorchDispatchMode):
    def __init__(self, memory: ActivationMemory) -> None:
        super().__init__()
        self.memory = memory

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self.memory.saw(leaf)
        return out


def run(model: nn.Module, *shape: int, gradients: bool, device: str = "meta") -> ActivationMemory:
    model.to(device)
    memory = ActivationMemory([*model.parameters(), *model.buffers()])
    x = torch.rand(*shape, device=device)
    memory.saw(x)
    with torch.set_grad_enabled(gradients), Watch(memory):
        model(x)
    return memory


KILO = 1000 * 4  # bytes of one activation in the models below


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_training_keeps_what_the_backward_pass_reads(device: str) -> None:
    # sigmoid keeps its output: the input, and four outputs
    layers = nn.Sequential(*(nn.Sigmoid() for _ in range(4)))
    layers.insert(0, nn.PReLU())  # its weight wants a gradient, so it keeps its input, too
    memory = run(layers, 10, 100, gradients=True, device=device)
    # the input, the output of each sigmoid, and PReLU's output while the first one runs; after it
    # that one is gone: at the end five are alive
    assert memory.peak == 5 * KILO
    memory = run(layers, 10, 100, gradients=False, device=device)
    assert memory.peak == 3 * KILO  # the input, and what goes into and comes out of a layer


def test_views_and_in_place_edits_take_nothing() -> None:
    class Reshaping(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.view(-1).t().view(10, 100).relu_()

    assert run(Reshaping(), 10, 100, gradients=False).peak == KILO


def test_parameters_are_no_activations() -> None:
    memory = run(nn.Linear(100, 100), 10, 100, gradients=True)
    assert memory.peak == 2 * KILO
    assert memory.alive == 0  # nothing holds the input or the output any more


def test_numbers_are_those_of_storages() -> None:
    memory = ActivationMemory()
    first, second = torch.empty(4), torch.empty(4)
    number = memory.saw(first)
    assert memory.saw(first.view(2, 2)) == number
    assert memory.saw(second) != number
    gone = memory.saw(torch.empty(4))
    assert memory.saw(torch.empty(4)) != gone


def test_storages_that_are_gone_are_subtracted() -> None:
    memory = ActivationMemory()
    tensor = torch.empty(100)
    memory.saw(tensor)
    view = tensor[:2]
    memory.saw(view)
    del tensor
    assert memory.alive == 400  # the view holds all of it
    del view
    assert (memory.alive, memory.peak) == (0, 400)


def test_a_sparse_tensor_has_no_storage_to_count() -> None:
    memory = ActivationMemory()
    sparse = torch.eye(3).to_sparse()
    assert memory.saw(sparse) != memory.saw(sparse.values())
