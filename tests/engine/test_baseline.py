"""A team adopts archcheck on an old code base: only what is new counts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import command
import pytest

pytestmark = pytest.mark.slow

FILE = "archcheck-baseline.json"
NET = """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, x):
        return self.body(x)
"""
# A finding of another rule, in a class of its own.
OTHER = """

class Other(nn.Module):
    def __init__(self):
        self.layer = nn.Linear(8, 8)

    def forward(self, x):
        return self.layer(x)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/net.py").write_text(NET)
    return tmp_path


def archcheck(
    folder: Path, *arguments: str, exit_code: int | None = None
) -> subprocess.CompletedProcess[str]:
    result = command.archcheck(*arguments, cwd=folder, COLUMNS="100")
    if exit_code is not None:
        assert result.returncode == exit_code, result.stdout + result.stderr
    return result


def codes(folder: Path, *arguments: str) -> list[str]:
    """The codes of the findings that are left."""
    result = archcheck(folder, *arguments, "--format", "json")
    return [finding["code"] for finding in json.loads(result.stdout)["findings"]]


def summary(folder: Path, *arguments: str) -> dict[str, int]:
    return dict(json.loads(archcheck(folder, *arguments, "--format", "json").stdout)["summary"])


def entries(folder: Path) -> list[dict[str, object]]:
    return list(json.loads((folder / FILE).read_text())["findings"])


def test_what_is_known_stands_and_what_is_new_fails(project: Path) -> None:
    archcheck(project, "src", exit_code=1)
    written = archcheck(project, "src", "--write-baseline", exit_code=0)
    assert "lets 1 finding of this check stand (1 new, 0 gone)" in written.stderr
    passed = archcheck(project, "src", "--baseline", FILE, exit_code=0)
    assert passed.stdout == "All checks passed (1 file); 1 in the baseline\n"
    (project / "src/net.py").write_text(NET + OTHER)
    assert codes(project, "src", "--baseline", FILE) == ["AC101"]
    archcheck(project, "src", "--baseline", FILE, exit_code=1)


def test_lines_may_move_and_be_formatted(project: Path) -> None:
    archcheck(project, "src", "--write-baseline", exit_code=0)
    text = NET.replace("nn.Linear(32, 4)", "nn.Linear( 32,4 )")
    (project / "src/net.py").write_text(f"# A comment.\n\n{text}")
    archcheck(project, "src", "--baseline", FILE, exit_code=0)


def test_findings_that_are_alike_are_counted(project: Path) -> None:
    line = '        self.head = nn.Linear(4, 4, device="cuda")\n'
    start = NET.replace("nn.Linear(32, 4)", "nn.Linear(16, 4)")
    twice = start.replace("\n    def forward", f"{line}{line}\n    def forward")
    (project / "src/net.py").write_text(twice)
    known = len(codes(project, "src"))
    archcheck(project, "src", "--write-baseline", exit_code=0)
    assert sum(int(str(entry["count"])) for entry in entries(project)) == known
    more = start.replace("\n    def forward", f"{line}{line}{line}\n    def forward")
    (project / "src/net.py").write_text(more)
    assert len(codes(project, "src", "--baseline", FILE)) == len(codes(project, "src")) - known > 0


def test_a_changed_line_is_new(project: Path) -> None:
    archcheck(project, "src", "--write-baseline", exit_code=0)
    (project / "src/net.py").write_text(NET.replace("(32, 4)", "(64, 4)"))
    assert codes(project, "src", "--baseline", FILE) == ["AC201"]


def test_what_was_fixed_is_reported_so_that_the_file_shrinks(project: Path) -> None:
    archcheck(project, "src", "--write-baseline", exit_code=0)
    (project / "src/net.py").write_text(NET.replace("(32, 4)", "(16, 4)"))
    result = archcheck(project, "src", "--baseline", FILE, exit_code=0)
    assert (
        "1 finding of the baseline is gone: run --write-baseline to let the file shrink"
        in result.stderr
    )
    assert summary(project, "src", "--baseline", FILE)["gone"] == 1
    archcheck(project, "src", "--write-baseline", exit_code=0)
    assert entries(project) == []
    assert archcheck(project, "src", "--baseline", FILE, exit_code=0).stderr == ""


def test_what_was_not_looked_for_is_not_gone(project: Path) -> None:
    (project / "lib").mkdir()
    (project / "lib/other.py").write_text("from torch import nn\n" + OTHER)
    archcheck(project, "src", "lib", "--write-baseline", exit_code=0)
    for part in (["src"], ["lib"], ["src", "lib", "--select", "AC101"], ["lib", "--ignore", "AC1"]):
        assert summary(project, *part, "--baseline", FILE)["gone"] == 0, part
    before = entries(project)
    for part in (["src"], ["lib"], ["src", "lib", "--select", "AC101"]):
        archcheck(project, *part, "--baseline", FILE, "--write-baseline", exit_code=0)
        assert entries(project) == before, part


