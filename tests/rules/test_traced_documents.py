"""What tracing finds in whole documents, besides what their source shows (test_documents.py).

The documents are those of fixtures/documents; a finding is written as its code and the line of code
that it stands on, without the comment. The figures of costs are torch's and fvcore's own.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from archcheck.core.config import Config, Model
from archcheck.core.finding import Severity
from archcheck.core.report import Report
from archcheck.engine.pipeline import run

DOCUMENTS = Path(__file__).parents[2] / "fixtures" / "documents"


pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def among_the_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DOCUMENTS)


def checked(name: str, model: str = "", *inputs: str, select: tuple[str, ...] = ()) -> Report:
    target = f"{name}:{model}" if model else ""
    config = Config(extend_select=select)
    report = run([target or name], config, Model(target, inputs), root=Path())
    assert report.usage_errors == report.defects == ()
    return report


def found(report: Report, lines: list[str]) -> list[str]:
    """The findings at warning or above: the code, and the text of the line up to its comment."""
    places = {
        (finding.location.line, finding.code)
        for finding in report.findings
        if finding.severity >= Severity.WARNING
    }
    return [f"{code} {lines[line - 1].partition('#')[0].strip()}" for line, code in sorted(places)]


@cache
def from_source(name: str) -> list[str]:
    return found(checked(name), (DOCUMENTS / name).read_text(encoding="utf-8").splitlines())


def traced(name: str, model: str, *inputs: str) -> tuple[list[str], Report]:
    """What tracing adds, in the order of the lines."""
    report = checked(name, model, *inputs)
    lines = (DOCUMENTS / name).read_text(encoding="utf-8").splitlines()
    rest = list(from_source(name))
    added = []
    for one in found(report, lines):
        if one in rest:
            rest.remove(one)
        else:
            added.append(one)
    return added, report


def test_wrong_shape_comments_and_a_width_that_ties_the_size() -> None:
    added, report = traced("leaf_classifier.md", "LeafResNet16", "4,3,96,96")
    assert added == [
        "AC213 x = self.stem(x)",
        "AC213 x = self.shrink(x)",
        "AC213 x = self.stage1(x)",
        "AC213 x = self.stage2(x)",
        "AC213 x = self.stage3(x)",
        "AC213 x = self.pool(x)",
        "AC213 x = x.view(x.shape[0], -1)",
        # The prose names CIFAR-10: 32 pixels do not work.
        "AC212 x = self.head(x)",
    ]
    (target,) = report.targets
    assert [tensor.shape for tensor in target.outputs] == [(4, 2)]
    assert target.params.total == 689_410
    assert target.macs == 258_278_400
    assert target.flops == 511_395_840
    sizes = {one.dimension: (one.low, one.high) for one in target.valid_input_sizes}
    assert sizes == {"H": (83, 114), "W": (83, 114)}


def test_images_that_are_too_small_for_the_last_pooling() -> None:
    added, _ = traced("leaf_classifier.md", "LeafResNet16", "4,3,16,16")
    assert [one for one in added if "AC213" not in one] == ["AC209 x = self.pool(x)"]


def test_some_shape_comments_right_and_some_wrong() -> None:
    added, report = traced("first_steps.md", "Drawings", "2,1,96,96")
    assert added == [
        "AC213 x = self.coarse(x)",
        "AC213 x = self.fine(x)",
        "AC213 x = self.average(x)",
        "AC213 x = torch.flatten(x, 1)",
    ]
    (target,) = report.targets
    assert target.params.total == 393_605
    assert target.macs == 223_209_216
    assert target.flops == 440_888_832


def test_a_model_beside_a_package_that_is_missing() -> None:
    added, report = traced("walkthrough.md", "net", "1,1,28,28")
    assert added == []
    stages = {layer.path: layer.outputs[0].shape for layer in report.modules if layer.depth == 1}
    printed = (DOCUMENTS / "walkthrough.md").read_text(encoding="utf-8").partition("Result:")[2]
    assert len(stages) == 5
    for shape in stages.values():
        assert f"torch.Size({list(shape)})" in printed


def test_a_call_with_names_of_the_document() -> None:
    """Neither the data sets of its first lines are built, nor anything downloaded."""
    added, report = traced("training_diary.md", "Digits(Unit, [2, 2])", "100,3,32,32")
    assert added == []
    assert [tensor.shape for tensor in report.outputs] == [(100, 10)]
    assert not (DOCUMENTS / "svhn").exists()


def test_the_flattened_width_on_larger_images() -> None:
    added, report = traced("training_diary.md", "Digits(Unit, [2, 2])", "4,3,224,224")
    assert added == ["AC201 return self.fc(out)"]
    (finding,) = (one for one in report.findings if one.code == "AC201")
    assert "48" in finding.message and "2352" in finding.message


def test_two_mismatches_in_one_run() -> None:
    added, report = traced("containers_tutorial.md", "digits", "8,1,28,28")
    assert added == ["AC203 x = F.relu(self.norm2(x))", "AC201 x = self.out(x)"]
    for finding in report.findings:
        if finding.code in ("AC201", "AC203") and finding.target:
            assert "64" in finding.message and "512" in finding.message


def test_mismatches_in_sequentials() -> None:
    added, _ = traced("containers_tutorial.md", "layers", "8,1,28,28")
    assert added == ["AC201 x = self.second(x)", "AC201 x = F.log_softmax(self.out(x))"]


def test_the_first_form_of_a_class_that_is_defined_twice() -> None:
    lines = (DOCUMENTS / "containers_tutorial.md").read_text(encoding="utf-8").splitlines()
    first, second = (n for n, line in enumerate(lines, start=1) if line.startswith("class Block("))
    added, _ = traced("containers_tutorial.md", f"{first}:Block(16, 16, 1)", "8,16,32,32")
    # The norms are found where they are called, no more where they are built.
    assert added == [
        "AC204 out = F.relu(self.norm1(self.conv1(x)))",
        "AC204 return x + F.relu(self.norm2(self.conv2(out)))",
        "AC205 return x + F.relu(self.norm2(self.conv2(out)))",
    ]
    right, _ = traced("containers_tutorial.md", f"{second}:Block(16, 16, 1)", "8,16,32,32")
    assert right == []


def test_layers_in_a_row_where_two_are_left_out() -> None:
    added, report = traced("containers_tutorial.md", "Pictures", "8,3,32,32")
    assert added == ["AC304 out = self.stem(x)"]
    assert [tensor.shape for tensor in report.outputs] == [(8, 10)]


@pytest.mark.parametrize(
    ("name", "model", "size", "notes"),
    [
        ("leaf_classifier.md", "LeafResNet16", "4,3,96,96", {"AC306", "AC307"}),
        ("containers_tutorial.md", "Pictures", "8,3,32,32", {"AC305", "AC306"}),
    ],
)
def test_notes_when_they_are_selected(name: str, model: str, size: str, notes: set[str]) -> None:
    report = checked(name, model, size, select=("ALL",))
    messages = {finding.code: finding.message for finding in report.findings}
    assert notes <= messages.keys()
    if "AC307" in notes:
        assert "14 weighted layers" in messages["AC307"]
    assert not notes & {finding.code for finding in checked(name, model, size).findings}
