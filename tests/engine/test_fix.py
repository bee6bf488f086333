"""`--fix`, `--unsafe-fixes`, `--diff` and `--fix-only`, from the outside."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from command import archcheck

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

# AC101 and AC115 have safe fixes, AC301 an unsafe one, AC104 none.
NET = """\
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        identity = x
        out = self.conv(x)
        return torch.relu(out)


class Net(nn.Module):
    def __init__(self):
        self.block = Block()

    def forward(self, x):
        return self.block.forward(x)  # hidden hooks


class Misspelled(nn.Module):
    def foward(self, x):
        return x


misspelled = Misspelled()(torch.zeros(1))
"""
SAFE = NET.replace(
    "        self.block =", "        super().__init__()\n        self.block ="
).replace(".forward(x)  #", "(x)  #")
BOTH = SAFE.replace(
    "        return torch.relu(out)", "        out = out + identity\n        return torch.relu(out)"
)

SIZES = """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(10, 20)
        self.second = nn.Linear(30, 5)

    def forward(self, x):
        return self.second(self.first(x).relu())
"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(NET)
    return path


def test_a_plain_check_counts_what_can_be_fixed_and_changes_nothing(net: Path) -> None:
    run = archcheck("net.py", cwd=net.parent)
    assert run.returncode == 1
    last = run.stdout.splitlines()[-1]
    assert last.endswith(" in 1 file; 2 fixable with --fix, 1 more with --unsafe-fixes")
    assert net.read_text() == NET


def test_fix_applies_the_safe_fixes_and_reports_the_rest(net: Path) -> None:
    run = archcheck("net.py", "--fix", cwd=net.parent)
    assert net.read_text() == SAFE
    assert run.returncode == 1
    assert "AC301" in run.stdout and "AC104" in run.stdout
    assert "AC101" not in run.stdout and "AC115" not in run.stdout
    assert run.stdout.splitlines()[-1].endswith("; fixed 2, 1 more with --unsafe-fixes")
    assert run.stderr == "archcheck: fixed net.py: AC101, AC115\n"
    again = archcheck("net.py", "--fix", cwd=net.parent)
    assert net.read_text() == SAFE
    assert again.stdout.splitlines()[-1].endswith("; fixed 0, 1 more with --unsafe-fixes")


@pytest.mark.parametrize("options", [["--unsafe-fixes"], ["--fix", "--unsafe-fixes"]])
def test_unsafe_fixes_apply_both_kinds(net: Path, options: list[str]) -> None:
    run = archcheck("net.py", *options, cwd=net.parent)
    assert net.read_text() == BOTH
    assert run.stdout.splitlines()[-1].endswith("; fixed 3")


def test_diff_shows_the_changes_and_makes_none(net: Path) -> None:
    run = archcheck("net.py", "--diff", cwd=net.parent)
    assert run.returncode == 1
    assert net.read_text() == NET
    assert run.stderr == "archcheck: would fix 2, 1 more with --unsafe-fixes\n"
    assert run.stdout.startswith("--- a/net.py\n+++ b/net.py\n@@ ")
    changed = [line for line in run.stdout.splitlines()[2:] if line[0] in "+-"]
    assert changed == [
        "+        super().__init__()",
        "-        return self.block.forward(x)  # hidden hooks",
        "+        return self.block(x)  # hidden hooks",
    ]


