"""A team keeps what its models are in archcheck.lock."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from command import archcheck
from hypothesis import given, settings
from hypothesis import strategies as st

from archcheck.analysis.architectures.difference import compare
from archcheck.core.target import UsageError
from archcheck.engine.lock.lock_file import Lock, lock_text, read_lock
from archcheck.evidence.architecture import Architecture, ArchitectureLayer

pytestmark = pytest.mark.slow

NET = """\
from torch import nn


class Net(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.body = nn.Linear(8, width)
        self.act = nn.ReLU()
        self.head = nn.Linear(width, 4)

    def forward(self, x):
        return self.head(self.act(self.body(x)))


class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(9, 4)

    def forward(self, x):
        return self.head(x)
"""
CONFIG = """\
[tool.archcheck]

[[tool.archcheck.models]]
target = "src/net.py:Net"
input = ["x=2,8"]
"""
MORE = """
[[tool.archcheck.models]]
target = "src/net.py:{}"
input = ["2,8"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "net.py").write_text(NET)
    (tmp_path / "pyproject.toml").write_text(CONFIG)
    return tmp_path


def entries(project: Path) -> list[str]:
    lock = read_lock(project / "archcheck.lock")
    return [architecture.target for architecture in lock.architectures]


def test_lock_drift_and_lock_again(project: Path) -> None:
    run = archcheck("lock", cwd=project)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == "src/net.py:Net: locked, 4 layers\n"
    text = (project / "archcheck.lock").read_text()
    assert text.endswith("\n")
    # The input's 8 features, 16 wide, 4 out, with biases; a batch of 2.
    (model,) = json.loads(text)["models"]
    assert (model["parameters"], model["macs"]) == (8 * 16 + 16 + 16 * 4 + 4, 2 * (8 * 16 + 16 * 4))
    assert model["inputs"] == ["x=2,8"] and model["outputs"] == ["[2, 4]"]
    (line,) = [line for line in text.splitlines() if '"body"' in line]
    assert json.loads(line.strip().rstrip(",")) == {
        "path": "body",
        "type": "Linear",
        "settings": "in_features=8, out_features=16",
        "output": "[2, 16]",
        "parameters": 144,
        "macs": 256,
    }

    again = archcheck("lock", cwd=project)
    assert again.stdout == "src/net.py:Net: as it was\n"
    assert (project / "archcheck.lock").read_text() == text

    (project / "src" / "net.py").write_text(NET.replace("width=16", "width=12"))
    # From a folder below, too: the lock's targets are relative to its own folder.
    run = archcheck(cwd=project / "src")
    assert run.returncode == 1
    assert "AC604" in run.stdout and "2 layers resized, 1 affected" in run.stdout
    assert "`body` resized: out_features 16 → 12" in run.stdout
    assert "Parameters: 212 → 160 (-25 %)" in run.stdout

    # Another input than the locked one: not compared, and said so.
    run = archcheck("src/net.py:Net", "--input", "4,8", cwd=project)
    assert run.returncode == 0
    assert "not compared with archcheck.lock, which has it with x=2,8" in run.stdout

    # Where the format has no place for that, on standard error.
    run = archcheck("src/net.py:Net", "--input", "4,8", "--format", "json", cwd=project)
    assert json.loads(run.stdout)["findings"] == []
    assert "not checked: src/net.py:Net: not compared with archcheck.lock" in run.stderr

    run = archcheck("lock", cwd=project / "src")
    assert run.stdout == "src/net.py:Net: locked: 2 layers resized, 1 affected\n"
    assert archcheck(cwd=project).returncode == 0


def test_a_model_that_fails_is_not_locked_and_the_others_are(project: Path) -> None:
    (project / "pyproject.toml").write_text(CONFIG + MORE.format("Broken"))
    run = archcheck("lock", cwd=project)
    assert run.returncode == 1
    assert entries(project) == ["src/net.py:Net"]
    (line,) = run.stderr.splitlines()
    assert "src/net.py:Broken is not locked" in line and "src/net.py:21" in line

    # A wrong name is a wrong call; what is locked stays.
    run = archcheck("lock", "src/net.py:Nett", cwd=project)
    assert run.returncode == 2
    assert "did you mean `Net`" in run.stderr
    assert entries(project) == ["src/net.py:Net"]


def test_named_models_are_locked_besides_the_others_and_dropped_with_a_word(project: Path) -> None:
    archcheck("lock", cwd=project)
    run = archcheck("lock", "src/net.py:Net(width=3)", "--input", "5,8", "--eval", cwd=project)
    assert (run.returncode, run.stderr) == (0, "")
    assert entries(project) == ["src/net.py:Net", "src/net.py:Net(width=3)"]
    run = archcheck("lock", cwd=project)
    assert "src/net.py:Net(width=3): dropped, as it is no longer configured" in run.stdout
    assert entries(project) == ["src/net.py:Net"]


CHOOSING = """\
import torch
from torch import nn


class Choosing(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(8, 2)
        self.expert = nn.Linear(8, 8)

    def forward(self, x):
        chosen = self.gate(x).argmax(-1) == 0
        y = x.clone()
        y[chosen] = self.expert(x[chosen])
        return y
"""


def test_sizes_that_depend_on_values_are_no_drift(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(CHOOSING)
    target = ("net.py:Choosing", "--input", "64,8")
    archcheck("lock", *target, cwd=tmp_path)
    path = tmp_path / "archcheck.lock"
    lock = json.loads(path.read_text())
    (expert,) = [one for one in lock["models"][0]["layers"] if one["path"] == "expert"]
    rows = int(expert["output"].strip("[]").split(",")[0])
    assert expert["macs"] == rows * 8 * 8
    # As another machine's random numbers would have it.
    expert.update(output=f"[{rows - 1}, 8]", macs=(rows - 1) * 8 * 8)
    path.write_text(json.dumps(lock))
    assert "AC604" not in archcheck(*target, cwd=tmp_path).stdout
    # What does not depend on values still counts.
    expert["type"] = "Bilinear"
    path.write_text(json.dumps(lock))
    assert "AC604" in archcheck(*target, cwd=tmp_path).stdout


def test_nothing_to_lock(tmp_path: Path) -> None:
    for arguments in ((), ("net.py",)):
        run = archcheck("lock", *arguments, cwd=tmp_path)
        assert (run.returncode, run.stdout) == (2, "")
        assert len(run.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_broken_lock_is_one_complaint_and_the_check_is_done(project: Path) -> None:
    path = project / "archcheck.lock"
    path.write_text("<<<<<<< HEAD\n")
    run = archcheck("--max-params", "9", cwd=project)
    assert run.returncode == 2
    assert "AC601" in run.stdout
    (line,) = run.stderr.splitlines()
    assert "archcheck.lock:1" in line and "merge conflict" in line and "`archcheck lock`" in line
    # One model alone would lose the others; all of them are written anew.
    assert archcheck("lock", "src/net.py:Net", cwd=project).returncode == 2
    assert archcheck("lock", cwd=project).returncode == 0
    assert entries(project) == ["src/net.py:Net"]


def sample(**changes: object) -> Architecture:
    values = {
        "target": "net.py:Net",
        "mode": "train",
        "inputs": ("x=2,8",),
        "outputs": ("[2, 4]",),
        "parameters": 7,
        "trainable": 7,
        "macs": 1,
        "flops": 2,
        "peak_activation_bytes": 3,
        "layers": (ArchitectureLayer("", "Net"), ArchitectureLayer("fc", "Linear", parameters=7)),
    }
    return Architecture(**{**values, **changes})  # type: ignore[arg-type]


TEXT = lock_text([sample()])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["archcheck.lock:1", "cut short"]),
        (TEXT[: len(TEXT) // 2], ["cut short", "`archcheck lock`"]),
        (TEXT.replace('"version": 1', '"version": 2'), ["version 2", "newer archcheck"]),
        (TEXT.replace('"version": 1', '"version": "1"'), ["no version 1"]),
        (TEXT.replace('"version": 1,', ""), ["no version 1"]),
        ("[]", ["no version 1"]),
        (f"<<<<<<< ours\n{TEXT}=======\n>>>>>>> theirs\n", ["archcheck.lock:1", "merge conflict"]),
        (TEXT.replace('"mode"', '"mood"'), ["model 1", "unknown key 'mood'"]),
        (TEXT.replace('  "macs": 1,\n', ""), ["model 1", "lacks 'macs'"]),
        (TEXT.replace('"macs": 1', '"macs": -1'), ["model 1: macs is no count"]),
        (TEXT.replace('"type": "Linear"', '"type": 3'), ["layers, number 2: type is no text"]),
        (TEXT.replace('["x=2,8"]', '"x=2,8"'), ["inputs is no list"]),
        (TEXT.replace('"path": "fc"', '"path": ""'), ["model 1: layers has a path twice"]),
        (TEXT.replace("1", "1" * 5000, 1), ["no lock file"]),
        ("[" * 100_000, ["no lock file"]),
    ],
)
def test_a_broken_lock_is_refused_in_one_line(tmp_path: Path, text: str, parts: list[str]) -> None:
    path = tmp_path / "archcheck.lock"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_lock(path)
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_a_lock_that_is_no_text_or_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "archcheck.lock"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="no UTF-8"):
        read_lock(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_lock(tmp_path)


TEXTS = st.text(max_size=8)
COUNTS = st.integers(0, 2**70)
LAYERS = st.builds(
    ArchitectureLayer, TEXTS, TEXTS, TEXTS, TEXTS, COUNTS, COUNTS, TEXTS, st.integers(0, 9)
)
ARCHITECTURES = st.builds(
    Architecture,
    *(TEXTS, TEXTS),
    *(st.lists(TEXTS, max_size=2).map(tuple),) * 2,
    *(COUNTS,) * 5,
    st.lists(LAYERS, min_size=1, max_size=3, unique_by=lambda layer: layer.path).map(tuple),
)


@settings(deadline=None)
@given(st.lists(ARCHITECTURES, max_size=3))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, given_: object) -> None:
    architectures: list[Architecture] = given_  # type: ignore[assignment]
    path = tmp_path_factory.mktemp("lock") / "archcheck.lock"
    path.write_text(lock_text(architectures), encoding="utf-8")
    read = read_lock(path)
    assert sorted(read.architectures, key=repr) == sorted(architectures, key=repr)
    assert lock_text(read.architectures) == lock_text(architectures)


@settings(deadline=None)
@given(st.integers(0, len(TEXT) - 1), st.text(max_size=3), st.integers(0, 5))
def test_whatever_is_edited_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, new: str, length: int
) -> None:
    path = tmp_path_factory.mktemp("lock") / "archcheck.lock"
    path.write_text(TEXT[:place] + new + TEXT[place + length :], encoding="utf-8")
    with suppress(UsageError):
        (edited,) = read_lock(path).architectures
        assert compare(sample(), edited).before == sample()


def test_one_layer_is_one_line() -> None:
    deeper = sample(layers=(*sample().layers, ArchitectureLayer("new", "ReLU")))
    old, new = TEXT.splitlines(), lock_text([deeper]).splitlines()
    assert len(new) == len(old) + 1


def test_targets_are_named_from_the_folder_of_the_lock(tmp_path: Path) -> None:
    lock = Lock(Path("..", "archcheck.lock"))
    here = Path.cwd().name
    assert lock.named("models/net.py:Net(a=1)") == f"{here}/models/net.py:Net(a=1)"
    assert lock.named("package.module:Net") == "package.module:Net"
