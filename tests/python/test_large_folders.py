"""A target among very many files: what is not imported is not walked, and nothing hangs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from archcheck.python import Project
from archcheck.python.package_text import Surroundings

MODEL = """\
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        return F.softmax(self.fc(x), dim=1)
"""


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """A package with a file that matters beside folders of data and of an environment."""
    (tmp_path / "__init__.py").touch()
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "policy.py").write_text("from model import Net\n")
    for number in range(30):
        folder = tmp_path / "data" / f"part{number}"
        folder.mkdir(parents=True)
        for file in range(1000):
            os.symlink("../../model.py", folder / f"copy{file}.py")
    (tmp_path / "env" / "lib").mkdir(parents=True)
    (tmp_path / "env" / "pyvenv.cfg").touch()
    (tmp_path / "env" / "lib" / "net.py").write_text("Net")
    return tmp_path


def test_a_package_is_looked_through_from_near_to_far(crowded: Path) -> None:
    found = Surroundings.of_package(str(crowded))
    names = {os.path.relpath(place, crowded) for place in found.naming("Net")}
    assert {"model.py", os.path.join("zoo", "policy.py")} <= names
    assert not any(name.startswith("env") for name in names)
    assert len(found.texts) <= 4000


def test_a_folder_of_very_many_files_is_looked_through_in_part(tmp_path: Path) -> None:
    for number in range(4100):
        (tmp_path / f"file{number:04}.py").write_text("pass\n")
    assert len(Surroundings.of_folder(str(tmp_path)).texts) == 4000


def test_folders_are_listed_no_oftener_than_it_takes(
    crowded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[str] = []
    scandir = os.scandir

    def counted(place: str) -> object:
        listed.append(str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", counted)
    monkeypatch.chdir(crowded)
    assert Project().file("model.py").modules
    assert not any("part" in place for place in listed)


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes")
def test_a_pipe_is_no_file_of_a_package(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "data").mkdir()
    os.mkfifo(tmp_path / "pipe.py")
    os.mkfifo(tmp_path / "data" / "pipe.py")
    for found in (Surroundings.of_package(str(tmp_path)), Surroundings.of_folder(str(tmp_path))):
        assert [Path(place).name for place in found.texts] == ["model.py"]
