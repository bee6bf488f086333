"""Sizes with names, as the commands show them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import archcheck

MODEL = """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        b, c, h, w = x.shape
        x = self.conv(x)
        return self.head(x.flatten(2).mean(-1))


class Pairs(nn.Module):
    def forward(self, x):
        return x @ x
"""


# Its heads are never put beside one another again; sizes alone cannot tell.
SCRAMBLED = """\
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    def __init__(self, width=24, heads=4):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)

    def forward(self, x):
        samples, steps, width = x.shape
        qkv = self.qkv(x).reshape(samples, steps, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        scores = F.softmax(q @ k.transpose(-1, -2) / (width // self.heads) ** 0.5)
        return (scores @ v).reshape(samples, steps, width)
"""


@pytest.fixture(name="folder")
def folder_with_a_model(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(MODEL)
    return tmp_path


def test_annotate_shows_expressions_and_says_what_it_assumes(folder: Path) -> None:
    run = archcheck("annotate", "net.py:Net", "--input", "8,3,64,64", "--symbolic", cwd=folder)
    assert run.returncode == 0
    assert "x: [B, 8, H/2, W/2]" in run.stdout and "return: [B, 10]" in run.stdout
    assert "B = 8, H = 64, W = 64 in this pass" in run.stdout
    assert "H and W are taken to be multiples of 2" in run.stdout


def test_annotate_shows_numbers_where_nobody_asks_for_symbols(folder: Path) -> None:
    run = archcheck("annotate", "net.py:Net", "--input", "8,3,64,64", cwd=folder)
    assert "[8, 8, 32, 32]" in run.stdout and "in this pass" not in run.stdout


def test_json_has_expressions_beside_the_numbers(folder: Path) -> None:
    arguments = ("net.py:Net", "--input", "B,3,I,J", "--format", "json", "--symbolic")
    (target,) = json.loads(archcheck(*arguments, cwd=folder).stdout)["targets"]
    assert target["symbolic"] == {"inputs": [["B", 3, "I", "J"]], "outputs": [["B", 10]]}
    rows = {row["path"]: row["output_symbolic"] for row in target["modules"]}
    assert rows["conv"] == [["B", 8, "I/2", "J/2"]]
    assert target["inputs"][0]["shape"] == [2, 3, 224, 224]


def test_a_letter_that_stands_twice_is_one_size(folder: Path) -> None:
    run = archcheck(
        *("net.py:Pairs", "--input", "N,N", "--format", "json", "--symbolic"), cwd=folder
    )
    (target,) = json.loads(run.stdout)["targets"]
    assert target["symbolic"] == {"inputs": [["N", "N"]], "outputs": [["N", "N"]]}


def test_arithmetic_on_a_letter_is_refused_with_the_right_form(folder: Path) -> None:
    run = archcheck("net.py:Net", "--input", "2B,3,8,8", cwd=folder)
    assert run.returncode == 2 and "`B,3,8,8`" in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("options", [(), ("--fix",)], ids=["checked", "fixed"])
def test_what_only_symbols_tell_stands_beside_findings_with_fixes(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    (tmp_path / "net.py").write_text(SCRAMBLED)
    call = ("net.py:Attention", "--input", "3,12,24", "--format", "json", "--select", "AC222,AC402")
    findings = json.loads(archcheck(*call, *options, cwd=tmp_path).stdout)["findings"]
    fixes = {finding["code"]: finding["fix"] for finding in findings}
    assert "AC222" in fixes
    assert fixes.get("AC402", "fixed") and ("AC402" in fixes) != bool(options)


def test_symbols_are_asked_of_models_alone(folder: Path) -> None:
    run = archcheck("net.py", "--symbolic", cwd=folder)
    assert run.returncode == 2
    assert "--symbolic" in run.stderr