def test_a_renamed_file_keeps_what_is_known_and_a_deleted_one_loses_it(project: Path) -> None:
    archcheck(project, "src", "--write-baseline", exit_code=0)
    (project / "src/net.py").rename(project / "src/model.py")
    result = archcheck(project, "src", "--baseline", FILE, exit_code=0)
    assert "gone" not in result.stderr
    archcheck(project, "src", "--write-baseline", exit_code=0)
    assert [entry["path"] for entry in entries(project)] == ["src/model.py"]
    (project / "src/model.py").write_text("")
    (project / "src/copy.py").write_text(NET)
    # The file is still there: this is a copy, and new.
    assert codes(project, "src", "--baseline", FILE) == ["AC201"]
    (project / "src/copy.py").unlink()
    (project / "src/model.py").unlink()
    (project / "src/empty.py").write_text("")
    assert summary(project, "src", "--baseline", FILE)["gone"] == 1


def test_the_configuration_names_it_and_its_paths_hold_from_everywhere(project: Path) -> None:
    (project / "pyproject.toml").write_text(
        f'[tool.archcheck]\npaths = ["src"]\nbaseline = "{FILE}"\n'
    )
    missing = archcheck(project, exit_code=2)
    assert f"{FILE}: there is no such baseline: write it anew with --write-baseline" in (
        missing.stderr
    )
    assert "AC201" in missing.stdout
    archcheck(project, "--write-baseline", exit_code=0)
    archcheck(project, exit_code=0)
    archcheck(project / "src", "net.py", exit_code=0)
    archcheck(project, "--no-baseline", exit_code=1)


@pytest.mark.parametrize(
    ("text", "usage_error"),
    [
        ("", "is no baseline"),
        ('{"version": 1, "findings": [{"path"', "is no baseline"),
        ('{"version": 2, "findings": []}', "its version is 2, not 1"),
        ('{"findings": []}', "its version is None, not 1"),
        ("[]", "it has no list of findings"),
        ('{"version": 1, "findings": [{}]}', "its finding 1 is malformed"),
        ("[" * 100_000, "is no baseline"),
        ('{\n<<<<<<< HEAD\n  "version": 1,\n=======\n', "holds a merge conflict"),
        ("\udce9", "cannot be read"),
    ],
)
def test_a_broken_baseline_is_one_line_and_the_check_is_done(
    project: Path, text: str, usage_error: str
) -> None:
    (project / FILE).write_bytes(text.encode("utf-8", "surrogateescape"))
    result = archcheck(project, "src", "--baseline", FILE, exit_code=2)
    assert usage_error in result.stderr and result.stderr.count("\n") == 1
    assert "AC201" in result.stdout
    # What it held is not lost by writing over it.
    archcheck(project, "src", "--write-baseline", exit_code=2)
    assert (project / FILE).read_bytes() == text.encode("utf-8", "surrogateescape")


def test_it_is_the_same_from_run_to_run(project: Path) -> None:
    (project / "src/other.py").write_text("from torch import nn\n" + OTHER)
    archcheck(project, "src", "--write-baseline", exit_code=0)
    first = (project / FILE).read_bytes()
    archcheck(project, "src/other.py", "src/net.py", "--write-baseline", exit_code=0)
    assert (project / FILE).read_bytes() == first


def test_fixing_leaves_alone_what_is_let_stand(project: Path) -> None:
    archcheck(project, "src", "--write-baseline", exit_code=0)
    (project / "src/net.py").write_text(NET + OTHER)
    result = archcheck(project, "src", "--baseline", FILE, "--fix", exit_code=0)
    assert "fixed 1" in result.stdout
    text = (project / "src/net.py").read_text()
    assert text.startswith(NET) and text.count("super().__init__()") == 2
    archcheck(project, "src", "--fix", exit_code=0)
    assert "nn.Linear(16, 4)" in (project / "src/net.py").read_text()


def test_what_traces_show_is_let_stand_too(project: Path) -> None:
    target = ("src/net.py:Net", "--input", "2,8")
    archcheck(project, *target, "--write-baseline", exit_code=0)
    assert entries(project)[0]["target"] == "src/net.py:Net"
    archcheck(project, *target, "--baseline", FILE, exit_code=0)
    # The source shows the same defect, and cannot show that the trace's findings are gone.
    archcheck(project, "src", "--baseline", FILE, exit_code=0)
    (project / "src/net.py").write_text(NET.replace("(32, 4)", "(16, 4)"))
    assert summary(project, "src", "--baseline", FILE)["gone"] == 0
    assert summary(project, *target, "--baseline", FILE)["gone"] == 1
