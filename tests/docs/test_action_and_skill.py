"""The action's scripts and the skill's commands do what they are described to do."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command import archcheck
from repositories import ROOT

yaml = pytest.importorskip("yaml")
pytest.importorskip("torch")

SKILL = (ROOT / "skills" / "archcheck" / "SKILL.md").read_text(encoding="utf-8")
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
COMMANDS = re.findall(r"`(archcheck (?:[\"a-z]+ ?)[^`]*\.py[^`]*)`", SKILL)

MODEL = '''\
"""A model that takes an image, or tokens with a mask."""

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2)
        self.embed = nn.Embedding(20, 8)
        self.head = nn.Linear(8, num_classes)

    def forward(self, x=None, ids=None, mask=None):
        if ids is not None:
            return self.head((self.embed(ids) * mask[..., None]).mean(1))
        return self.head(torch.relu(self.conv(x)).mean((2, 3)))
'''
BROKEN = """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(x)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    folder = tmp_path_factory.mktemp("project")
    (folder / "model.py").write_text(MODEL)
    (folder / "train.py").write_text("import torch\n\nfrom model import Net\n\nmodel = Net()\n")
    script = "import torch, model; torch.save(model.Net().state_dict(), 'best.pt')"
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True)
    assert torch
    return folder


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_of_the_skill_runs(project: Path, line: str) -> None:
    done = archcheck(*shlex.split(line)[1:], cwd=project, AI_AGENT="1")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_skill_names_its_commands_and_what_they_print(tmp_path: Path) -> None:
    assert len(COMMANDS) >= 10
    (tmp_path / "model.py").write_text(BROKEN)
    shown = archcheck("model.py", "--format", "agent", cwd=tmp_path).stdout.splitlines()
    assert re.fullmatch(r"model\.py:\d+:\d+: AC101 error [^|]+ \| help: .+", shown[0])
    assert shown[-1].startswith("checked ")


def test_the_plugin_leads_to_the_skill_and_the_language_server() -> None:
    plugin = json.loads((ROOT / ".claude-plugin" / "plugin.json").read_text(encoding="utf-8"))
    front = yaml.safe_load(SKILL.split("---")[1])
    assert (ROOT / plugin["skills"] / front["name"] / "SKILL.md").is_file()
    assert plugin["version"] == archcheck("--version", cwd=ROOT).stdout.split()[1]
    (server,) = plugin["lspServers"].values()
    assert archcheck(*server["args"], "--help", cwd=ROOT).returncode == 0


def run_action(folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run the step `Check` as GitHub would: each input at its default, but for those given."""
    step = next(step for step in ACTION["runs"]["steps"] if step.get("name") == "Check")
    environment = {}
    for variable, expression in step["env"].items():
        name = re.fullmatch(r"\$\{\{ inputs\.([\w-]+) \}\}", expression)[1]  # type: ignore[index]
        default = str(ACTION["inputs"][name]["default"])
        environment[variable] = inputs.get(name.replace("-", "_"), default)
    for name in ("temp", "bin"):
        (folder / name).mkdir(exist_ok=True)
    command = folder / "bin" / "archcheck"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m archcheck "$@"\n')
    command.chmod(0o755)
    return subprocess.run(
        ["bash", "-c", step["run"]],
        cwd=folder,
        env={
            **os.environ,
            **environment,
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "GITHUB_ACTION_PATH": str(ROOT),
            "RUNNER_TEMP": str(folder / "temp"),
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
            "GITHUB_OUTPUT": str(folder / "output"),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def outputs(folder: Path) -> dict[str, Any]:
    lines = (folder / "output").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_findings_fail_the_action_and_reach_the_summary(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(BROKEN)
    done = run_action(tmp_path, targets="model.py")
    assert done.returncode == 1
    assert done.stdout.startswith("::error ") and "AC101" in done.stdout
    assert "AC101" in (tmp_path / "summary.md").read_text()
    files = outputs(tmp_path)
    (run,) = json.loads(Path(files["sarif"]).read_text())["runs"]
    assert [one["ruleId"] for one in run["results"]] == ["AC101"]
    assert files["markdown"].endswith(".md")


def test_clean_targets_pass_and_quotes_keep_a_target_together(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(MODEL)
    done = run_action(tmp_path, targets='"model.py:Net(num_classes= 4)" model.py', fail_on="error")
    assert done.returncode == 0, done.stderr
    assert "::error" not in done.stdout
    assert "Net(num_classes= 4)" in (tmp_path / "summary.md").read_text()


def test_a_wrong_call_fails_the_action_with_its_own_code(tmp_path: Path) -> None:
    done = run_action(tmp_path, targets="missing.py")
    assert done.returncode == 2
    assert "missing.py" in done.stderr
    done = run_action(tmp_path, targets=".", fail_on="fatal")
    assert done.returncode == 2
