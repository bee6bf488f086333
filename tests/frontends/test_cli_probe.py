"""`--probe`: what only real numbers show, by the real command, and what it leaves as it was."""

from __future__ import annotations

import json
import random
import textwrap
from pathlib import Path

import pytest
import torch
from command import archcheck as command
from torch import nn

import archcheck

MODELS = textwrap.dedent(
    """
    import torch
    from torch import nn


    class Clean(nn.Module):
        def __init__(self, width=16):
            super().__init__()
            self.fc, self.out = nn.Linear(width, width), nn.Linear(width, 2)

        def forward(self, x):
            return self.out(self.fc(x).relu())


    class NoWeight(nn.Module):
        def __init__(self, weight=0.0):
            super().__init__()
            self.main, self.side = nn.Linear(16, 4), nn.Linear(16, 4)
            self.weight = weight

        def forward(self, x):
            return self.main(x) + self.weight * self.side(x)


    class Random(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(16, 4)

        def forward(self, x):
            return nn.functional.dropout(self.fc(x), 0.5, True)


    class Classes(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(16, 4)

        def forward(self, x):
            return self.fc(x).argmax(1)


    class OnTheGpu(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(16, 4).cuda()

        def forward(self, x):
            return self.fc(x.cuda()).relu().log()


    class ReadsValues(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(16, 4)

        def forward(self, x):
            if x.data_ptr():  # only tensors with data have a place
                raise RuntimeError("only without data")
            return self.fc(x)
    """
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(MODELS, encoding="utf-8")
    return tmp_path


def probed(folder: Path, name: str, *more: str) -> tuple[int, dict]:
    inputs = () if "--input" in more else ("--input", "8,16")
    result = command(
        "check", f"nets.py:{name}", *inputs, "--probe", "--format", "json",
        "--no-cache", *more, cwd=folder,
    )  # fmt: skip
    assert result.returncode in (0, 1), result.stderr
    return result.returncode, json.loads(result.stdout)


def skipped(report: dict) -> str:
    return "; ".join(report["targets"][0]["probe"]["skipped"])


def test_a_clean_model_is_silent_and_the_report_says_what_was_tried(folder: Path) -> None:
    code, report = probed(folder, "Clean")
    assert (code, report["findings"]) == (0, [])
    probe = report["targets"][0]["probe"]
    assert probe["inputs"] == [{"name": "x", "shape": [3, 16], "dtype": "float32"}]
    assert probe["smaller"] == "3 samples in place of 8"
    assert (probe["passes"], probe["parameters"], probe["without_gradient"]) == (1, 4, [])


def test_nothing_is_probed_unless_it_is_asked_for(folder: Path) -> None:
    result = command("check", "nets.py:NoWeight", "--input", "8,16", "--format", "json", cwd=folder)
    report = json.loads(result.stdout)
    assert report["findings"] == [] and report["targets"][0]["probe"] is None


def test_a_finding_names_the_line_and_the_numbers_and_a_second_run_the_same_bytes(
    folder: Path,
) -> None:
    code, report = probed(folder, "NoWeight")
    (finding,) = report["findings"]
    line = MODELS.splitlines().index("        return self.main(x) + self.weight * self.side(x)") + 1
    assert (code, finding["code"], finding["line"]) == (1, "AC701", line)
    assert "`side.weight`, `side.bias`" in finding["message"]
    assert "self.weight * self.side(x)" in finding["message"]
    assert probed(folder, "NoWeight")[1] == report


def test_the_same_with_another_argument_is_no_finding(folder: Path) -> None:
    assert probed(folder, "NoWeight(weight=0.5)")[1]["findings"] == []


def test_the_configuration_asks_for_it_and_a_wrong_type_is_an_error(folder: Path) -> None:
    settings = '[[tool.archcheck.models]]\ntarget = "nets.py:NoWeight"\ninput = ["8,16"]\nprobe = '
    (folder / "pyproject.toml").write_text(settings + "true\n", encoding="utf-8")
    result = command("--format", "concise", cwd=folder)
    assert result.returncode == 1 and "AC701" in result.stdout
    (folder / "pyproject.toml").write_text(settings + '"yes"\n', encoding="utf-8")
    result = command(cwd=folder)
    assert result.returncode == 2 and "probe: must be true or false" in result.stderr


def test_a_file_alone_cannot_be_probed(folder: Path) -> None:
    result = command("check", "nets.py", "--probe", cwd=folder)
    assert result.returncode == 2 and "--probe is for a model" in result.stderr


def test_a_model_that_is_random_by_design_is_left_alone(folder: Path) -> None:
    _, report = probed(folder, "Random", "--ignore", "AC503")
    assert "random by design" in skipped(report)
    assert report["targets"][0]["probe"]["deterministic"] is False
    assert not [one for one in report["findings"] if one["code"].startswith("AC7")]


def test_outputs_without_a_gradient_are_said(folder: Path) -> None:
    _, report = probed(folder, "Classes")
    assert "no output takes a gradient" in skipped(report)


def test_what_asks_for_a_gpu_is_probed_on_the_cpu(folder: Path) -> None:
    _, report = probed(folder, "OnTheGpu")
    assert "AC702" in [one["code"] for one in report["findings"]]


def test_a_model_that_takes_no_real_numbers_is_said(folder: Path) -> None:
    _, report = probed(folder, "ReadsValues")
    assert "RuntimeError: only without data" in skipped(report)


def test_a_model_that_is_too_large_is_not_built(folder: Path) -> None:
    _, report = probed(folder, "Clean(width=30000)", "--input", "8,30000")
    assert "the limit is" in skipped(report) and "--memory-limit" in skipped(report)


class Stateful(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm = nn.Linear(16, 16), nn.BatchNorm1d(16)
        self.seen = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        return self.norm(self.fc(x)) * torch.rand(())


def test_a_model_that_is_handed_over_stays_bit_for_bit_as_it_was() -> None:
    model = Stateful().eval()
    model(torch.randn(4, 16)).sum().backward()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    numbers, before, seen = torch.get_rng_state(), random.getstate(), model.seen
    report = archcheck.check(model, input=(8, 16), probe=True)
    assert report.targets[0].trace.probe is not None
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
    assert all(torch.equal(gradients[name], p.grad) for name, p in model.named_parameters())
    assert torch.equal(numbers, torch.get_rng_state()) and random.getstate() == before
    assert not model.training and not model.norm.training and model.seen == seen
    assert not model._forward_hooks and not model.fc._forward_pre_hooks
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_weights_of_a_model_that_is_handed_over_are_those_that_are_probed() -> None:
    model = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2))
    assert archcheck.check(model, input=(8, 16), probe=True).ok
    with torch.no_grad():
        model[0].bias.fill_(-100.0)
    report = archcheck.check(model, input=(8, 16), probe=True)
    assert [finding.code for finding in report.findings] == ["AC705"]
