"""What `load_state_dict` takes in silence and what it refuses, asked of the installed torch.

Each row is loaded for real; the comparison of names and shapes has to say the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from archcheck.analysis.state_dicts.compare import Signature, compare, table_of
from archcheck.checkpoints import read_checkpoint
from archcheck.tracing.record.describe_state import renaming_modules, state_dict_of

SHAPES = ((), (1,), (0,), (3,), (4,), (12,), (1, 1), (1, 4), (3, 4), (4, 3), (0, 3), (3, 0))
REAL = [
    getattr(torch, name)
    for name in (
        "float16 bfloat16 float32 float64 int8 int16 int64 uint8 uint16 bool float8_e4m3fn "
        "float8_e5m2 complex64"
    ).split()
    if hasattr(torch, name)
]


class Holder(nn.Module):
    """A module with one parameter or buffer."""

    def __init__(self, value: torch.Tensor, parameter: bool) -> None:
        super().__init__()
        if parameter:
            self.value = nn.Parameter(value, requires_grad=False)
        else:
            self.register_buffer("value", value)


def accepted(model: nn.Module, path: Path) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model.load_state_dict(torch.load(path, weights_only=False))
        except (RuntimeError, AttributeError, TypeError, IndexError):
            return False
    return True


def foreseen(model: nn.Module, path: Path) -> bool:
    signature = Signature.of(state_dict_of(model), renaming_modules(model))
    return compare(signature, table_of(read_checkpoint(str(path)).state_dict)).loads


@pytest.mark.parametrize("parameter", [True, False])
@pytest.mark.parametrize("ours", SHAPES, ids=str)
def test_shapes(ours: tuple[int, ...], parameter: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    for theirs in SHAPES:
        torch.save({"value": torch.zeros(theirs)}, path)
        model = Holder(torch.zeros(ours), parameter)
        if ours == () and len(theirs) == 1 and theirs != (1,):
            assert not foreseen(model, path), "not even where torch takes it, see below"
        else:
            assert foreseen(model, path) == accepted(model, path), theirs


def test_a_vector_for_a_scalar_is_refused_or_cut_to_its_first_element(tmp_path: Path) -> None:
    """Before 2.10, torch took the first of any number of elements in silence: worth a finding."""
    path = tmp_path / "x.pt"
    torch.save({"value": torch.tensor([5.0, 6.0, 7.0])}, path)
    model = Holder(torch.zeros(()), parameter=True)
    old = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 9)
    new = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 10)
    taken = accepted(model, path)
    assert taken or not old
    assert not (taken and new)
    assert float(model.state_dict()["value"]) == (5.0 if taken else 0.0)
    assert not foreseen(model, path)


@pytest.mark.parametrize("ours", REAL, ids=str)
def test_every_dtype_is_taken_for_every_other(ours: torch.dtype, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    for theirs in REAL:
        torch.save({"value": torch.zeros(2, 3).to(theirs)}, path)
        model = Holder(torch.zeros(2, 3).to(ours), parameter=False)
        assert foreseen(model, path) == accepted(model, path) is True, theirs


LAYOUTS: dict[str, Callable[[], torch.Tensor]] = {
    "sparse": lambda: torch.eye(3).to_sparse(),
    "quantized": lambda: torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8),
    "meta": lambda: torch.empty(3, 3, device="meta"),
    "expanded": lambda: torch.zeros(1).expand(3, 3),
    "transposed": lambda: torch.zeros(3, 3).T,
    "a part of another": lambda: torch.zeros(9, 9)[3:6, 3:6],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.filterwarnings("ignore")
def test_layouts(layout: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"value": LAYOUTS[layout]()}, path)
    model = Holder(torch.zeros(3, 3), parameter=True)
    assert foreseen(model, path) == accepted(model, path)


class Extra(nn.Module):
    """Keeps something that is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def get_extra_state(self) -> dict[str, int]:
        return {"step": 3}

    def set_extra_state(self, state: object) -> None:
        pass


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(2, 2)
        self.b = nn.Linear(2, 2)
        self.b.weight = self.a.weight
        self.register_buffer("unsaved", torch.zeros(2), persistent=False)


NAMES: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module], dict[str, torch.Tensor]]]] = {
    "the same": (Tied, lambda m: dict(m.state_dict())),
    "one more": (Tied, lambda m: {**m.state_dict(), "c": torch.zeros(1)}),
    "one less": (Tied, lambda m: {k: v for k, v in m.state_dict().items() if k != "a.bias"}),
    "an unsaved buffer": (Tied, lambda m: {**m.state_dict(), "unsaved": torch.zeros(2)}),
    "extra state": (Extra, lambda m: dict(m.state_dict())),
    "no extra state": (Extra, lambda m: dict(m.layer.state_dict(prefix="layer."))),
    "extra state of another": (
        lambda: nn.ModuleDict({"layer": nn.Linear(2, 2)}),
        lambda m: dict(Extra().state_dict()),
    ),
    "a number among the tensors": (Tied, lambda m: {**m.state_dict(), "epoch": 3}),
    "a number in the place of a tensor": (Tied, lambda m: {**m.state_dict(), "a.bias": 3}),
    "dynamically quantized": (
        # Without the versions that `state_dict()` notes, torch takes it for an older layout.
        lambda: torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(2, 2))),
        lambda m: m.state_dict(),
    ),
    "no counter": (
        lambda: nn.Sequential(nn.BatchNorm1d(3)),
        lambda m: {k: v for k, v in m.state_dict().items() if "num_batches" not in k},
    ),
    "a counter of one element": (
        lambda: nn.Sequential(nn.BatchNorm1d(3)),
        lambda m: {**m.state_dict(), "0.num_batches_tracked": torch.zeros(1)},
    ),
    "batch norm without statistics": (
        lambda: nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False)),
        lambda m: dict(nn.Sequential(nn.BatchNorm1d(3)).state_dict()),
    ),
    "old weight norm": (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))),
        lambda m: dict(nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 2))).state_dict()),
    ),
    "old spectral norm": (
        lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2))),
        lambda m: dict(nn.Sequential(nn.utils.spectral_norm(nn.Linear(3, 2))).state_dict()),
    ),
    "a convolution into its transpose": (
        lambda: nn.Sequential(nn.ConvTranspose2d(4, 4, 3)),
        lambda m: dict(nn.Sequential(nn.Conv2d(4, 4, 3)).state_dict()),
    ),
    "other heads": (
        lambda: nn.Sequential(nn.MultiheadAttention(8, 2)),
        lambda m: dict(nn.Sequential(nn.MultiheadAttention(8, 4)).state_dict()),
    ),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")
def test_names(name: str, tmp_path: Path) -> None:
    build, saved = NAMES[name]
    path = tmp_path / "x.pt"
    model = build()
    torch.save(saved(model), path)
    assert foreseen(model, path) == accepted(model, path)


def test_a_tied_name_that_is_missing_is_forgiven_and_mended(tmp_path: Path) -> None:
    """torch refuses it; the tensor is in the file under its other name, so it is no loss."""
    path = tmp_path / "x.pt"
    torch.save({k: v for k, v in Tied().state_dict().items() if k != "b.weight"}, path)
    assert foreseen(Tied(), path) and not accepted(Tied(), path)


def test_strictness_forgives_names_and_no_shape() -> None:
    model = nn.Linear(2, 3)
    with pytest.raises(RuntimeError, match="size mismatch"):
        model.load_state_dict({"weight": torch.zeros(3, 3)}, strict=False)
    assert model.load_state_dict({"module.weight": torch.zeros(3, 2)}, strict=False) == (
        ["weight", "bias"],
        ["module.weight"],
    )
