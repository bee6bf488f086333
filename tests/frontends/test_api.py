"""The Python interface: `archcheck.check` and `archcheck.lint`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import archcheck

pytestmark = pytest.mark.slow


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4 * 8 * 8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.conv(x)).flatten(1))


class Mistaken(Net):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(100, 10)


class Pair(nn.Module):
    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return left @ right


@pytest.mark.parametrize("target", [Net, Net(), lambda: Net()], ids=["class", "module", "factory"])
def test_a_model_in_each_form(target) -> None:
    report = archcheck.check(target, input=(2, 3, 8, 8))
    assert report.ok, str(report)
    # Convolution 3·4·9 + 4, normalisation 4 + 4, linear 256·10 + 10.
    assert report.params == 112 + 8 + 2570
    assert [tensor.shape for tensor in report.outputs] == [(2, 10)]
    assert report.flops == 2 * (2 * 4 * 64 * 27 + 2 * 256 * 10)
    assert {layer.path for layer in report.modules} == {"", "conv", "norm", "head"}


def test_a_tensor_gives_its_shape_and_dtype() -> None:
    report = archcheck.check(Net(), input=torch.rand(2, 3, 8, 8))
    assert report.ok
    assert report.targets[0].inputs[0].shape == (2, 3, 8, 8)


@pytest.mark.parametrize(
    "given", [[(2, 3), (3, 4)], ((2, 3), (3, 4)), {"right": (3, 4), "left": (2, 3)}]
)
def test_several_inputs(given) -> None:
    report = archcheck.check(Pair(), input=given)
    assert [tensor.shape for tensor in report.outputs] == [(2, 4)]


def test_findings_raise() -> None:
    report = archcheck.check(Mistaken(), input=(2, 3, 8, 8))
    assert not report.ok
    assert "AC201" in {finding.code for finding in report.findings}
    with pytest.raises(archcheck.FindingsError, match="AC201"):
        report.raise_for_findings()
    assert "100" in str(report) and "256" in str(report)


def test_the_model_is_as_it_was() -> None:
    model = Net().eval()
    model(torch.rand(2, 3, 8, 8)).sum().backward()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = {name: value.grad.clone() for name, value in model.named_parameters()}
    state = torch.random.get_rng_state()
    archcheck.check(model, input=(2, 3, 8, 8), mode="train")
    assert torch.equal(state, torch.random.get_rng_state())
    assert not model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(torch.equal(gradients[n], value.grad) for n, value in model.named_parameters())


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"target": Net()}, "input=(8, 3, 224, 224)"),
        ({"target": 3, "input": (1,)}, "nn.Module"),
        ({"target": Net(), "input": (0, 3)}, "at least 1"),
        ({"target": Net(), "input": 5}, "no shape"),
        ({"target": Net(), "input": (2, 3, 8, 8), "select": ["AC999"]}, "AC999"),
        ({"target": "nothing.py:Net", "input": (1, 3)}, "nothing.py"),
    ],
)
def test_a_wrong_call_says_what_to_mend(arguments, part: str) -> None:
    with pytest.raises(archcheck.UsageError, match=part.replace("(", r"\(").replace(")", r"\)")):
        archcheck.check(**arguments)


def test_a_target_string_takes_the_commands_notation(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(
        "from torch import nn\n\n\ndef make():\n    return nn.Sequential(nn.Linear(4, 2))\n"
    )
    for given in ("8,4", (8, 4), torch.rand(8, 4)):
        report = archcheck.check("net.py:make", input=given)
        assert report.ok, str(report)
        assert report.macs == 8 * 4 * 2


def test_lint_reads_source_alone(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import torch.nn as nn\n\nraise SystemExit\n\n\nclass Net(nn.Module):\n"
        "    def __init__(self):\n        self.a = nn.Linear(1, 1)\n\n"
        "    def forward(self, x):\n        return self.a(x)\n"
    )
    report = archcheck.lint(tmp_path)
    assert [finding.code for finding in report.findings] == ["AC101"]


def test_the_report_shows_itself_in_a_notebook() -> None:
    assert "<iframe sandbox" in archcheck.check(Net(), input=(2, 3, 8, 8))._repr_html_()


def test_public_names() -> None:
    assert set(archcheck.__all__) == {
        *("Finding", "FindingsError", "Report", "Severity", "UsageError"),
        *("check", "lint", "summary"),
    }
    for name in archcheck.__all__:
        assert getattr(archcheck, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        archcheck.nothing  # noqa: B018


def test_a_checkpoint_is_held_against_an_object_and_a_target(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    torch.save({f"module.{name}": t for name, t in Net().state_dict().items()}, path)
    model = Net()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    source = tmp_path / "net.py"
    source.write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n        self.fc = nn.Linear(4, 2)\n\n"
        "    def forward(self, x):\n        return self.fc(x)\n"
    )
    for weights in (path, str(path)):
        (finding,) = archcheck.check(model, input=(2, 3, 8, 8), weights=weights).findings
        assert finding.code == "AC801" and "`module.`" in finding.message
        assert finding.help is not None and 'removeprefix("module.")' in finding.help
        report = archcheck.check(f"{source}:Net", input="2,4", weights=weights)
        assert [one.code for one in report.findings] == ["AC801"]
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    del before["head.bias"]
    torch.save(before, path)
    options = {"input": (2, 3, 8, 8), "weights": path}
    assert not archcheck.check(model, **options).ok
    assert archcheck.check(model, **options, allow_missing=["head.*"]).ok
    assert archcheck.check(model, **options, allow_missing="head.*").ok


def test_weights_that_are_no_file_are_a_wrong_call(tmp_path: Path) -> None:
    with pytest.raises(archcheck.UsageError, match=r"weights .*none\.pt: no such file"):
        archcheck.check(Net(), input=(2, 3, 8, 8), weights=tmp_path / "none.pt")
    with pytest.raises(archcheck.UsageError, match="a path of a file or folder, not OrderedDict"):
        archcheck.check(Net(), input=(2, 3, 8, 8), weights=Net().state_dict())
