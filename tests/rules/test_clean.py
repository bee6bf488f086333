"""Models that work as their authors meant: nothing at warning or above is said about them.

fixtures/clean holds the plain ones, which benchmarks/mutations.py breaks; fixtures/clean/awkward
holds correct code that looks like a defect.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from test_fixtures import ROOT, models

from archcheck.core.config import Config, Model
from archcheck.core.finding import Severity
from archcheck.engine.pipeline import run

pytestmark = pytest.mark.slow

FILES = sorted((ROOT / "fixtures" / "clean").rglob("*.py"))


@pytest.fixture(scope="module")
def report():
    """One run over all of them, from source and traced as their heads say."""
    pytest.importorskip("torch")
    config = Config(
        select=("ALL",),
        paths=tuple(path.relative_to(ROOT).as_posix() for path in FILES),
        models=tuple(model for path in FILES for model in models(path)),
    )
    patch = pytest.MonkeyPatch()
    patch.chdir(ROOT)
    try:
        return run(None, config, Model(""), root=Path())
    finally:
        patch.undo()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nothing_is_said_about_a_model_that_works(path: Path, report) -> None:
    shown = path.relative_to(ROOT).as_posix()
    said = [
        f"{finding.location.line} {finding.code} {finding.message}"
        for finding in report.findings
        if finding.location.path == shown and finding.severity >= Severity.WARNING
    ]
    assert said == []


def test_all_of_them_were_traced_to_their_ends(report) -> None:
    assert report.defects == ()
    assert report.usage_errors == ()
    traces = [target.trace for target in report.targets]
    assert [trace.target for trace in traces if not trace.complete or trace.failures] == []
    assert len(traces) == sum(len(models(path)) for path in FILES)
