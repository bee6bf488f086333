"""What changed in the models: against the lock file, and between revisions."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from command import ROOT, archcheck

pytestmark = pytest.mark.slow

NET = """\
from torch import nn
from widths import WIDTH


class Net(nn.Module):
    def __init__(self, blocks=3):
        super().__init__()
        self.stem = nn.Linear(8, WIDTH)
        self.blocks = nn.Sequential(*[nn.Linear(WIDTH, WIDTH) for _ in range(blocks)])
        self.act = nn.ReLU()
        self.head = nn.Linear(WIDTH, 4)

    def forward(self, x):
        return self.head(self.act(self.blocks(self.stem(x))))
"""
CONFIG = """\
[tool.archcheck]

[[tool.archcheck.models]]
target = "src/net.py:Net"
input = ["2,8"]
"""


def git(folder: Path, *arguments: str) -> str:
    identity = {
        f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    run = subprocess.run(
        ["git", "-c", "init.defaultBranch=main", *arguments],
        cwd=folder,
        env={**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull},
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.strip()


def commit(project: Path, message: str) -> None:
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", message)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with a model, in a folder of its own in it."""
    folder = tmp_path / "work" / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "net.py").write_text(NET)
    (folder / "src" / "widths.py").write_text("WIDTH = 16\n")
    (folder / "pyproject.toml").write_text(CONFIG)
    git(folder.parent, "init", "-q")
    commit(folder.parent, "first")
    return folder


def edit(project: Path, old: str, new: str, file: str = "src/net.py") -> None:
    path = project / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def state(folder: Path) -> tuple[object, ...]:
    """Everything in a repository that a command must leave alone."""
    files = {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }
    kept = sorted(str(path) for path in (folder / ".git").rglob("*"))
    return files, kept, git(folder, "status", "--porcelain")


def test_against_a_revision(project: Path, tmp_path: Path) -> None:
    edit(project, "WIDTH = 16", "WIDTH = 12", "src/widths.py")
    edit(project, "blocks=3", "blocks=2")
    before = state(project.parent)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    # As git's hooks are called, for which paths start at the top of the repository.
    hook = {"GIT_DIR": ".git", "GIT_INDEX_FILE": ".git/index"}
    run = archcheck("diff", "HEAD", cwd=project, TMPDIR=str(temporary), **hook)
    assert (run.returncode, run.stderr) == (1, "")
    lines = run.stdout.splitlines()
    assert lines[0] == "HEAD → the working tree"
    assert "src/net.py:Net: 1 layer removed, 4 resized" in run.stdout
    (stem,) = [line for line in lines if line.startswith("~ stem")]
    # 4 columns of 8 weights and a bias are gone; 2 samples.
    assert stem.split() == ["~", "stem", "out_features", "16", "→", "12", "-36", "-64"]
    (gone,) = [line for line in lines if line.startswith("- blocks.2")]
    assert gone.split()[-2:] == [f"-{16 * 16 + 16}", f"-{2 * 16 * 16}"]
    (folded,) = [line for line in lines if line.startswith("~ blocks.0–1")]
    assert "in_features 16 → 12, out_features 16 → 12" in folded
    old, new = 8 * 16 + 16 + 3 * 272 + 68, 8 * 12 + 12 + 2 * 156 + 52
    (total,) = [line for line in lines if line.startswith("Parameters")]
    assert total.split()[1:4] == [f"{old:,}", "→", str(new)]
    assert lines[-1] == "1 of 1 model differs"
    # Nothing of the user's was touched, and nothing is left behind.
    assert state(project.parent) == before
    assert not list(temporary.iterdir())


