"""The tables of what autograd saves, held against torch: each op is run, and its backward."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from archcheck.rules.wiring._saved import SAVES_INPUT, SAVES_OUTPUT, WEIGHTED

Run = Callable[[torch.Tensor], torch.Tensor]
# Those that need more than their input.
CALLS: dict[str, Run] = {
    "softmax": lambda x: x.softmax(1),
    "log_softmax": lambda x: x.log_softmax(1),
    "softmin": lambda x: F.softmin(x, 1),
    "cumprod": lambda x: x.cumprod(1),
    "clamp": lambda x: x.clamp(0, 1),
    "layer_norm": lambda x: F.layer_norm(x, x.shape[-1:]),
    "batch_norm": lambda x: F.batch_norm(x, None, None, training=True),
    "group_norm": lambda x: F.group_norm(x, 2),
    "glu": lambda x: F.glu(x, 1),
    "prelu": lambda x: F.prelu(x, torch.tensor([0.1], requires_grad=True)),
    "normalize": lambda x: F.normalize(x, dim=1),
    "max_pool1d": lambda x: F.max_pool1d(x[0], 2),
    "avg_pool1d": lambda x: F.avg_pool1d(x[0], 2),
    "max_pool2d": lambda x: F.max_pool2d(x, 2),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 2),
    "max_pool3d": lambda x: F.max_pool3d(x, 2),
    "avg_pool3d": lambda x: F.avg_pool3d(x, 2),
    "linear": lambda x: F.linear(x, torch.ones(3, 4, requires_grad=True)),
    "conv1d": lambda x: F.conv1d(x[0], torch.ones(3, 4, 1, requires_grad=True)),
    "conv2d": lambda x: F.conv2d(x, torch.ones(3, 4, 1, 1, requires_grad=True)),
    "conv3d": lambda x: F.conv3d(x[None], torch.ones(3, 2, 1, 1, 1, requires_grad=True)),
}
# Ops that keep neither, or only shapes: writing afterwards is fine.
FREE: dict[str, Run] = {
    "add": lambda x: x + 2,
    "mul by a number": lambda x: x * 2,
    "view": lambda x: x.reshape(-1),
    "cat": lambda x: torch.cat([x, x]),
    "dropout": lambda x: F.dropout(x, 0.5),
    "interpolate": lambda x: F.interpolate(x, scale_factor=2),
    "mean": lambda x: x.mean(1),
}


def written_after(name: str, run: Run, *, output: bool) -> bool:
    """Whether backward raises after the output, or else the input, of an op was written."""
    leaf = torch.rand(2, 4, 4, 4, requires_grad=True)
    given = leaf * 1.0 + 0.0
    made = run(given)
    (made if output else given).add_(1)
    try:
        (made.sum() + given.sum()).backward()
    except RuntimeError as error:
        return "modified by an inplace operation" in str(error)
    return False


def run_of(name: str) -> Run:
    found = CALLS.get(name) or getattr(F, name, None) or getattr(torch, name)
    assert callable(found)
    return found


@pytest.mark.parametrize("name", sorted(SAVES_OUTPUT))
def test_writing_the_output_raises(name: str) -> None:
    assert written_after(name, run_of(name), output=True)


@pytest.mark.parametrize("name", sorted(SAVES_INPUT | WEIGHTED))
def test_writing_the_input_raises(name: str) -> None:
    assert written_after(name, run_of(name), output=False)


@pytest.mark.parametrize("name", sorted(FREE))
def test_writing_around_the_others_does_not(name: str) -> None:
    for output in (True, False):
        assert not written_after(name, FREE[name], output=output)
