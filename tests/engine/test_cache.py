"""The cache tells what a check would have found, whatever changed: tests that try to make it lie.

All through the real command. A file `ran` tells whether a model's code ran: where an answer is
remembered, it does not.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

NET = """\
import os
from torch import nn
from helper import width

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(width(), 4))

    def forward(self, x):
        return self.body(x)
"""
HELPER = "def width():\n    return 16\n"
CONFIG = """\
[tool.archcheck]
[[tool.archcheck.models]]
target = "net.py:Net"
input = ["2,8"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "net.py").write_text(NET)
    (folder / "helper.py").write_text(HELPER)
    (folder / "pyproject.toml").write_text(CONFIG)
    return folder


def archcheck(folder: Path, *arguments: str, **environment: str) -> str:
    """All that the real command says, with its exit code."""
    result = subprocess.run(
        [sys.executable, "-m", "archcheck", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "100"} | environment,
        check=False,
    )
    return f"{result.stdout}\n{result.stderr}\n{result.returncode}"


def starts_a_worker(folder: Path, *arguments: str, **environment: str) -> bool:
    """Whether the command starts one; where none can be started, an answer is remembered."""
    program = (
        "import archcheck.worker.process.client as client, sys\n"
        "def refuse(): sys.exit('a worker was started')\n"
        "client.new_process = refuse\n"
        "from archcheck.frontends.cli.main import main\n"
        f"main({list(arguments)!r})"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "100"} | environment,
        check=False,
    )
    return "a worker was started" in result.stderr


def same(folder: Path, *arguments: str, **environment: str) -> None:
    """Whatever is remembered, the command says what it says without a cache, and again."""
    expected = archcheck(folder, *arguments, "--no-cache", **environment)
    assert archcheck(folder, *arguments, **environment) == expected
    assert archcheck(folder, *arguments, **environment) == expected


def test_what_is_unchanged_is_remembered_byte_for_byte(project: Path) -> None:
    same(project)
    assert not starts_a_worker(project)
    for form in ("json", "sarif", "markdown", "concise"):
        same(project, "--format", form)


def test_what_is_remembered_needs_neither_torch_nor_rules_nor_rich(project: Path) -> None:
    archcheck(project)
    program = (
        "from archcheck.frontends.cli.main import exit_code\n"
        "import sys; sys.argv = ['archcheck']; exit_code(['check'])\n"
        "print(*sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=project,
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "100"},
        check=True,
    )
    loaded = set(run.stdout.splitlines()[-1].split())
    assert "archcheck.engine.cache.answers" in loaded
    assert not {"torch", "rich", "archcheck.engine.pipeline"} & loaded
    assert not [name for name in loaded if name.startswith("archcheck.rules.")]


def test_the_folder_keeps_itself_out_of_git_and_backups(project: Path) -> None:
    archcheck(project)
    folder = project / ".archcheck_cache"
    assert (folder / ".gitignore").read_text() == "*\n"
    assert (
        (folder / "CACHEDIR.TAG")
        .read_text()
        .startswith("Signature: 8a477f597d28d172789f06886806bc55")
    )
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=project, capture_output=True, text=True, check=True
    )
    assert ".archcheck_cache" not in status.stdout


def test_it_can_be_turned_off(project: Path) -> None:
    archcheck(project, "--no-cache")
    (project / "pyproject.toml").write_text(CONFIG.replace("]\n", "]\ncache = false\n", 1))
    archcheck(project)
    assert not (project / ".archcheck_cache").exists()


def edit(project: Path, name: str, old: str, new: str) -> None:
    """Change a file, and hide it as well as can be: same length, same time."""
    path = project / name
    text = path.read_text()
    assert old in text and len(old) == len(new)
    before = path.stat()
    path.write_text(text.replace(old, new))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_changed_model_is_seen(project: Path) -> None:
    same(project)
    edit(project, "net.py", "nn.Linear(8, 16)", "nn.Linear(8, 32)")
    assert "AC201" in archcheck(project)
    same(project)


def test_a_changed_helper_is_seen(project: Path) -> None:
    same(project)
    edit(project, "helper.py", "16", "32")
    assert "AC201" in archcheck(project)
    same(project)


def test_going_to_and_fro_is_seen(project: Path) -> None:
    for old, new, finds in (("16", "32", True), ("32", "16", False), ("16", "32", True)):
        edit(project, "helper.py", old, new)
        assert ("AC201" in archcheck(project)) == finds


