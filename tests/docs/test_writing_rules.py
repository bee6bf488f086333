"""docs/writing-rules.md: its rule is a rule, its pack is found, and its test passes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command import ROOT, archcheck

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "writing-rules.md").read_text(encoding="utf-8")
RULE, TEST = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
(ENTRY_POINT,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)

MODEL = """from torch import nn


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose2d(8, 8, kernel_size=3, stride=2)

    def forward(self, x):
        return self.up(x)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What installing the page's pack puts on the path, with a model beside it."""
    folder = tmp_path_factory.mktemp("site")
    pack = folder / "team_rules"
    pack.mkdir()
    (pack / "__init__.py").touch()
    (pack / "uneven_upsampling.py").write_text(RULE, encoding="utf-8")
    metadata = folder / "team_rules-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: team-rules\nVersion: 1.0\n", encoding="utf-8")
    # The table of pyproject.toml becomes a section of this file when a pack is installed.
    announced = re.sub(r'\[project\.entry-points\."(.+)"\]', r"[\1]", ENTRY_POINT).replace('"', "")
    (metadata / "entry_points.txt").write_text(announced, encoding="utf-8")
    (folder / "model.py").write_text(MODEL, encoding="utf-8")
    (folder / "test_team.py").write_text(TEST, encoding="utf-8")
    return folder


def path_of(installed: Path) -> str:
    return os.pathsep.join((str(installed), str(ROOT)))


@pytest.mark.parametrize("target", ["model.py", "model.py:Decoder"])
def test_each_reader_of_the_rule_finds_the_defect_once(installed: Path, target: str) -> None:
    options = ("--input", "2,8,4,4") if ":" in target else ()
    run = archcheck(
        "--select", "TEAM101", "--format", "json", target, *options,
        cwd=installed, PYTHONPATH=path_of(installed),
    )  # fmt: skip
    assert run.returncode == 1, run.stderr
    (finding,) = json.loads(run.stdout)["findings"]
    assert finding["message"] == "a kernel of 3 is no multiple of its stride of 2"
    assert finding["help"] == "kernel_size=4"
    assert finding["line"] == 7


def test_the_rule_is_explained(installed: Path) -> None:
    run = archcheck("explain", "TEAM101", cwd=installed, PYTHONPATH=path_of(installed))
    assert run.returncode == 0, run.stderr
    assert "checkerboard" in run.stdout


def test_the_test_of_the_page_passes(installed: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_team.py"],
        cwd=installed,
        env={**os.environ, "PYTHONPATH": path_of(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout


def test_every_link_of_the_page_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
