"""The promises of the command, from the outside: the real command, its streams and exit codes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from command import archcheck

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

CLEAN = """\
from torch import nn


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.layer = nn.Linear(4, classes)

    def forward(self, x):
        return self.layer(x)


def make():
    return Net(3)


number = 3
"""

BROKEN = """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(x)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clean.py").write_text(CLEAN)
    (tmp_path / "broken.py").write_text(BROKEN)
    return tmp_path


def test_it_is_a_module_that_python_runs(folder: Path) -> None:
    run = archcheck("--version", cwd=folder)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("archcheck ")


def test_a_clean_file_exits_with_0(folder: Path) -> None:
    run = archcheck("clean.py", cwd=folder)
    assert (run.returncode, run.stderr) == (0, "")
    assert "1 file" in run.stdout


def test_findings_exit_with_1_and_fail_on_decides(folder: Path) -> None:
    run = archcheck("broken.py", "--format", "concise", cwd=folder)
    assert run.returncode == 1
    assert "broken.py:5:" in run.stdout
    assert "AC101" in run.stdout
    assert archcheck("broken.py", "--ignore", "AC101", cwd=folder).returncode == 0


def test_check_is_the_command_by_default(folder: Path) -> None:
    short = archcheck("broken.py", "--format", "json", cwd=folder)
    whole = archcheck("check", "broken.py", "--format", "json", cwd=folder)
    assert short.stdout == whole.stdout


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["nothing.py"], ["nothing.py", "no such file"]),
        (["clean.py:Nett"], ["Nett", "Net"]),
        (["clean.py:number"], ["number", "nn.Module", "Net"]),
        (["clean.py:Net"], ["classes", "clean.py:Net("]),
        (["clean.py:make", "--input", "8,3,x,"], ["8,3,x,"]),
        (["clean.py:make", "--input", "0,3,224"], ["0,3,224"]),
        (["clean.py:make", "--input", "-1"], ["-1"]),
        (["clean.py:make", "--input", "8,4", "--input", "8,4"], ["x"]),
        (["clean.py", "--select", "AC999"], ["AC999"]),
        (["clean.py", "--inptu", "3"], ["--inptu", "--input"]),
        (["clean.py", "--format", "yaml"], ["yaml", "json"]),
        (["explain", "AC999"], ["AC999"]),
        ([], ["nothing to check"]),
        (["clean"], ["no such file", "did you mean clean.py?"]),
        (["clena.py:Net"], ["no such file", "did you mean clean.py?"]),
        (["clean.py", "Net"], ["no such file", "`clean.py:Net`"]),
        (["clean.py::Net"], ["one colon", "`clean.py:Net`"]),
        (["clean.py", "--input", "8,4"], ["--input is for a model", "`clean.py:Name`"]),
        (["clean.py", "broken.py", "--max-params", "1M"], ["--max-params is for a model"]),
        (["clean.py:make", "--timeout", "0"], ["--timeout", "positive"]),
        (["chek", "clean.py"], ["'chek' is no command", "'check'"]),
        (["version"], ["'--version'"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_call_exits_with_2_and_one_line(
    folder: Path, arguments: list[str], parts: list[str]
) -> None:
    run = archcheck(*arguments, cwd=folder)
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1, run.stderr
    for part in parts:
        assert part in run.stderr


def test_a_class_that_does_not_parse_is_no_wrong_name(folder: Path) -> None:
    (folder / "comma.py").write_text(
        "from torch import nn\n\n\n"
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.net = nn.Sequential(nn.Linear(4, 4), nn.Tanh() nn.Linear(4, 2))\n\n\n"
        "class Other(nn.Module):\n    pass\n"
    )
    run = archcheck("comma.py:Net", "--input", "8,4", "--format", "concise", cwd=folder)
    assert (run.returncode, run.stderr) == (1, "")
    assert "comma.py:7:51: AC001" in run.stdout
    assert archcheck("comma.py:Nett", "--input", "8,4", cwd=folder).returncode == 2


def test_where_nothing_was_checked_nothing_is_said_to_be_found(folder: Path) -> None:
    assert archcheck("nothing.py", cwd=folder).stdout == ""


def test_codes_are_read_in_any_case(folder: Path) -> None:
    run = archcheck("broken.py", "--select", "ac101", "--format", "concise", cwd=folder)
    assert "AC101" in run.stdout
    assert archcheck("broken.py", "--ignore", "ac1", cwd=folder).returncode == 0


def test_the_other_targets_are_checked_when_one_is_wrong(folder: Path) -> None:
    run = archcheck("nothing.py", "broken.py", "--format", "concise", cwd=folder)
    assert run.returncode == 2
    assert "AC101" in run.stdout
    assert "nothing.py" in run.stderr


def test_what_cannot_be_read_in_a_folder_is_named_and_the_rest_decides(folder: Path) -> None:
    place = folder / "mixed"
    place.mkdir()
    (place / "good.py").write_text("import torch\n")
    (place / "bad.py").write_bytes(b"\xff\xfe\x00b\x81")
    (place / "broken.ipynb").write_text('{"cells":')
    (place / "dangling.py").symlink_to("nowhere.py")
    done = archcheck("mixed", cwd=folder)
    assert done.returncode == 0
    for name in ("bad.py", "broken.ipynb", "dangling.py"):
        assert f"not checked: mixed/{name}" in done.stderr
    # One that is named itself is an error of the call.
    assert archcheck("mixed/bad.py", cwd=folder).returncode == 2
    (place / "good.py").write_text("def f(:\n")
    assert archcheck("mixed", cwd=folder).returncode == 1


def test_torch_missing_is_said_in_one_line(folder: Path) -> None:
    (folder / "hidden").mkdir()
    (folder / "hidden" / "torch.py").write_text("raise ModuleNotFoundError('x', name='torch')\n")
    path = os.pathsep.join([str(folder / "hidden"), str(ROOT)])
    run = archcheck("clean.py:make", "--input", "8,4", cwd=folder, PYTHONPATH=path)
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1
    assert "archcheck-torch[trace]" in run.stderr


def test_json_of_a_trace(folder: Path) -> None:
    run = archcheck("clean.py:Net(3)", "--input", "8,4", "--format", "json", cwd=folder)
    assert (run.returncode, run.stderr) == (0, "")
    (target,) = json.loads(run.stdout)["targets"]
    assert target["target"] == "clean.py:Net(3)"
    assert target["inputs"] == [{"name": "x", "shape": [8, 4], "dtype": "float32"}]
    assert target["outputs"] == [{"shape": [8, 3], "dtype": "float32"}]
    assert target["params"] == {"total": 15, "trainable": 15, "buffers": 0}
    # 8 samples of 4 x 3 multiply-adds; a multiply-add is two floating point operations.
    assert (target["macs"], target["flops"]) == (96, 192)
    assert target["traced_with"] == "meta"
    assert (
        archcheck("clean.py:Net(3)", "--input", "8,4", "--format", "json", cwd=folder).stdout
        == run.stdout
    )


@pytest.mark.parametrize(
    ("option", "value", "code"),
    [
        ("--max-params", "14", "AC601"),
        ("--max-macs", "95", "AC602"),
        ("--max-memory", "16B", "AC603"),
        ("--expect-output", "8,10", "AC214"),
    ],
)
def test_what_is_asked_of_the_model(folder: Path, option: str, value: str, code: str) -> None:
    trace = ("clean.py:Net(3)", "--input", "8,4", "--format", "concise")
    run = archcheck(*trace, option, value, cwd=folder)
    assert run.returncode == 1
    assert code in run.stdout
    run = archcheck(*trace, option, "many", cwd=folder)
    assert run.returncode == 2
    assert option in run.stderr and "many" in run.stderr


def test_a_model_that_crashes_is_a_finding(folder: Path) -> None:
    run = archcheck("clean.py:Net(3)", "--input", "8,5", "--format", "concise", cwd=folder)
    assert run.returncode == 1
    assert "AC201" in run.stdout
    assert "Traceback" not in run.stdout + run.stderr


def test_output_goes_into_a_file_and_text_to_the_terminal(folder: Path) -> None:
    run = archcheck("broken.py", "--format", "json", "--output", "out.json", cwd=folder)
    assert run.returncode == 1
    assert "error[AC101]" in run.stdout
    assert json.loads((folder / "out.json").read_text())["summary"]["error"] == 1
    run = archcheck("broken.py", "--output", "no/such/folder.txt", cwd=folder)
    assert (run.returncode, len(run.stderr.splitlines())) == (2, 1)


def test_several_files_go_by_their_suffixes(folder: Path) -> None:
    outputs = [f"--output=report.{end}" for end in ("sarif", "html", "md", "json", "xml", "log")]
    run = archcheck("broken.py", *outputs, cwd=folder)
    assert run.returncode == 1
    assert "error[AC101]" in run.stdout
    texts = {path.suffix: path.read_text() for path in folder.glob("report.*")}
    assert json.loads(texts[".sarif"])["version"] == "2.1.0"
    assert json.loads(texts[".json"])["summary"]["error"] == 1
    assert texts[".html"].startswith("<!DOCTYPE html>")
    assert "<testsuites" in texts[".xml"]
    assert "error[AC101]" in texts[".log"] and "error[AC101]" not in texts[".md"]


def test_a_format_suits_the_files_that_may_have_it(folder: Path) -> None:
    outputs = ("--output", "quality.json", "--output", "page.html")
    archcheck("broken.py", "--format", "gitlab", *outputs, cwd=folder)
    assert isinstance(json.loads((folder / "quality.json").read_text()), list)
    assert (folder / "page.html").read_text().startswith("<!DOCTYPE html>")


def test_a_file_that_cannot_be_written_leaves_the_others(folder: Path) -> None:
    run = archcheck("broken.py", "--output=no/a.json", "--output=b.json", cwd=folder)
    assert (run.returncode, len(run.stderr.splitlines())) == (2, 1)
    assert "no/a.json" in run.stderr
    assert json.loads((folder / "b.json").read_text())["summary"]["error"] == 1
    run = archcheck("broken.py", "--output=b.json", "--output=b.json", cwd=folder)
    assert (run.returncode, run.stdout) == (2, "")
    assert "twice" in run.stderr


def test_the_diff_of_fixes_goes_into_a_file(folder: Path) -> None:
    run = archcheck("broken.py", "--diff", "--output", "fixes.patch", cwd=folder)
    assert run.stdout == (folder / "fixes.patch").read_text()
    assert "+        super().__init__()" in run.stdout


def test_source_from_standard_input(folder: Path) -> None:
    run = archcheck(
        *("-", "--stdin-filename", "src/new.py", "--format", "concise"), cwd=folder, stdin=BROKEN
    )
    assert run.returncode == 1
    assert "src/new.py:5:" in run.stdout


def test_no_color_without_a_terminal(folder: Path) -> None:
    assert "\x1b" not in archcheck("broken.py", cwd=folder).stdout


def test_columns_bound_the_text(folder: Path) -> None:
    run = archcheck("broken.py", cwd=folder, COLUMNS="60")
    assert max(map(len, run.stdout.splitlines())) <= 60


def test_explain_and_rules(folder: Path) -> None:
    explained = archcheck("explain", "AC101", cwd=folder)
    assert explained.returncode == 0
    assert "super().__init__()" in explained.stdout
    assert "missing-super-init" in archcheck("rules", cwd=folder).stdout


def test_the_users_folder_stays_as_it_was(folder: Path) -> None:
    before = sorted(path.name for path in folder.rglob("*"))
    archcheck("clean.py:make", "--input", "8,4", "--no-cache", cwd=folder)
    assert sorted(path.name for path in folder.rglob("*")) == before
    archcheck("clean.py:make", "--input", "8,4", cwd=folder)
    assert {path.name for path in folder.iterdir()} - {".archcheck_cache"} <= set(before)
