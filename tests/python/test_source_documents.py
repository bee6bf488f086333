"""The source documents that the project exists for, where they lie beside the checkout.

Each must give exactly these findings, on these lines, and nothing else at warning or above.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from archcheck.core.config import Config, Model
from archcheck.core.finding import Severity
from archcheck.core.report import Report
from archcheck.engine.pipeline import run

SEEDS = Path(__file__).parents[3] / "shared" / "seeds"
DOCUMENTS = {path.name[:3]: path for path in sorted(SEEDS.glob("*.md"))}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DOCUMENTS, reason="the source documents are not here"),
]

FROM_SOURCE = {
    "000": ["35 AC301", "56 AC001", "91 AC401", "91 AC402", "129 AC101", "131 AC103"],
    "001": ["11 AC101", "13 AC103", "32 AC001", "58 AC301", "114 AC401", "114 AC402"],
    "002": [],
    "003": ["9 AC506", "13 AC506", "29 AC504", "121 AC506", "124 AC505", "139 AC501"],
    "004": [
        *("38 AC001", "52 AC108", "65 AC401", "115 AC201", "117 AC406", "152 AC201"),
        *("154 AC406", "184 AC201", "186 AC406", "228 AC105", "232 AC402"),
        *("337 AC204", "341 AC204", "368 AC204", "372 AC204", "465 AC106", "467 AC111"),
        *("587 AC108", "589 AC108"),
    ],
}
STALE_COMMENTS = {"000": range(82, 90), "001": range(105, 113)}


def checked(number: str, name: str = "", *inputs: str, select: tuple[str, ...] = ()) -> Report:
    path = DOCUMENTS[number]
    model = Model(f"{path}:{name}", inputs)
    return run(
        [model.target if name else str(path)],
        Config(extend_select=select),
        model,
        root=Path(),
    )


def found(report: Report, severity: Severity = Severity.WARNING) -> list[str]:
    return sorted(
        {f"{f.location.line} {f.code}" for f in report.findings if f.severity >= severity},
        key=lambda text: (int(text.split()[0]), text),
    )


def added(number: str, name: str, *inputs: str) -> tuple[list[str], Report]:
    """What tracing finds besides what the source shows."""
    report = checked(number, name, *inputs)
    assert report.usage_errors == report.defects == ()
    before = set(found(checked(number)))
    return [line for line in found(report) if line not in before], report


@pytest.mark.parametrize("number", sorted(FROM_SOURCE))
def test_from_source(number: str) -> None:
    assert found(checked(number)) == FROM_SOURCE[number]


@pytest.mark.parametrize("number", ["000", "001"])
def test_the_resnet_and_its_cost(number: str) -> None:
    lines, report = added(number, "ResNet32", "8,3,224,224")
    (target,) = report.targets
    classifier = {"000": 90, "001": 113}[number]
    stale = [f"{line} AC213" for line in STALE_COMMENTS[number]]
    assert lines == [*stale, f"{classifier} AC212"]
    assert [tensor.shape for tensor in target.outputs] == [(8, 2)]
    assert target.params.total == 21_127_554
    assert target.macs == 29_262_315_520
    assert target.flops == 58_303_856_640
    sizes = {one.dimension: (one.low, one.high) for one in target.valid_input_sizes}
    assert sizes == {"H": (163, 226), "W": (163, 226)}


def test_the_resnet_on_small_images() -> None:
    lines, _ = added("000", "ResNet32", "8,3,32,32")
    assert [line for line in lines if "AC213" not in line] == ["88 AC209"]


def test_a_model_beside_a_package_that_is_missing() -> None:
    lines, report = added("002", "net", "1,1,224,224")
    assert lines == []
    stages = {layer.path: layer.outputs[0].shape for layer in report.modules if layer.depth == 1}
    assert list(stages.values()) == [
        *((1, 64, 56, 56), (1, 64, 56, 56), (1, 128, 28, 28), (1, 256, 14, 14), (1, 512, 7, 7)),
        *((1, 512, 1, 1), (1, 512), (1, 10)),
    ]


def test_a_call_with_names_of_the_document() -> None:
    lines, report = added("003", "ResNet(ResidualBlock, [3, 3, 3])", "100,3,32,32")
    assert lines == []
    assert [tensor.shape for tensor in report.outputs] == [(100, 10)]


def test_the_flattened_width_on_larger_images() -> None:
    lines, report = added("003", "ResNet(ResidualBlock, [3, 3, 3])", "8,3,224,224")
    assert lines == ["99 AC201"]
    (finding,) = (one for one in report.findings if one.code == "AC201")
    assert "64" in finding.message and "3136" in finding.message


def test_two_mismatches_in_one_run() -> None:
    lines, report = added("004", "mymodel", "8,1,28,28")
    assert lines == ["62 AC203", "64 AC201"]
    for finding in report.findings:
        if finding.code in ("AC201", "AC203") and finding.target:
            assert "100" in finding.message and "3090" in finding.message


def test_mismatches_in_sequentials() -> None:
    report = checked("004", "model_lay", "8,1,28,28")
    traced = Counter(f.code for f in report.findings if f.location.line in range(218, 234))
    assert traced["AC201"] == 2
    assert traced["AC105"] == 1


def test_the_first_form_of_a_class_that_is_defined_twice() -> None:
    report = checked("004", "331:ResidualBlock(16, 16, 1)", "8,16,32,32")
    lines = [line for line in found(report) if 331 <= int(line.split()[0]) <= 355]
    assert Counter(line.split()[1] for line in lines) == {"AC204": 2, "AC205": 1}


def test_the_last_network() -> None:
    lines, report = added("004", "Resnet18", "64,3,32,32")
    assert [line.split()[1] for line in lines] == ["AC304"]
    assert [tensor.shape for tensor in report.outputs] == [(64, 10)]


def test_notes_when_they_are_selected() -> None:
    report = checked("000", "ResNet32", "8,3,224,224", select=("ALL",))
    codes = {finding.code: finding for finding in report.findings}
    assert "34" in codes["AC307"].message
    assert "AC306" in codes
    last = checked("004", "Resnet18", "64,3,32,32", select=("ALL",))
    assert {"AC305", "AC306"} <= {finding.code for finding in last.findings}
