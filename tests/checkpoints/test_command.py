"""`--weights` and `archcheck weights --rename-for`, run as a user runs them."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest
from command import archcheck

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.slow

NET = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, classes=4, first="conv"):
        super().__init__()
        setattr(self, first, nn.Conv2d(3, 2, 3))
        self.act = nn.ReLU()
        self.fc = nn.Linear(2, classes)

    def forward(self, x):
        return self.fc(self.act(self.conv(x)).mean((2, 3)))
"""
SHAPE = ("--input", "2,3,8,8")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NET)
    return tmp_path


def net(**options: object) -> torch.nn.Module:
    namespace: dict[str, object] = {"__name__": "net"}
    exec(NET, namespace)
    build = namespace["Net"]
    assert callable(build)
    model = build(**options)
    assert isinstance(model, torch.nn.Module)
    return model


def test_the_mapping_that_is_shown_loads(project: Path) -> None:
    state = {f"model.{name}": tensor for name, tensor in net(first="stem").state_dict().items()}
    torch.save({"epoch": 1, "state_dict": state}, project / "last.ckpt")
    result = archcheck("net.py:Net", *SHAPE, "--weights", "last.ckpt", "--quiet", cwd=project)
    assert result.returncode == 1
    assert "error[AC801] checkpoint-keys" in result.stdout
    assert "as it is, 0 of the model's 4 keys load" in result.stdout
    assert "with the mapping below, 4 of 4 match" in result.stdout
    found = json.loads(
        archcheck(
            "net.py:Net", *SHAPE, "--weights", "last.ckpt", "--format", "json", cwd=project
        ).stdout
    )
    (finding,) = found["findings"]
    code = (
        finding["help"].partition("\n")[2].replace('"last.ckpt"', repr(str(project / "last.ckpt")))
    )
    model = net()
    exec(code, {"model": model})  # it loads, strictly
    for line in code.splitlines()[2:]:
        assert line in result.stdout, "code is shown as it stands"


def test_a_configured_checkpoint_is_relative_to_the_configuration(project: Path) -> None:
    torch.save(net(classes=7).state_dict(), project / "seven.pt")
    (project / "pyproject.toml").write_text(
        '[[tool.archcheck.models]]\ntarget = "net.py:Net"\ninput = ["2,3,8,8"]\n'
        'weights = "seven.pt"\n'
    )
    (project / "inner").mkdir()
    result = archcheck("--quiet", cwd=project / "inner")
    assert "error[AC802] checkpoint-shapes: another number of outputs" in result.stdout


def test_a_checkpoint_that_changed_is_read_again(project: Path) -> None:
    command = ("net.py:Net", *SHAPE, "--weights", "x.pt", "--quiet")
    torch.save(net().state_dict(), project / "x.pt")
    assert archcheck(*command, cwd=project).returncode == 0
    torch.save(net(classes=7).state_dict(), project / "x.pt")
    assert archcheck(*command, cwd=project).returncode == 1


def test_a_file_that_is_not_there_is_a_wrong_call(project: Path) -> None:
    result = archcheck("net.py:Net", *SHAPE, "--weights", "none.pt", cwd=project)
    assert result.returncode == 2 and "--weights none.pt: no such file" in result.stderr
    result = archcheck("net.py", "--weights", "none.pt", cwd=project)
    assert result.returncode == 2 and "--weights is for a model, and none is named" in result.stderr