def test_two_revisions_and_what_a_branch_changed(project: Path) -> None:
    git(project, "checkout", "-q", "-b", "feature")
    edit(project, "self.act = nn.ReLU()", "self.act = nn.GELU()")
    commit(project, "activation")
    git(project, "checkout", "-q", "main")
    edit(project, "blocks=3", "blocks=4")
    commit(project, "deeper")
    edit(project, "class Net", "class Elsewhere")  # not committed: neither side has it

    both = archcheck("diff", "main..feature", "--format", "json", cwd=project)
    assert (both.returncode, both.stderr) == (1, "")
    (model,) = json.loads(both.stdout)["models"]
    assert [(one["kind"], one["places"]) for one in model["changes"]] == [
        ("removed", ["blocks.3"]),
        ("replaced", ["act"]),
    ]
    since = archcheck("diff", "main...feature", "--format", "markdown", cwd=project)
    assert "ReLU → GELU" in since.stdout and "blocks" not in since.stdout
    assert since.stdout.startswith("### Architecture: 1 of 1 model differs\n")
    same = archcheck("diff", "main..main", cwd=project)
    assert (same.returncode, same.stdout.splitlines()[-1]) == (0, "No difference (1 model)")


def test_what_is_installed_from_the_working_tree_is_that_of_the_revision(project: Path) -> None:
    (project / "lib").mkdir()
    (project / "src" / "widths.py").rename(project / "lib" / "widths.py")
    commit(project, "a library")
    edit(project, "WIDTH = 16", "WIDTH = 12", "lib/widths.py")
    # As an editable install would have it.
    path = os.pathsep.join([str(ROOT), str(project / "lib")])
    run = archcheck("diff", "HEAD", cwd=project, PYTHONPATH=path)
    assert (run.returncode, run.stderr) == (1, "")
    assert "out_features 16 → 12" in run.stdout
    # Where it cannot be had of the revision, nothing wrong is said.
    edit(project, "from widths import WIDTH", "from sizes import WIDTH")
    (project / "lib" / "widths.py").rename(project / "lib" / "sizes.py")
    (project / ".gitignore").write_text("lib/\n")
    git(project, "rm", "-q", "-f", "--cached", "-r", "lib")
    commit(project, "a library that is not committed")
    edit(project, "WIDTH = 12", "WIDTH = 10", "lib/sizes.py")
    run = archcheck("diff", "HEAD", cwd=project, PYTHONPATH=path)
    assert run.returncode == 1
    assert "src/net.py:Net cannot be compared: in HEAD, it is made of" in run.stderr
    assert "lib/sizes.py too, which is installed from the working tree" in run.stderr


def test_models_that_come_and_go(project: Path) -> None:
    (project / "src" / "other.py").write_text(NET.replace("Net", "Other"))
    edit(project, "net.py:Net", "other.py:Other", "pyproject.toml")
    (project / "src" / "net.py").unlink()
    # By import, from a module that the revision lacks; and with two inputs.
    (project / "fresh.py").write_text("from torch import nn\n\nnet = nn.Linear(8, 2)\n")
    with (project / "pyproject.toml").open("a") as file:
        for batch in (2, 3):
            file.write(f"""
[[tool.archcheck.models]]
target = "fresh:net"
input = ["{batch},8"]
""")
    run = archcheck("diff", "HEAD", cwd=project)
    assert (run.returncode, run.stderr) == (1, "")
    assert "src/other.py:Other: new: 8 layers" in run.stdout
    assert "src/net.py:Net: gone: 8 layers" in run.stdout
    assert run.stdout.count("fresh:net: new: 1 layer") == 2
    archcheck("lock", cwd=project)
    run = archcheck("diff", cwd=project)
    assert run.stdout.splitlines()[-1] == "No difference (3 models)"


def test_a_model_that_fails_on_one_side_is_not_compared(project: Path) -> None:
    edit(project, "nn.Linear(WIDTH, 4)", "nn.Linear(WIDTH + 1, 4)")
    run = archcheck("diff", "HEAD", cwd=project)
    assert run.returncode == 1
    (line,) = run.stderr.splitlines()
    assert "src/net.py:Net cannot be compared: in the working tree, forward raised" in line
    commit(project, "broken")
    edit(project, "WIDTH + 1", "WIDTH")
    run = archcheck("diff", "HEAD", cwd=project)
    assert run.returncode == 1
    assert "in HEAD, forward raised RuntimeError at src/net.py" in run.stderr