def test_a_diff_can_be_applied(net: Path) -> None:
    diff = archcheck("net.py", "--diff", "--unsafe-fixes", cwd=net.parent).stdout
    done = subprocess.run(
        ["git", "apply", "-"],
        cwd=net.parent,
        input=diff,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.stderr == ""
    assert net.read_text() == BOTH


def test_diff_of_nothing_is_empty_and_exits_with_0(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(BOTH)
    run = archcheck("net.py", "--diff", cwd=tmp_path)
    # AC104 is left, but nothing would be changed.
    assert (run.returncode, run.stdout) == (0, "")
    assert run.stderr == "archcheck: would fix 0\n"


def test_a_diff_keeps_the_missing_newline_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(
        NET.rstrip("\n").removesuffix("misspelled = Misspelled()(torch.zeros(1))").rstrip()
    )
    diff = archcheck("net.py", "--diff", cwd=tmp_path).stdout
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=diff, text=True, check=True)
    assert path.read_text().endswith("return x")


def test_fix_only_keeps_quiet_about_the_rest(net: Path) -> None:
    run = archcheck("net.py", "--fix-only", cwd=net.parent)
    assert net.read_text() == SAFE
    assert (run.returncode, run.stdout) == (0, "")
    assert run.stderr == (
        "archcheck: fixed net.py: AC101, AC115\narchcheck: fixed 2, 1 more with --unsafe-fixes\n"
    )


def test_only_selected_rules_are_fixed(net: Path) -> None:
    archcheck("net.py", "--fix", "--select", "AC115", cwd=net.parent)
    assert net.read_text() == NET.replace(".forward(x)  #", "(x)  #")


def test_a_suppressed_finding_is_not_fixed(net: Path) -> None:
    text = NET.replace("# hidden hooks", "# archcheck: ignore[AC115]")
    net.write_text(text)
    archcheck("net.py", "--fix", "--select", "AC115", cwd=net.parent)
    assert net.read_text() == text


def test_json_says_which_fixes_hold(net: Path) -> None:
    report = json.loads(archcheck("net.py", "--format", "json", cwd=net.parent).stdout)
    fixes = {one["code"]: one["fix"] for one in report["findings"]}
    assert fixes["AC104"] is None
    assert [(code, fix["safety"], fix["verified"]) for code, fix in fixes.items() if fix] == [
        ("AC301", "unsafe", True),
        ("AC101", "safe", True),
        ("AC115", "safe", True),
    ]
    assert fixes["AC101"]["edits"] == [
        {
            "line": 18,
            "column": 9,
            "end_line": 18,
            "end_column": 9,
            "new": "super().__init__()\n        ",
        }
    ]


def book(*sources: str) -> str:
    cells = [
        {"cell_type": "code", "metadata": {"tags": ["é"]}, "outputs": [], "source": source}
        for source in sources
    ]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4}, ensure_ascii=False)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("net.py", NET.replace("\n", "\r\n"), SAFE.replace("\n", "\r\n")),
        ("net.py", "\ufeff# é\n" + NET, "\ufeff# é\n" + SAFE),
        ("net.py", NET.replace("    ", "\t"), SAFE.replace("    ", "\t")),
        ("net.md", f"# Größe\n\n```python\n{NET}```\n", f"# Größe\n\n```python\n{SAFE}```\n"),
        ("net.ipynb", book("x = 1", NET), book("x = 1", SAFE)),
    ],
    ids=["returns", "mark", "tabs", "markdown", "notebook"],
)
def test_whatever_the_file_all_else_stays(
    tmp_path: Path, name: str, before: str, after: str
) -> None:
    path = tmp_path / name
    path.write_bytes(before.encode())
    archcheck(name, "--fix", cwd=tmp_path)
    assert path.read_bytes() == after.encode()


# Traced ---------------------------------------------------------------------------------------


