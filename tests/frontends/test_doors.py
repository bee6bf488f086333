"""The command line, Python, annotate, pytest and the editor's server find the same."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("torch")
pytest.importorskip("pygls", reason="the language server is archcheck-torch[lsp]")

from command import archcheck as command

from archcheck import check
from archcheck.core.config import Config, Model, read_config
from archcheck.core.finding import Finding
from archcheck.engine.session import Session
from archcheck.frontends.lsp.documents import OpenDocument, Part
from archcheck.frontends.lsp.source_views import look
from archcheck.frontends.lsp.traces import trace
from archcheck.frontends.lsp.views import View
from archcheck.frontends.pytest.items import Gate, parts
from archcheck.worker.process.client import Workers

# From source and from the trace: layers in a list (AC107), and sizes that do not fit (AC201).
NET = """\
import torch
from torch import nn


class TwoDoors(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = [nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)]
        self.head = nn.Linear(100, 10)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(torch.relu(x).flatten(1))
"""
TARGET = "doors_net.py:TwoDoors"
CONFIGURATION = f"""\
[tool.archcheck]
{{more}}

[[tool.archcheck.models]]
target = "{TARGET}"
input = ["2,3,8,8"]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "doors_net.py").write_text(NET)
    (tmp_path / "pyproject.toml").write_text(CONFIGURATION.format(more=""))
    return tmp_path


Shown = set[tuple[str, str, int, int, str]]


def shown(findings: Iterable[Finding]) -> Shown:
    return {
        (one.code, one.location.path, one.location.line, one.location.column, one.message)
        for one in findings
    }


def by_command(project: Path, *options: str) -> Shown:
    done = command(TARGET, "--format", "json", *options, cwd=project)
    assert done.returncode in (0, 1), done.stderr
    return {
        (one["code"], one["path"], one["line"], one["column"], one["message"])
        for one in json.loads(done.stdout)["findings"]
    }


def by_editor(path: str) -> Shown:
    """What the server shows of an open file and of its model's trace."""
    part = Part(Path(path).absolute().as_uri(), Path(path).read_text())
    documents = {path: OpenDocument(part.uri, path, (part,), Path(path).read_bytes())}
    with Workers() as workers:
        traced = trace(Model(TARGET, ("2,3,8,8",)), documents, workers)
    return shown(View.of(look(path, documents), [traced]).report.findings)


def by_pytest(project: Path) -> Shown:
    config, root = read_config(project)
    gate = Gate(config, root / "pyproject.toml")
    try:
        return shown(one for _, part in parts(config) for one in gate.check(part).findings)
    finally:
        gate.pytest_unconfigure()


def imported(project: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(project)
    sys.modules.pop("doors_net", None)
    return importlib.import_module("doors_net")


def test_all_doors_find_the_same(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = by_command(project)
    assert {code for code, *_ in found} == {"AC107", "AC201"}
    assert by_command(project) == found, "as it is remembered"
    assert by_pytest(project) == found
    assert by_editor("doors_net.py") == found
    assert shown(check(TARGET, input=(2, 3, 8, 8)).findings) == found
    model = imported(project, monkeypatch).TwoDoors()
    assert shown(check(model, input=(2, 3, 8, 8)).findings) == found
    with Session.of(project) as session:
        assert shown(session.check([TARGET]).findings) == found
        # As annotate and `archcheck evidence` trace.
        assert shown(session.trace(Model(TARGET, ("2,3,8,8",))).findings) == found


def test_all_doors_heed_the_configuration(project: Path) -> None:
    ignored = 'ignore = ["AC306"]\nper-file-ignores = {"*.py" = ["AC107"]}'
    (project / "pyproject.toml").write_text(CONFIGURATION.format(more=ignored))
    found = by_command(project)
    assert {code for code, *_ in found} == {"AC201"}
    assert by_pytest(project) == found
    assert by_editor("doors_net.py") == found


def test_all_doors_let_the_baseline_stand(project: Path) -> None:
    (project / "pyproject.toml").write_text(CONFIGURATION.format(more='baseline = "known.json"'))
    done = command(TARGET, "--write-baseline", cwd=project)
    assert done.returncode == 0, done.stderr
    assert by_command(project) == by_pytest(project) == by_editor("doors_net.py") == set()


def test_a_session_keeps_its_workers(project: Path) -> None:
    with Session(Config(), project) as session:
        assert session.reconfigured(Config(select=("AC201",)), project).workers is session.workers