def test_against_the_lock_file(project: Path) -> None:
    run = archcheck("diff", cwd=project)
    assert (run.returncode, run.stdout) == (2, "")
    assert "`archcheck lock`" in run.stderr and len(run.stderr.splitlines()) == 1
    archcheck("lock", cwd=project)
    assert archcheck("diff", cwd=project).returncode == 0
    edit(project, "Linear(8, WIDTH)", "Linear(8, WIDTH, bias=False)")
    run = archcheck("diff", cwd=project, NO_COLOR="1", COLUMNS="60")
    assert run.returncode == 1
    assert "archcheck.lock → the working tree" in run.stdout
    assert "bias True → False" in run.stdout
    assert max(map(len, run.stdout.splitlines())) <= 60 and "\x1b" not in run.stdout
    # A lock file of a name of its own, from a folder below; the result into a file.
    (project / "archcheck.lock").rename(project / "old.lock")
    run = archcheck(
        *("diff", "../old.lock", "--format", "json", "--output", "diff.json"), cwd=project / "src"
    )
    assert run.returncode == 1
    assert json.loads((project / "src" / "diff.json").read_text())["before"] == "../old.lock"
    assert "bias True → False" in run.stdout


def test_a_lock_without_configuration_is_compared_as_it_was_locked(project: Path) -> None:
    (project / "pyproject.toml").unlink()
    commit(project, "no configuration")
    archcheck("lock", "src/net.py:Net(blocks=1)", "--input", "4,8", "--eval", cwd=project)
    assert archcheck("diff", cwd=project).returncode == 0
    run = archcheck("diff", "HEAD", "--format", "json", cwd=project)
    assert run.returncode == 0
    (model,) = json.loads(run.stdout)["models"]
    assert model["target"] == "src/net.py:Net(blocks=1)"
    assert model["after"]["mode"] == "eval" and model["after"]["inputs"] == ["x=4,8"]
    edit(project, "class Net", "class Other")
    run = archcheck("diff", cwd=project)
    assert run.returncode == 1
    assert "src/net.py:Net(blocks=1): gone" in run.stdout


def refused(*arguments: str, cwd: Path, **environment: str) -> str:
    """The one line that a wrong call gets."""
    run = archcheck("diff", *arguments, cwd=cwd, **environment)
    assert (run.returncode, run.stdout) == (2, "")
    (line,) = run.stderr.splitlines()
    return line


def test_wrong_calls_get_one_line_that_says_how_to_mend_it(project: Path, tmp_path: Path) -> None:
    assert "did you mean 'main'?" in refused("mian", cwd=project)
    assert "`old..new`" not in refused("main..nowhere", cwd=project)
    assert "written `main..feature`" in refused("main", "feature", cwd=project)
    assert "there is no revision `-x`" in refused("--", "-x", cwd=project)
    assert "there is no" in refused("gone.lock", cwd=project)
    alone = tmp_path / "alone"
    alone.mkdir()
    outside = {"GIT_CEILING_DIRECTORIES": str(tmp_path)}
    assert "no git repository" in refused("main", cwd=alone, **outside)
    assert "install it" in refused("main", cwd=project, PATH=str(alone))
    (project / "pyproject.toml").unlink()
    commit(project, "no configuration")
    assert "no model is named" in refused("HEAD", cwd=project)


def test_a_shallow_clone_says_what_to_fetch(project: Path, tmp_path: Path) -> None:
    edit(project, "blocks=3", "blocks=4")
    commit(project, "second")
    clone = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth", "1", project.parent.as_uri(), str(clone))
    line = refused("HEAD~1", cwd=clone / "project")
    assert "shallow" in line and "git fetch --unshallow" in line and "fetch-depth: 0" in line
    # What the clone has can be compared.
    assert archcheck("diff", "HEAD", cwd=clone / "project").returncode == 0
    full = tmp_path / "full"
    git(tmp_path, "clone", "-q", project.parent.as_uri(), str(full))
    git(full, "checkout", "-q", "-b", "topic")
    git(full, "branch", "-q", "-D", "main")
    assert "did you mean 'origin/main'?" in refused("main", cwd=full / "project")
