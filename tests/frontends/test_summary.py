"""`archcheck.summary` and `--format torchinfo`: torchinfo's rows, and totals that are right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import archcheck as command

import archcheck

torch = pytest.importorskip("torch")
torchinfo = pytest.importorskip("torchinfo")
nn, functional = torch.nn, torch.nn.functional

COLUMNS = (
    *("input_size", "output_size", "num_params", "params_percent"),
    *("kernel_size", "mult_adds", "trainable"),
)


class Digits(nn.Module):
    """Kinds of rows: functions between layers, a layer without weights, frozen weights."""

    def __init__(self, width: int = 320) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 10, 5)
        self.second = nn.Conv2d(10, 20, 5, bias=False)
        self.drop = nn.Dropout2d(0.3)
        self.hidden = nn.Linear(width, 50).requires_grad_(False)
        self.out = nn.Linear(50, 10)

    def forward(self, x: Any) -> Any:
        x = functional.relu(functional.max_pool2d(self.first(x), 2))
        x = functional.relu(functional.max_pool2d(self.drop(self.second(x)), 2))
        x = functional.relu(self.hidden(x.flatten(1)))
        return functional.log_softmax(self.out(x), dim=1)


class Tagger(nn.Module):
    """Several results of a layer, and integer inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 30)
        self.read = nn.LSTM(30, 16, num_layers=2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(32, 20)

    def forward(self, tokens: Any) -> Any:
        hidden, state = self.read(self.embed(tokens))
        return self.out(hidden), state


class Stages(nn.Module):
    """Containers that are not called, a module that is called twice, two inputs, a flag."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(6, 6), nn.ReLU()) for _ in range(2)])
        self.shared = nn.Linear(6, 6)
        self.scale = nn.Parameter(torch.ones(6))
        self.unused = nn.Linear(6, 600)

    def forward(self, x: Any, y: Any, twice: bool = False) -> Any:
        for block in self.blocks:
            x = block(x)
        x = self.shared(x) * self.scale
        return self.shared(x) + y if twice else x


CASES: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "one input": (Digits, {"input_size": (1, 1, 28, 28)}),
    "every column": (Digits, {"input_size": (4, 1, 28, 28), "col_names": COLUMNS}),
    "weights too": (Digits, {"input_size": (4, 1, 28, 28), "verbose": 2, "col_names": COLUMNS}),
    "batch dimension": (Digits, {"input_size": (1, 28, 28), "batch_dim": 0}),
    "tokens": (Tagger, {"input_size": (2, 9), "dtypes": [torch.long], "col_names": COLUMNS}),
    "tensors": (Tagger, {"input_data": torch.zeros(2, 9, dtype=torch.long)}),
    "two inputs": (Stages, {"input_size": [(2, 6), (2, 6)], "twice": True}),
    "by name": (Stages, {"input_data": {"x": torch.zeros(2, 6), "y": torch.zeros(2, 6)}}),
    "names": (
        Stages,
        {
            "input_size": [(2, 6), (2, 6)],
            "row_settings": ("var_names", "ascii_only", "depth"),
            "depth": 1,
        },
    ),
    "no pass": (Stages, {}),
}


def rows(statistics: Any) -> list[str]:
    """The table without its totals."""
    lines: list[str] = str(statistics).splitlines()
    return lines[: next(n for n, line in enumerate(lines) if line.startswith("Total params"))]


@pytest.mark.parametrize("case", CASES)
def test_the_rows_are_those_of_torchinfo(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    build, arguments = CASES[case]
    expected = torchinfo.summary(build(), **{"verbose": 0, **arguments})
    ours = archcheck.summary(build(), **{"verbose": 0, **arguments})
    assert rows(ours) == rows(expected)
    assert (ours.total_input, ours.total_output_bytes) == pytest.approx(
        (expected.total_input, expected.total_output_bytes), abs=200
    )


def test_totals_count_what_torchinfo_leaves_out() -> None:
    """Parameters outside the rows, and a linear layer over every position of a sequence."""
    model = Stages()
    ours = archcheck.summary(model, input_size=[(2, 5, 6), (2, 5, 6)], verbose=0)
    assert ours.total_params == sum(one.numel() for one in model.parameters())
    assert ours.total_param_bytes == 4 * ours.total_params
    assert ours.total_mult_adds == 3 * 2 * 5 * 6 * 6
    theirs = torchinfo.summary(model, input_size=[(2, 5, 6), (2, 5, 6)], verbose=0)
    assert theirs.total_mult_adds < ours.total_mult_adds


def test_a_model_that_breaks_half_way_has_its_rows(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError):
        torchinfo.summary(Digits(300), input_size=(2, 1, 28, 28), verbose=0)
    archcheck.summary(Digits(300), input_size=(2, 1, 28, 28), verbose=1)
    printed = capsys.readouterr().out
    assert "[2, 20, 8, 8]" in printed
    assert "Stopped by RuntimeError: mat1 and mat2 shapes cannot be multiplied" in printed


def test_the_model_stays_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    archcheck.summary(model, input_size=(2, 1, 8, 8), mode="train", verbose=0)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_size": (2, 6), "input_data": torch.zeros(2, 6)}, "not both"),
        ({"input_size": (2, 0)}, "input_size"),
        ({"input_size": 6}, "input_size: 6"),
        ({"input_size": [(2, 6), (2, 6)], "thrice": True}, "'thrice' is no parameter"),
        ({"input_size": [(2, 6)] * 4}, "4 inputs given"),
        ({"input_size": [(2, 6), (2, 6)], "dtypes": [torch.float]}, "dtypes"),
        ({"input_size": (2, 6), "mode": "test"}, "mode"),
        ({"input_size": (2, 6), "verbose": 3}, "verbose"),
        ({"input_size": (2, 6), "col_width": 0}, "col_width"),
        ({"input_size": [(2, 6), (2, 6)], "col_names": ["size"]}, "col_names: 'size'"),
        ({"input_size": [(2, 6), (2, 6)], "row_settings": ["tree"]}, "row_settings: 'tree'"),
        ({"col_names": ["output_size", "mult_adds"]}, "columns"),
    ],
)
def test_an_argument_that_makes_no_sense_is_named(arguments: Any, message: str) -> None:
    with pytest.raises(archcheck.UsageError, match=message):
        archcheck.summary(Stages(), **arguments)


def test_a_class_and_arrays_are_taken_too() -> None:
    numpy = pytest.importorskip("numpy")
    arrays = [numpy.zeros((2, 6), "float32"), numpy.zeros((2, 6), "float32")]
    expected = archcheck.summary(Stages(), [(2, 6), (2, 6)], verbose=0, twice=True)
    ours = archcheck.summary(Stages, input_data=arrays, verbose=0, twice=True)
    assert str(ours) == str(expected)


def test_an_argument_that_does_nothing_is_named() -> None:
    with pytest.warns(UserWarning, match="cache_forward_pass does nothing"):
        archcheck.summary(Digits(), (1, 1, 28, 28), cache_forward_pass=True, verbose=0)


def test_the_format_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self):\n"
        "        super().__init__(nn.Linear(8, 16), nn.ReLU(), nn.Linear(12, 4))\n"
    )
    run = command("net.py:Net", "--input", "2,8", "--format", "torchinfo", cwd=tmp_path)
    assert run.returncode == 1
    assert "├─Linear: 1-1                            [2, 16]                   144" in run.stdout
    assert "Total params: 196" in run.stdout
    assert "net.py:4:" in run.stdout and "AC201 error" in run.stdout
