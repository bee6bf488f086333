"""Whole documents with every fix: what is left is what no edit can decide."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from archcheck.core.config import Config, Model
from archcheck.core.finding import Severity
from archcheck.engine.fix.fix_files import FixOptions
from archcheck.engine.pipeline import run

pytestmark = pytest.mark.slow

FIXTURES = Path(__file__).parents[2] / "fixtures" / "documents"
# The documents that the project began with lie beside the checkout, or do not.
SOURCES = Path(__file__).parents[3] / "shared" / "seeds"
DOCUMENTS = {path.stem: path for path in sorted(FIXTURES.glob("*.md"))}
DOCUMENTS |= {path.name[:3]: path for path in sorted(SOURCES.glob("*.md"))}

MODELS = {
    "leaf_classifier": {"LeafResNet16": "4,3,96,96"},
    "first_steps": {"Drawings": "2,1,96,96"},
    "walkthrough": {"net": "1,1,28,28"},
    "training_diary": {"Digits(Unit, [2, 2])": "100,3,32,32"},
    "containers_tutorial": {
        "digits": "8,1,28,28",
        "layers": "8,1,28,28",
        "Pictures": "8,3,32,32",
    },
    "000": {"ResNet32": "8,3,224,224"},
    "001": {"ResNet32": "8,3,224,224"},
    "002": {"net": "1,1,224,224"},
    "003": {"ResNet(ResidualBlock, [3, 3, 3])": "100,3,32,32"},
    "004": {"mymodel": "8,1,28,28", "model_lay": "8,1,28,28", "Resnet18": "64,3,32,32"},
}
# What is left, and why no edit can be told to be the right one.
BETWEEN_BLOCKS = {"AC001": "a line between two blocks: it may belong to either"}
CONTAINERS = {
    "AC001": "an import of a dotted name: which package it is of, only the author knows",
    "AC106": "a stage assigned twice: the second may be a third stage, or not be wanted",
    "AC108": "layers that are never used: to be used somewhere, or not to be built",
    "AC111": "a block built without its stride: any document would do",
    "AC304": "convolutions in a row: the layers that are never used belong between them",
}
UNDECIDED = {
    "leaf_classifier": {},
    "first_steps": BETWEEN_BLOCKS,
    "walkthrough": {},
    "training_diary": {},
    "containers_tutorial": CONTAINERS,
    "000": {},
    "001": BETWEEN_BLOCKS,
    "002": {},
    "003": {},
    "004": CONTAINERS,
}


def test_every_document_is_tried() -> None:
    assert DOCUMENTS.keys() <= UNDECIDED.keys() == MODELS.keys()


@pytest.mark.parametrize("document", sorted(DOCUMENTS))
def test_what_is_left_is_what_no_edit_can_decide(
    document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "document.md"
    shutil.copyfile(DOCUMENTS[document], name)
    models = tuple(Model(f"{name}:{model}", (size,)) for model, size in MODELS[document].items())
    config = Config(paths=(name,), models=models)
    report = run(None, config, Model(""), root=Path(), mending=FixOptions(unsafe=True))
    assert report.usage_errors == report.defects == ()
    left = {f.code for f in report.findings if f.severity and f.severity >= Severity.WARNING}
    assert left == UNDECIDED[document].keys()
    assert all(finding.fix is None for finding in report.findings)
    text = Path(name).read_bytes()
    again = run(None, config, Model(""), root=Path(), mending=FixOptions(unsafe=True))
    assert again.findings == report.findings
    assert Path(name).read_bytes() == text
