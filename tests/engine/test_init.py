"""`archcheck init` looks at a project and proposes a configuration."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command import ROOT, archcheck

from archcheck.core.config import parse_count, read_config
from archcheck.core.target import UsageError
from archcheck.engine.init.candidates import candidates, model_files
from archcheck.engine.init.section import ConfigFile, limit_above, section

pytestmark = pytest.mark.slow

NET = """\
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.act = nn.ReLU()

    def forward(self, x):
        return x + self.linear(self.act(x))


class Net(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.stem = nn.Linear(8, width)
        self.block = Block(width)
        self.act = nn.ReLU()
        self.head = nn.Linear(width, 4)

    def forward(self, x):
        return self.head(self.act(self.block(self.stem(x))))


class Crashing(Net):
    def forward(self, x):
        return self.stem(self.head(x))
"""
PROJECT = '[project]\nname = "nets"  # no newline at the end'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "__init__.py").write_text("")
    (tmp_path / "nets" / "net.py").write_text(NET)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_net.py").write_text(NET.replace("Net", "TestNet"))
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    return tmp_path


def test_the_diff_is_shown_and_nothing_written_without_a_terminal(project: Path) -> None:
    run = archcheck("init", cwd=project)
    assert run.returncode == 0
    assert run.stdout.startswith("--- a/pyproject.toml\n+++ b/pyproject.toml\n")
    assert '+target = "nets/net.py:Net"\n+input = ["2,8"]\n' in run.stdout
    assert "Crashing" not in run.stdout and "TestNet" not in run.stdout
    *others, last = run.stderr.splitlines()
    assert "nets/net.py:Crashing is not proposed: forward raised" in "".join(others)
    assert "archcheck init --yes" in last
    assert (project / "pyproject.toml").read_text() == PROJECT


def test_what_is_written_is_valid_and_checks(project: Path) -> None:
    path = project / "nets" / "net.py"
    path.write_text(NET[: NET.index("class Crashing")].rstrip() + "\n")
    run = archcheck("init", "--yes", cwd=project / "nets")
    assert run.returncode == 0
    text = (project / "pyproject.toml").read_text()
    assert text.startswith(PROJECT + "\n")
    config, root = read_config(project)
    assert root == project and config.paths == ("nets",)
    (model,) = config.models
    assert (model.target, model.inputs) == ("nets/net.py:Net", ("2,8",))
    checked = archcheck(cwd=project)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "nets/net.py:Net" in checked.stdout
    again = archcheck("init", "--yes", cwd=project)
    assert again.returncode == 2
    assert "has a [tool.archcheck] section already" in again.stderr
    assert (project / "pyproject.toml").read_text() == text


def test_without_torch_only_paths_are_proposed(project: Path) -> None:
    (project / "hidden").mkdir()
    (project / "hidden" / "torch.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n"
    )
    (project / "pyproject.toml").unlink()
    path = os.pathsep.join([str(project / "hidden"), str(ROOT)])
    run = archcheck("init", "--yes", cwd=project, PYTHONPATH=path)
    assert run.returncode == 0
    assert run.stdout.startswith("--- /dev/null\n+++ b/pyproject.toml\n")
    assert len([line for line in run.stderr.splitlines() if "archcheck-torch[trace]" in line]) == 1
    config, _ = read_config(project)
    assert (config.paths, config.models) == (("nets",), ())


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.parametrize(("answer", "written"), [("n", False), ("y", True)])
def test_a_terminal_is_asked(tmp_path: Path, answer: str, written: bool) -> None:
    terminal, other_end = os.openpty()
    try:
        os.write(terminal, f"{answer}\n".encode())
        run = subprocess.run(
            [sys.executable, "-m", "archcheck", "init"],
            cwd=tmp_path,
            stdin=other_end,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    finally:
        os.close(terminal)
        os.close(other_end)
    assert run.returncode == 0
    assert "Write this into" in run.stderr
    assert (tmp_path / "pyproject.toml").exists() is written


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[project\n", "is no TOML"),
        ("tool = { ruff = {} }\n", "[tool.…] tables"),
        ("[tool.archcheck]\n", "already"),
    ],
)
def test_a_file_that_takes_no_section_is_left_alone(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(text)
    run = archcheck("init", "--yes", cwd=tmp_path)
    assert (run.returncode, run.stdout) == (2, "")
    assert part in run.stderr and len(run.stderr.splitlines()) == 1
    assert path.read_text() == text


def test_line_ends_and_the_nearest_file_of_the_repository(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "pyproject.toml").write_bytes(b"[project]\r\n")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    file = ConfigFile.around(below)
    assert file.path == tmp_path / "pyproject.toml"
    text = file.with_section(list(section(["a"], [])))
    assert text.startswith("[project]\r\n\r\n[tool.archcheck]\r\n")
    assert "\n" not in text.replace("\r\n", "")
    (tmp_path / ".git").rmdir()
    # Without a repository, nothing above is this project's.
    assert ConfigFile.around(below) == ConfigFile(below / "pyproject.toml", None)
    (below / "pyproject.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="no TOML"):
        ConfigFile.around(below)


MODELS = """\
import torch
from torch import nn


class Basic(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3)

    def forward(self, x):
        return self.conv(x)


class ResNet(nn.Module):
    def __init__(self, block, depths):
        super().__init__()
        self.blocks = nn.Sequential(*[block(16) for _ in range(sum(depths))])

    def forward(self, x):
        return self.blocks(x)


def resnet(depth=18):
    model = ResNet(Basic, [2, 2])
    return model


def sized(depth):
    return ResNet(Basic, [depth])


def plain():
    return nn.Sequential(nn.Linear(2, 2))


def _hidden():
    return ResNet(Basic, [1])


class Base(nn.Module):
    pass


class Alone(Base):
    def forward(self, x):
        return x


class Loss(nn.Module):
    def __init__(self, weight=None):
        super().__init__()

    def forward(self, prediction, target):
        return (prediction - target).abs().mean()


def number():
    return 3


def make():
    return Alone()
"""


def test_candidates_are_whole_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models.py").write_text(MODELS)
    (tmp_path / "other.py").write_text(
        "from torch import nn\nfrom models import Loss\n\n\n"
        "class Trainer(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.loss = Loss()\n\n    def forward(self, x):\n        return self.loss(x, x)\n"
    )
    (tmp_path / "test_models.py").write_text(MODELS)
    assert [one.target for one in candidates(model_files(tmp_path))] == [
        "models.py:resnet",
        "models.py:plain",
        "other.py:Trainer",
    ]


def test_the_limit_that_is_proposed_leaves_room() -> None:
    assert [limit_above(n) for n in (0, 7, 90, 3352, 22_000_000, 60_192_808)] == [
        *("0", "8", "99", "3.7K", "25M", "67M")
    ]
    for count in (1, 12, 345, 99_999, 10**9):
        assert parse_count(limit_above(count)) >= count