def test_a_file_is_written_under_the_models_names(project: Path) -> None:
    save = pytest.importorskip("safetensors.torch")
    old = net(first="stem").state_dict()
    renamed = {f"module.{name}": tensor for name, tensor in old.items()}
    save.save_file(renamed, project / "old.safetensors", metadata={"format": "pt"})
    result = archcheck(
        *("weights", "old.safetensors", "--rename-for", "net.py:Net", *SHAPE),
        *("--output", "new.safetensors"),
        cwd=project,
    )
    assert result.returncode == 0, result.stderr
    assert "new.safetensors: 4 tensors under the names of net.py:Net" in result.stdout
    model = net()
    model.load_state_dict(save.load_file(project / "new.safetensors"))
    assert torch.equal(model.conv.weight, old["stem.weight"])
    with save.safe_open(project / "new.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    assert archcheck("weights", "new.safetensors", cwd=project).returncode == 0


def test_no_file_is_written_that_the_model_would_not_load(project: Path) -> None:
    save = pytest.importorskip("safetensors.torch")
    save.save_file(net(classes=7).state_dict(), project / "old.safetensors")
    torch.save(net().state_dict(), project / "old.pt")
    before = (project / "old.safetensors").read_bytes()
    for file, output, code, sentence in (
        ("old.safetensors", "new.safetensors", 1, "2 keys of net.py:Net are not in"),
        ("old.safetensors", "old.safetensors", 2, "is the checkpoint itself"),
        ("old.safetensors", "new.pt", 2, "name the new file by --output NEW.safetensors"),
        ("old.pt", "new.safetensors", 2, "only safetensors can be written anew"),
    ):
        result = archcheck(
            *("weights", file, "--rename-for", "net.py:Net", *SHAPE, "--output", output),
            cwd=project,
        )
        assert (result.returncode, sentence in result.stderr) == (code, True), result.stderr
    assert (project / "old.safetensors").read_bytes() == before
    assert not (project / "new.safetensors").exists()


LOADING = (
    NET
    + """

def main():
    model = Net()
    loaded = torch.load("last.ckpt")
    model.load_state_dict(loaded{key}{strict})
"""
)


@pytest.mark.parametrize(
    ("key", "strict", "expected"),
    [
        ("", ", strict=False", "warning[AC803] silent-load: last.ckpt has 0 of the model's 4 keys"),
        ("", "", "error[AC801] checkpoint-keys: last.ckpt has 0 of the model's 4 keys"),
        ('["state_dict"]', ", strict=False", "warning[AC803] silent-load"),
        ('["right"]', ", strict=False", None),
        ('["part"]', ", strict=False", None),
        ('["right"]', "", None),
    ],
)
def test_a_load_in_the_code_is_checked(
    key: str, strict: str, expected: str | None, project: Path
) -> None:
    right = net().state_dict()
    content = {
        "epoch": 1,
        "state_dict": {f"model.{name}": tensor for name, tensor in right.items()},
        "right": right,
        "part": {name: tensor for name, tensor in right.items() if name.endswith("fc.bias")},
    }
    torch.save(content, project / "last.ckpt")
    (project / "net.py").write_text(LOADING.replace("{key}", key).replace("{strict}", strict))
    result = archcheck("net.py:Net", *SHAPE, "--quiet", cwd=project)
    if expected is None:
        assert (result.returncode, result.stdout) == (0, ""), result.stdout
    else:
        assert result.returncode == 1 and expected in result.stdout


def test_a_file_that_appears_is_seen(project: Path) -> None:
    """What was remembered when there was no file is asked again."""
    text = LOADING.replace("{key}", "").replace("{strict}", "")
    (project / "net.py").write_text(text)
    command = ("net.py:Net", *SHAPE, "--quiet")
    assert archcheck(*command, cwd=project).returncode == 0
    (project / "last.ckpt").write_text("version https://git-lfs.github.com/spec/v1\nsize 5\n")
    result = archcheck(*command, cwd=project)
    assert result.returncode == 1 and "error[AC804]" in result.stdout


def test_a_lock_keeps_a_renaming_from_breaking_a_checkpoint(project: Path) -> None:
    torch.save(net().state_dict(), project / "best.pt")
    locked = archcheck("lock", "net.py:Net", *SHAPE, "--weights", "best.pt", cwd=project)
    assert locked.returncode == 0, locked.stderr
    text = (project / "archcheck.lock").read_text()
    assert '"weights": "best.pt"' in text and '"conv.weight float32 2,3,3,3"' in text
    assert archcheck("net.py:Net", *SHAPE, "--quiet", cwd=project).returncode == 0
    (project / "net.py").write_text(NET.replace("self.fc", "self.head"))
    result = archcheck("net.py:Net", *SHAPE, "--select", "AC801", "--quiet", cwd=project)
    assert result.returncode == 1
    assert "this breaks best.pt: 2 keys of the model, `head.weight` first" in result.stdout
    assert "`fc.` is `head.` in the model" in result.stdout
    assert "state = dict(checkpoint)  # best.pt, as it loaded until now" in result.stdout


def test_json_has_what_matches(project: Path) -> None:
    state = {f"module.{name}": t for name, t in net(classes=7).state_dict().items()}
    torch.save(state, project / "x.pt")
    command = ("net.py:Net", *SHAPE, "--format", "json")
    target = json.loads(archcheck(*command, "--weights", "x.pt", cwd=project).stdout)["targets"][0]
    assert target["weights"] == {
        "file": "x.pt",
        "matched": 2,
        "missing": [],
        "unexpected": [],
        "mismatched": ["fc.weight", "fc.bias"],
        "mapping": [
            "state = dict(checkpoint)",
            'state = {k.removeprefix("module."): v for k, v in state.items()}',
        ],
    }
    assert json.loads(archcheck(*command, cwd=project).stdout)["targets"][0]["weights"] is None


def test_the_code_keeps_its_lines_in_every_format(project: Path) -> None:
    torch.save({f"module.{n}": t for n, t in net(first="stem").state_dict().items()}, project / "x")
    command = ("net.py:Net", *SHAPE, "--weights", "x", "--format")
    shown = {
        format: archcheck(*command, format, cwd=project).stdout
        for format in ("json", "agent", "markdown", "html", "text", "github", "junit", "sarif")
    }
    (finding,) = json.loads(shown["json"])["findings"]
    code = finding["help"].partition("\n")[2]
    assert code.count("\n") >= 4
    agent = shown["agent"].splitlines()[0]
    assert code in agent.replace("\\n", "\n"), "one line a finding"
    assert f"AC801 at `net.py:5`:\n\n```python\n{code}\n```\n" in shown["markdown"]
    assert code in html.unescape(shown["html"].partition("load it by this mapping:</p>")[2])
    assert code in "\n".join(line.strip() for line in shown["text"].splitlines())
    assert code in shown["github"].replace("%0A", "\n")
    assert code in html.unescape(shown["junit"])
    (result,) = json.loads(shown["sarif"])["runs"][0]["results"]
    assert code in result["message"]["text"]
