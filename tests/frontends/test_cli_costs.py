"""The command line's options on costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import archcheck

pytestmark = pytest.mark.slow

MODEL = """
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(64, 256)
        self.act = nn.ReLU()
        self.head = nn.Linear(256, 10)

    def forward(self, x):
        return self.head(self.act(self.hidden(x)))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(MODEL, encoding="utf-8")
    return tmp_path


def test_json_has_the_step_and_what_each_layer_moves(project: Path) -> None:
    run = archcheck(
        "net.py:Net", "--input", "32,64", "--optimizer", "AdamW", "--device", "H100", "--format",
        "json", "--no-cache", cwd=project,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    target = json.loads(run.stdout)["targets"][0]
    training = target["training"]
    assert training["optimizer"] == "adamw" and training["precision"] == "fp32"
    assert training["device"] == "h100-80gb" and training["fits"] is True
    weights = sum(-(-4 * count // 512) * 512 for count in (64 * 256, 256, 2560, 10))
    assert training["weights_bytes"] == training["gradients_bytes"] == weights
    assert training["optimizer_bytes"] == 2 * weights
    assert training["peak_bytes"] >= 4 * weights
    assert training["largest_batch"] > 100_000
    assert training["time_lower_bound_s"] > 0
    # Two products of the second layer, one of the first: its input takes no gradient.
    assert training["backward_flops"] == 2 * 32 * (64 * 256 + 2 * 256 * 10)
    head = next(one for one in target["modules"] if one["path"] == "head")
    assert head["bytes_moved"] == 4 * (32 * 256 + 2560 + 10 + 32 * 10)
    assert head["intensity"] == pytest.approx(2 * 32 * 2560 / head["bytes_moved"], abs=1e-3)
    assert target["generation"] is None


def test_nothing_is_told_where_nobody_asks(project: Path) -> None:
    run = archcheck("net.py:Net", "--input", "32,64", "--format", "json", "--no-cache", cwd=project)
    target = json.loads(run.stdout)["targets"][0]
    assert target["training"] is None and target["generation"] is None


def test_the_text_has_a_bar_and_says_what_holds_the_most(project: Path) -> None:
    run = archcheck(
        "net.py:Net", "--input", "32,64", "--device", "24GiB", "--no-cache", cwd=project
    )
    assert run.returncode == 0
    assert "Training step" in run.stdout and "at the optimizer's step" in run.stdout
    assert "wwwwwwwwoooo" in run.stdout.replace(" ", "") or "ooo" in run.stdout
    assert "yes, 24GiB has 24.00 GiB" in run.stdout


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--optimizer", "adamq", "did you mean 'adam'"),
        ("--precision", "bf61", "did you mean 'bf16'"),
        ("--device", "h200x", "did you mean 'h200'"),
        ("--device", "24XB", "such as 24GiB"),
        ("--max-training-memory", "much", "--max-training-memory"),
    ],
)
def test_what_is_not_known_is_said_in_one_line_with_the_nearest(
    project: Path, option: str, value: str, said: str
) -> None:
    run = archcheck("net.py:Net", option, value, cwd=project)
    assert run.returncode == 2
    assert len(run.stderr.strip().splitlines()) == 1
    assert said in run.stderr and value in run.stderr


def test_a_cost_of_a_file_is_refused(project: Path) -> None:
    run = archcheck("net.py", "--optimizer", "adamw", cwd=project)
    assert run.returncode == 2 and "--optimizer is for a model" in run.stderr


def test_the_configuration_says_the_same(project: Path) -> None:
    (project / "pyproject.toml").write_text(
        '[[tool.archcheck.models]]\ntarget = "net.py:Net"\ninput = ["32,64"]\n'
        'optimizer = "lion"\nmax-training-memory = "64KiB"\n',
        encoding="utf-8",
    )
    run = archcheck("--format", "concise", "--no-cache", cwd=project)
    assert run.returncode == 1 and "AC607" in run.stdout


def test_a_wrong_device_in_the_configuration_is_the_calls_fault(project: Path) -> None:
    (project / "pyproject.toml").write_text(
        '[[tool.archcheck.models]]\ntarget = "net.py:Net"\ninput = ["32,64"]\ndevice = "h3000"\n',
        encoding="utf-8",
    )
    run = archcheck("--no-cache", cwd=project)
    assert run.returncode == 2 and "device" in run.stderr and "h3000" in run.stderr


def test_devices_lists_each_with_its_source(project: Path) -> None:
    run = archcheck("devices", cwd=project)
    assert run.returncode == 0
    lines = run.stdout.splitlines()
    assert lines[0].split()[0] == "name"
    h100 = next(line for line in lines if line.startswith("h100-80gb"))
    assert "3,350" in h100 and "data sheet" in h100


def test_no_precision_makes_a_finding_or_hides_one(project: Path) -> None:
    said = {
        archcheck(
            "net.py:Net", "--input", "32,64", "--precision", precision, "--format", "concise",
            "--no-cache", cwd=project,
        ).stdout
        for precision in ("fp32", "bf16", "amp-fp16")
    }  # fmt: skip
    assert len(said) == 1


@pytest.mark.parametrize(
    ("built", "name"),
    [
        ("torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)", "sgd-momentum"),
        ("torch.optim.SGD(net.parameters(), lr=0.1, momentum=0)", "sgd"),
        ("torch.optim.Adam(net.parameters(), fused=True)", "adam-fused"),
        ("make_optimizer(net)", "adamw"),
    ],
)
def test_the_optimizer_is_that_of_the_script(project: Path, built: str, name: str) -> None:
    script = f"import torch\n{MODEL}\n\ndef train():\n    net = Net()\n    optimizer = {built}\n"
    (project / "net.py").write_text(script, encoding="utf-8")
    run = archcheck(
        "net.py:Net", "--input", "32,64", "--device", "24GiB", "--no-cache", cwd=project
    )
    assert f"({name}, fp32)" in run.stdout
    line = script[: script.index(built)].count("\n") + 1
    assert (f"{name} as in net.py, line {line}" in run.stdout) == ("torch" in built)
    asked = archcheck(
        "net.py:Net", "--input", "32,64", "--optimizer", "lion", "--no-cache", cwd=project
    )
    assert "(lion, fp32)" in asked.stdout and "as in net.py" not in asked.stdout