def test_a_traced_model_is_traced_again(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(SIZES)
    target = ["net.py:Net", "--input", "4,10"]
    report = json.loads(archcheck(*target, "--format", "json", cwd=tmp_path).stdout)
    (found,) = report["findings"]
    assert (found["code"], found["fix"]["verified"]) == ("AC201", True)
    run = archcheck(*target, "--fix", cwd=tmp_path)
    assert run.returncode == 0
    assert path.read_text() == SIZES.replace("30, 5", "20, 5")
    assert run.stdout.splitlines()[-1] == "All checks passed (1 file); fixed 1"


def test_a_fix_in_an_imported_file_is_proven_and_made_there(tmp_path: Path) -> None:
    head = SIZES.replace("class Net", "class Head")
    (tmp_path / "head.py").write_text(head)
    (tmp_path / "net.py").write_text(
        "from head import Head\nfrom torch import nn\n\n\nclass Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.head = Head()\n\n"
        "    def forward(self, x):\n        return self.head(x)\n"
    )
    run = archcheck("net.py:Net", "--input", "4,10", "--fix", cwd=tmp_path)
    assert run.returncode == 0
    assert (tmp_path / "head.py").read_text() == head.replace("30, 5", "20, 5")


def test_a_fix_that_breaks_another_model_is_not_offered(tmp_path: Path) -> None:
    text = SIZES.replace("import nn", "import nn\n\nWIDTH = 30").replace("(30, 5)", "(WIDTH, 5)")
    other = (
        "\n\nclass Other(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.net = nn.Sequential(nn.Linear(10, 30), nn.ReLU(), nn.Linear(WIDTH, 5))\n\n"
        "    def forward(self, x):\n        return self.net(x)\n"
    )
    (tmp_path / "net.py").write_text(text + other)
    run = archcheck("net.py:Net", "net.py:Other", "--input", "4,10", "--fix", cwd=tmp_path)
    assert run.returncode == 1
    assert (tmp_path / "net.py").read_text() == text + other
    assert run.stdout.splitlines()[-1].endswith("; fixed 0")


def test_a_target_that_is_named_by_its_line_stays_the_same_one(tmp_path: Path) -> None:
    """The unsafe fix above it takes a line out; the second Net would pass."""
    head = (
        "from torch import nn\nimport torch.nn.functional as F\n\n\nclass Scores(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.fc = nn.Linear(8, 4)\n\n"
        "    def forward(self, x):\n        x = self.fc(x)\n        x = F.softmax(x, dim=1)\n"
        "        return x\n\n\n"
    )
    net = (
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.fc = nn.Linear(8, 4)\n\n    def forward(self, x):\n"
        "        return x + self.fc(x)\n\n\n"
    )
    path = tmp_path / "net.py"
    path.write_text(head + net + net.replace("(8, 4)", "(8, 8)"))
    target = f"net.py:{head.count(chr(10)) + 1}:Net"
    run = archcheck(target, "--input", "4,8", "--unsafe-fixes", "--format", "concise", cwd=tmp_path)
    assert "softmax" not in path.read_text()
    assert [line.split()[1] for line in run.stdout.splitlines()[:-1]] == ["AC205"]


# What is not touched --------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_a_read_only_file_is_reported(net: Path) -> None:
    net.chmod(0o444)
    run = archcheck("net.py", "--fix", cwd=net.parent)
    assert net.read_text() == NET
    assert run.stderr == "archcheck: net.py was not fixed: it is read-only\n"
    assert "AC101" in run.stdout


# The model stands for an editor that saves while archcheck looks.
SAVED_MEANWHILE = SIZES.replace(
    "        super().__init__()\n",
    "        super().__init__()\n"
    "        with open('net.py', 'a') as file:\n            file.write('# saved')\n",
)


def test_a_file_that_changed_since_it_was_read_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(SAVED_MEANWHILE)
    run = archcheck("net.py:Net", "--input", "4,10", "--fix", cwd=tmp_path)
    assert path.read_text().replace("# saved", "") == SAVED_MEANWHILE.replace("# saved", "")
    assert run.stderr == (
        "archcheck: net.py was not fixed: it has changed on the disk since it was read\n"
    )
    assert "AC201" in run.stdout
    assert run.stdout.splitlines()[-1].endswith("; fixed 0, 1 fixable with --fix")


def test_a_generated_file_is_reported(net: Path) -> None:
    text = f"# @generated by a script\n{NET}"
    net.write_text(text)
    run = archcheck("net.py", "--fix", cwd=net.parent)
    assert net.read_text() == text
    assert run.stderr == (
        "archcheck: net.py was not fixed: it says in line 1 that a program generated it\n"
    )


def test_a_file_outside_the_working_directory_needs_an_option(net: Path) -> None:
    inside = net.parent / "inside"
    inside.mkdir()
    run = archcheck("../net.py", "--fix", cwd=inside)
    assert net.read_text() == NET
    assert "--fix-outside" in run.stderr
    archcheck("../net.py", "--fix", "--fix-outside", cwd=inside)
    assert net.read_text() == SAFE


def test_standard_input_is_shown_as_a_diff_only(tmp_path: Path) -> None:
    run = archcheck("-", "--fix", cwd=tmp_path, stdin=NET)
    assert run.stderr == "archcheck: stdin.py was not fixed: it came from standard input\n"
    assert not (tmp_path / "stdin.py").exists()
    shown = archcheck("-", "--diff", cwd=tmp_path, stdin=NET)
    assert shown.returncode == 1
    assert "+        super().__init__()" in shown.stdout


def test_a_wrong_call_is_one_still(net: Path) -> None:
    assert archcheck("nowhere.py", "--diff", cwd=net.parent).returncode == 2
    assert archcheck("net.py", "nowhere.py", "--fix", cwd=net.parent).returncode == 2
    assert net.read_text() == SAFE
