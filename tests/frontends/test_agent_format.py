"""What agents get: a line for each finding, and a last line that says what was checked."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import archcheck

pytestmark = pytest.mark.slow

BAD = """from torch import nn


class Net(nn.Module):
    def __init__(self):
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(x)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(BAD)
    (tmp_path / "right.py").write_text(
        BAD.replace("self.fc = nn", "super().__init__()\n        self.fc = nn")
    )
    return tmp_path


def test_a_finding_is_one_line_with_its_help_and_its_fix(folder: Path) -> None:
    run = archcheck("net.py", "--format", "agent", cwd=folder)
    finding, checked = run.stdout.splitlines()
    assert run.returncode == 1
    assert finding.startswith("net.py:") and " AC101 error " in finding
    assert " | help: " in finding and finding.endswith(" | fix: --fix")
    assert checked.startswith("checked 1 file: 1 error")


def test_silence_says_what_was_checked(folder: Path) -> None:
    run = archcheck("right.py", "--format", "agent", cwd=folder)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("checked 1 file: ")


def test_a_trace_is_told_with_its_shapes_and_costs(folder: Path) -> None:
    pytest.importorskip("torch")
    run = archcheck("right.py:Net", "--input", "8,4", "--format", "agent", cwd=folder)
    assert "right.py:Net (x=[8, 4] -> [8, 2], 10 parameters, 64 MACs)" in run.stdout


@pytest.mark.parametrize("variable", ["AI_AGENT", "CLAUDECODE", "GEMINI_CLI", "CURSOR_AGENT"])
def test_it_is_chosen_where_an_agent_runs_the_command_and_says_so(
    folder: Path, variable: str
) -> None:
    run = archcheck("net.py", cwd=folder, **{variable: "1"})
    assert run.stdout.splitlines()[-1].startswith("checked 1 file: ")
    assert variable in run.stderr and "--format text" in run.stderr


def test_what_an_agent_asks_for_it_gets(folder: Path) -> None:
    run = archcheck("net.py", "--format", "text", cwd=folder, CLAUDECODE="1")
    assert "-->" in run.stdout and run.stderr == ""
