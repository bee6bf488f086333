"""A defect of archcheck in one model ends neither the run nor the answers to the others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

pytestmark = pytest.mark.slow

# What a model's file does to the tool before it is traced: a tensor with 13 columns breaks it.
SABOTAGE = """
import torch
from torch import nn
import archcheck.tracing.record.kernels as kernels
from archcheck.tracing.record.recorder import Recorder

BROKEN = '''
def broken_answer(func, args, kwargs):
    if any(isinstance(a, torch.Tensor) and a.shape[-1:] == (13,) for a in args):
        raise KeyError("sabotaged on meta tensors")
    return answer(func, args, kwargs)


def broken_end(self, op, result, *more):
    if isinstance(result, torch.Tensor) and result.shape[-1:] == (17,):
        raise KeyError("sabotaged on every rung")
    return end_op(self, op, result, *more)


def broken_written(self, tensor, op):
    if tensor.shape[-1:] == (19,):
        raise KeyError("sabotaged below a function")
    return written(self, tensor, op)
'''


def break_the_tool():
    names = {"torch": torch, "answer": kernels.answer, "end_op": Recorder.end_op}
    names["written"] = Recorder.written
    # As if a file of the tool raised it.
    exec(compile(BROKEN, kernels.__file__, "exec"), names)
    kernels.answer, Recorder.end_op = names["broken_answer"], names["broken_end"]
    Recorder.written = names["broken_written"]


class OnMeta(nn.Module):
    def __init__(self):
        super().__init__()
        break_the_tool()
        self.layer = nn.Linear(4, 13)

    def forward(self, x):
        return torch.relu(self.layer(x))


class Everywhere(nn.Module):
    def __init__(self):
        super().__init__()
        break_the_tool()
        self.layer = nn.Linear(4, 17)

    def forward(self, x):
        return self.layer(x)


class Below(nn.Module):
    def __init__(self):
        super().__init__()
        break_the_tool()
        self.layer = nn.Linear(4, 19)

    def forward(self, x):
        return torch.relu_(self.layer(x))
"""
SOUND = """
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x):
        return self.layer(x)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sabotage.py").write_text(SABOTAGE, encoding="utf-8")
    (tmp_path / "sound.py").write_text(SOUND, encoding="utf-8")
    return tmp_path


def archcheck(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "archcheck", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def test_the_targets_around_a_defect_are_answered(folder: Path) -> None:
    targets = [f"sabotage.py:{name}" for name in ("OnMeta", "Everywhere", "Below")]
    targets.insert(1, "sound.py:Net")
    run = archcheck(folder, *targets, "--input", "2,4", "--format", "json")
    assert run.returncode == 3, run.stderr
    by_target = {target["target"]: target for target in json.loads(run.stdout)["targets"]}
    assert by_target["sound.py:Net"]["params"]["total"] == 4 * 2 + 2
    # The next kind of tensors answered.
    assert by_target["sabotage.py:OnMeta"]["outputs"][0]["shape"] == [2, 13]
    assert by_target["sabotage.py:OnMeta"]["traced_with"] == "fake"
    assert by_target["sabotage.py:Everywhere"]["traced_with"] is None
    assert by_target["sabotage.py:Below"]["traced_with"] is None
    assert "sabotaged on meta tensors" in run.stderr
    assert json.loads(run.stdout)["findings"] == []
    assert "sabotage.py:Below, real: Traceback" in run.stderr
    assert "sabotage.py:Everywhere, real: Traceback" in run.stderr
    assert "this is a defect of archcheck, not of your code" in run.stderr


def test_a_model_that_nobody_saw_is_no_clean_model(folder: Path) -> None:
    run = archcheck(folder, "sabotage.py:Everywhere", "sound.py:Net", "--input", "2,4")
    assert run.returncode == 3
    assert "sabotage.py:Everywhere: not traced, because archcheck itself failed on it" in run.stdout
    assert "All checks passed" not in run.stdout
    run = archcheck(folder, "annotate", "sabotage.py:Everywhere", "--input", "2,4")
    assert run.returncode == 3, run.stderr


def test_the_lock_keeps_the_models_that_archcheck_can_trace(folder: Path) -> None:
    run = archcheck(folder, "lock", "sabotage.py:Everywhere", "sound.py:Net", "--input", "2,4")
    assert run.returncode == 3, run.stderr
    assert "sabotage.py:Everywhere is not locked: archcheck itself failed on it" in run.stderr
    assert "sound.py:Net" in (folder / "archcheck.lock").read_text(encoding="utf-8")
