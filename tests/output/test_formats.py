"""Every format as the command gives it: the same bytes in every run, and what its readers ask."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

from archcheck.output import FORMATS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).parents[1] / "data"

BROKEN = """\
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        self.layer = nn.Linear(4, 4)
        self.spare = nn.Linear(4, 4)

    def forward(self, x):
        return F.softmax(self.layer(x))
"""

MODEL = """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(8, 16)
        self.second = nn.Linear(12, 4)

    def forward(self, x):
        return {"logits": self.second(self.first(x).relu())}
"""


def archcheck(*arguments: str, cwd: Path, seed: str = "0") -> subprocess.CompletedProcess[bytes]:
    """Run the real command; `seed` decides in which order its sets are walked."""
    return subprocess.run(
        [sys.executable, "-m", "archcheck", *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "broken.py").write_text(BROKEN)
    (folder / "deeper").mkdir()
    (folder / "deeper" / "ein ümlaut.py").write_text(BROKEN)
    (folder / "notes.md").write_text(f"# Notes\n\n```python\n{BROKEN}```\n\n```\nloss 0.3\n```\n")
    cell = {"cell_type": "code", "source": BROKEN, "metadata": {}, "outputs": []}
    (folder / "book.ipynb").write_text(json.dumps({"cells": [cell], "nbformat": 4}))
    (folder / "model.py").write_text(MODEL)
    return folder


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_bytes_in_every_run(folder: Path, format: str) -> None:
    first, second = (archcheck(".", "--format", format, cwd=folder, seed=seed) for seed in "12")
    assert first.returncode == 1
    assert b"AC101" in first.stdout
    assert (first.stdout, first.stderr) == (second.stdout, second.stderr)


@pytest.mark.parametrize("format", ["text", "json"])
def test_the_same_bytes_in_every_trace(folder: Path, format: str) -> None:
    call = ("model.py:Net", "--input", "2,8", "--select", "ALL", "--format", format)
    first, second = (archcheck(*call, cwd=folder, seed=seed) for seed in "12")
    assert b"AC201" in first.stdout
    assert first.stdout == second.stdout


def test_every_format_tells_of_every_finding(folder: Path) -> None:
    def told(format: str) -> str:
        return archcheck(".", "--format", format, cwd=folder).stdout.decode()

    findings = json.loads(told("json"))["findings"]
    assert {finding["path"] for finding in findings} == {
        *("broken.py", "deeper/ein ümlaut.py", "notes.md", "book.ipynb")
    }
    (run,) = json.loads(told("sarif"))["runs"]
    assert [result["ruleId"] for result in run["results"]] == [one["code"] for one in findings]
    places = [one["locations"][0]["physicalLocation"] for one in run["results"]]
    assert {place["artifactLocation"]["uri"] for place in places} == {
        *("broken.py", "deeper/ein%20%C3%BCmlaut.py", "notes.md", "book.ipynb")
    }
    entries = json.loads(told("gitlab"))
    assert [entry["check_name"] for entry in entries] == [one["code"] for one in findings]
    assert len(told("github").splitlines()) == len(findings)
    root = ElementTree.fromstring(told("junit").encode())
    failures = [case for case in root.iter("testcase") if case.find("failure") is not None]
    assert len(failures) == len(findings) == int(root.get("failures", "0"))
    concise = told("concise")
    assert all(f"{one['code']} {one['severity']}" in concise for one in findings)


def test_sarif_of_the_command_keeps_to_the_published_schema(folder: Path) -> None:
    call = ("model.py:Net", "broken.py", "--input", "2,8", "--format", "sarif")
    document = json.loads(archcheck(*call, cwd=folder).stdout)
    schema = json.loads((DATA / "sarif-schema-2.1.0.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema)
    (run,) = document["runs"]
    known = {rule["id"]: rule for rule in run["tool"]["driver"]["rules"]}
    assert all(known[result["ruleId"]]["help"]["markdown"] for result in run["results"])
    assert any("fixes" in result for result in run["results"])
    assert all(result["partialFingerprints"] for result in run["results"])


@pytest.mark.parametrize("format", ["json", "markdown"])
def test_a_file_beside_the_text(folder: Path, tmp_path: Path, format: str) -> None:
    path = tmp_path / "report"
    run = archcheck("broken.py", "--format", format, "--output", str(path), cwd=folder)
    assert run.returncode == 1
    assert b"error[AC101]" in run.stdout
    assert path.read_bytes() == archcheck("broken.py", "--format", format, cwd=folder).stdout


def test_a_file_that_cannot_be_written_costs_no_findings(folder: Path) -> None:
    run = archcheck("broken.py", "--format", "json", "--output", "no/such/report", cwd=folder)
    assert (run.returncode, len(run.stderr.splitlines())) == (2, 1)
    assert b"error[AC101]" in run.stdout