def test_an_installed_package_that_changed_is_seen(project: Path, tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    (site / "sizes").mkdir(parents=True)
    (site / "sizes/__init__.py").write_text("from sizes.deep import WIDTH\n")
    (site / "sizes/deep.py").write_text("WIDTH = 16\n")
    (project / "helper.py").write_text("from sizes import WIDTH\ndef width():\n    return WIDTH\n")
    same(project, PYTHONPATH=str(site))
    assert not starts_a_worker(project, PYTHONPATH=str(site))
    edit(site, "sizes/deep.py", "16", "32")
    assert "AC201" in archcheck(project, PYTHONPATH=str(site))
    same(project, PYTHONPATH=str(site))


def models(project: Path, *expressions: str) -> tuple[str, ...]:
    """A file for each expression that gives the width of a model, and the targets."""
    targets = []
    for number, expression in enumerate(expressions):
        text = NET.replace("width()", expression).replace("from helper import width\n", "")
        (project / f"net{number}.py").write_text(f"import glob, pathlib\n{text}")
        targets.append(f"net{number}.py:Net")
    return (*targets, "--input", "2,8")


def findings(said: str) -> int:
    return said.count("error[AC201]")


def test_a_variable_that_a_model_reads_is_seen(project: Path) -> None:
    targets = models(
        project,
        "int(os.environ.get('WIDTH', '16'))",
        "int(os.getenv('WIDTH') or 16)",
        "int(os.environ['WIDTH'] if 'WIDTH' in os.environ else 16)",
        "int(dict(os.environ).get('WIDTH', 16))",
        "int(os.environb.get(b'WIDTH', b'16'))",
    )
    assert findings(archcheck(project, *targets)) == 0
    assert not starts_a_worker(project, *targets)
    assert findings(archcheck(project, *targets, WIDTH="32")) == 5
    assert findings(archcheck(project, *targets, WIDTH="16")) == 0


def test_a_variable_read_on_import_is_seen_for_later_models_too(project: Path) -> None:
    (project / "helper.py").write_text(
        "import os\nWIDTH = int(os.environ.get('WIDTH', 16))\ndef width():\n    return WIDTH\n"
    )
    (project / "other.py").write_text(NET.replace("Net", "Other"))
    targets = ("net.py:Net", "other.py:Other", "--input", "2,8")
    archcheck(project, *targets)
    assert not starts_a_worker(project, "other.py:Other", "--input", "2,8")
    assert "AC201" in archcheck(project, "other.py:Other", "--input", "2,8", WIDTH="32")


def test_a_data_file_is_seen(project: Path) -> None:
    targets = models(
        project,
        "int(open('width.txt').read())",
        "int(pathlib.Path('width.txt').read_text())",
        "int(os.read(os.open('width.txt', os.O_RDONLY), 9))",
        "32 if '32' in open('width.txt', 'rb').read().decode() else 16",
        "os.path.getsize('size.txt')",
    )
    (project / "width.txt").write_text("16")
    (project / "size.txt").write_text("x" * 16)
    assert findings(archcheck(project, *targets)) == 0
    assert not starts_a_worker(project, *targets)
    edit(project, "width.txt", "16", "32")
    (project / "size.txt").write_text("x" * 32)
    assert findings(archcheck(project, *targets)) == 5
    (project / "width.txt").unlink()
    same(project, *targets)


def test_a_file_that_was_looked_for_is_seen_when_it_comes(project: Path) -> None:
    targets = models(
        project,
        *(
            f"32 if {looking} else 16"
            for looking in (
                "os.path.exists('wide')",
                "pathlib.Path('wide').is_file()",
                "bool(glob.glob('wid*'))",
                "'wide' in os.listdir('.')",
                "any(entry.name == 'wide' for entry in os.scandir('.'))",
                "os.access('wide', os.R_OK)",
                "bool(list(pathlib.Path('.').glob('wide')))",
            )
        ),
    )
    assert findings(archcheck(project, *targets)) == 0
    assert not starts_a_worker(project, *targets)
    (project / "wide").write_text("")
    assert findings(archcheck(project, *targets)) == 7
    (project / "wide").unlink()
    assert findings(archcheck(project, *targets)) == 0


def test_a_module_that_shadows_another_is_seen(project: Path, tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    site.mkdir()
    (site / "helper.py").write_text(HELPER)
    (project / "helper.py").unlink()
    same(project, PYTHONPATH=str(site))
    assert not starts_a_worker(project, PYTHONPATH=str(site))
    (project / "helper").mkdir()
    (project / "helper/__init__.py").write_text(HELPER.replace("16", "32"))
    assert "AC201" in archcheck(project, PYTHONPATH=str(site))


def test_a_module_that_was_missing_is_seen_when_it_comes(project: Path) -> None:
    (project / "helper.py").unlink()
    same(project)
    assert not starts_a_worker(project)
    (project / "helper.py").write_text(HELPER)
    same(project)


def test_another_file_beside_the_model_changes_nothing(project: Path) -> None:
    archcheck(project)
    (project / "notes.txt").write_text("")
    (project / "unrelated.py").write_text("")
    (project / "runs").mkdir()
    assert not starts_a_worker(project)


def test_options_and_configuration_are_part_of_the_question(project: Path) -> None:
    same(project)
    (project / "pyproject.toml").write_text(CONFIG.replace("2,8", "2,9"))
    same(project)
    for options in (
        ("--eval",),
        ("--max-params", "10"),
        ("--select", "AC2"),
        ("--expect-output", "2,5"),
        ("--import", "whole"),
    ):
        same(project, "net.py:Net", "--input", "2,8", *options)
    assert "AC601" in archcheck(project, "net.py:Net", "--input", "2,8", "--max-params", "10")


def test_the_same_model_elsewhere_is_another_one(project: Path, tmp_path: Path) -> None:
    archcheck(project)
    other = tmp_path / "other"
    project.rename(other)
    (other / "helper.py").write_text(HELPER.replace("16", "32"))
    assert "AC201" in archcheck(other)
    (other / "sub").mkdir()
    (other / "sub/net.py").write_text((other / "net.py").read_text())
    same(other, "sub/net.py:Net", "--input", "2,8")


def test_damaged_entries_count_as_none(project: Path) -> None:
    expected = archcheck(project)
    entries = [path for path in (project / ".archcheck_cache").glob("??/*") if path.is_file()]
    assert entries
    for damage in (
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data + b"more",
        lambda data: os.urandom(len(data)),
    ):
        for path in entries:
            path.write_bytes(damage(path.read_bytes()))
        assert archcheck(project) == expected
        assert not starts_a_worker(project)


def test_an_entry_under_anothers_name_counts_as_none(project: Path) -> None:
    expected = archcheck(project)
    entries = sorted(path for path in (project / ".archcheck_cache").glob("??/*"))
    texts = [path.read_bytes() for path in entries]
    for path, text in zip(entries, [*texts[1:], texts[0]], strict=True):
        path.write_bytes(text)
    assert archcheck(project) == expected


def test_two_runs_at_once(project: Path) -> None:
    expected = archcheck(project, "--no-cache")
    command = [sys.executable, "-m", "archcheck"]
    environment = os.environ | {"COLUMNS": "100"}
    runs = [
        subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for run in runs:
        out, _ = run.communicate()
        assert expected.startswith(out)
    assert archcheck(project) == expected
    assert not starts_a_worker(project)


def test_a_folder_that_cannot_be_written_is_one_line(project: Path) -> None:
    (project / ".archcheck_cache").write_text("a file stands in its place")
    expected = archcheck(project, "--no-cache")
    said = archcheck(project)
    assert said.count("archcheck: nothing is kept for the next run") == 1
    assert said.splitlines()[0] == expected.splitlines()[0]
    assert said[-1] == expected[-1]


def test_what_happens_out_of_sight_is_not_kept(project: Path) -> None:
    *targets, option, shape = models(
        project,
        "16 + __import__('subprocess').run(['true']).returncode",
        "16 + os.system('true')",
        "16 + 0 * __import__('socket').socket().connect_ex(('127.0.0.1', 9))",
        "16 + 0 * id(__import__('sqlite3').connect(':memory:'))",
        "16 + 0 * id(__import__('ctypes').CDLL(None))",
    )
    archcheck(project, *targets, option, shape)
    for target in targets:
        assert starts_a_worker(project, target, option, shape), target


def test_limits_and_crashes_are_not_kept(project: Path) -> None:
    for doing in ("import time; time.sleep(60)", "os.abort()", "raise MemoryError"):
        (project / "helper.py").write_text(f"import os\ndef width():\n    {doing}\n")
        archcheck(project, "--timeout", "2")
        assert starts_a_worker(project, "--timeout", "2"), doing


def test_a_model_that_fails_is_remembered(project: Path) -> None:
    (project / "helper.py").write_text("def width():\n    raise ValueError('no width')\n")
    same(project)
    assert not starts_a_worker(project)


def test_a_file_that_changes_while_the_model_is_traced_is_not_kept(project: Path) -> None:
    (project / "helper.py").write_text(
        "import pathlib\n"
        "def width():\n"
        "    found = int(pathlib.Path('width.txt').read_text())\n"
        "    pathlib.Path('width.txt').write_text('32')\n"
        "    return found\n"
    )
    (project / "width.txt").write_text("16")
    archcheck(project)
    assert starts_a_worker(project)


def test_clocks_that_go_backwards(project: Path) -> None:
    later = time.time() + 1_000_000
    for name in ("net.py", "helper.py"):
        os.utime(project / name, (later, later))
    same(project)
    (project / "helper.py").write_text(HELPER.replace("16", "32"))
    os.utime(project / "helper.py", (later - 1e9, later - 1e9))
    assert "AC201" in archcheck(project)


def test_fixes_are_tried_on_what_they_would_leave(project: Path) -> None:
    edit(project, "helper.py", "16", "32")
    (project / "net.py").write_text(
        NET.replace("width()", "32").replace("from helper import width\n", "")
    )
    same(project)
    assert not starts_a_worker(project)
    assert "fixed 1" in archcheck(project, "--fix")
    assert "AC201" not in archcheck(project)


def test_a_deleted_model_is_gone(project: Path) -> None:
    archcheck(project)
    (project / "net.py").unlink()
    same(project)
    assert "net.py" in archcheck(project)
