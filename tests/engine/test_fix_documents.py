"""The source documents with every fix: what is left is what no edit can decide."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from archcheck.core.config import Config, Model
from archcheck.core.finding import Severity
from archcheck.engine.fix.fix_files import FixOptions
from archcheck.engine.pipeline import run

SEEDS = Path(__file__).parents[3] / "shared" / "seeds"
DOCUMENTS = {path.name[:3]: path for path in sorted(SEEDS.glob("*.md"))}

pytestmark = pytest.mark.skipif(not DOCUMENTS, reason="the source documents are not here")

MODELS = {
    "000": {"ResNet32": "8,3,224,224"},
    "001": {"ResNet32": "8,3,224,224"},
    "002": {"net": "1,1,224,224"},
    "003": {"ResNet(ResidualBlock, [3, 3, 3])": "100,3,32,32"},
    "004": {"mymodel": "8,1,28,28", "model_lay": "8,1,28,28", "Resnet18": "64,3,32,32"},
}
# What is left, and why no edit can be told to be the right one.
UNDECIDED = {
    "000": {},
    "001": {"AC001": "a line between two blocks: it may belong to either"},
    "002": {},
    "003": {},
    "004": {
        "AC001": "an import of a dotted name: which package it is of, only the author knows",
        "AC106": "a stage assigned twice: the second may be a fourth stage, or not be wanted",
        "AC108": "layers that are never used: to be used somewhere, or not to be built",
        "AC111": "a block built without its stride: any number would do",
        "AC304": "convolutions in a row: the layers that are never used belong between them",
    },
}


@pytest.mark.parametrize("number", sorted(UNDECIDED))
def test_what_is_left_is_what_no_edit_can_decide(
    number: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "document.md"
    shutil.copyfile(DOCUMENTS[number], name)
    models = tuple(Model(f"{name}:{model}", (size,)) for model, size in MODELS[number].items())
    config = Config(paths=(name,), models=models)
    report = run(None, config, Model(""), root=Path(), mending=FixOptions(unsafe=True))
    assert report.usage_errors == report.defects == ()
    left = {f.code for f in report.findings if f.severity and f.severity >= Severity.WARNING}
    assert left == UNDECIDED[number].keys()
    assert all(finding.fix is None for finding in report.findings)
    text = Path(name).read_bytes()
    again = run(None, config, Model(""), root=Path(), mending=FixOptions(unsafe=True))
    assert again.findings == report.findings
    assert Path(name).read_bytes() == text
