"""The hooks, run by pre-commit itself from a clone of the project, as in a user's repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from repositories import ROOT, begin, commit, git, run

pytest.importorskip("pre_commit")

pytestmark = [pytest.mark.slow, pytest.mark.network]

# All that an installation needs.
PARTS = (
    *("archcheck", "rules", "pyproject.toml", "README.md", "LICENSE"),
    ".pre-commit-hooks.yaml",
)

NET = """\
from torch import nn

from blocks import head


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Linear(8, 16)
        self.head = head(16)

    def forward(self, x):
        return self.head(self.features(x).relu())
"""

BLOCKS = """\
from torch import nn


def head(width):
    return nn.Linear(width, 10)
"""

CONFIGURATION = """\
[tool.archcheck]
exclude = ["made.py"]

[[tool.archcheck.models]]
target = "net.py:Net"
input = ["2,8"]
"""


class Repository:
    """A user's repository with both hooks."""

    def __init__(self, folder: Path, hooks: str, revision: str, store: Path) -> None:
        self.folder = folder
        self.store = store
        folder.mkdir()
        begin(folder)
        self.write(
            **{
                ".pre-commit-config.yaml": (
                    f"repos:\n  - repo: {hooks}\n    rev: {revision}\n"
                    "    hooks:\n      - id: archcheck\n      - id: archcheck-trace\n"
                ),
                "pyproject.toml": CONFIGURATION,
                "net.py": NET,
                "blocks.py": BLOCKS,
                "other.py": "import torch\n",
                "notes.txt": "class Net(nn.Module):\n",
            }
        )
        commit("Add the hooks", cwd=folder)

    def write(self, **texts: str) -> None:
        """Change files, and stage them."""
        for name, text in texts.items():
            (self.folder / name).write_text(text)
        git("add", "-A", cwd=self.folder)

    def hook(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run a hook on what is staged, as `git commit` would."""
        return run(
            *(sys.executable, "-m", "pre_commit", "run", name, "--verbose"),
            cwd=self.folder,
            PRE_COMMIT_HOME=str(self.store),
            # The source check's own environment is to have what it needs.
            PYTHONPATH=str(ROOT) if name == "archcheck-trace" else "",
        )


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whether pip can fetch packages: a hook's environment is built from them."""
    folder = tmp_path_factory.mktemp("download")
    command = (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "setuptools>=77")
    fetched = run(*command, cwd=folder, PIP_DEFAULT_TIMEOUT="5", PIP_RETRIES="1")
    if fetched.returncode and not os.environ.get("CI"):
        pytest.skip("offline: pip cannot fetch what a hook's environment is built from")


@pytest.fixture(scope="module")
def repository(registry: None, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    folder = tmp_path_factory.mktemp("hooks")
    clone = folder / "archcheck"
    clone.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, clone / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, clone / part)
    revision = git("rev-parse", "HEAD", cwd=begin(clone))
    return Repository(folder / "user", str(clone), revision, folder / "store")


def test_the_hooks_as_a_team_meets_them(repository: Repository) -> None:
    # One environment is built, so this is one test.
    hook, write = repository.hook, repository.write

    # Files of other types are none of its business, nor what the configuration excludes.
    write(**{"notes.txt": "class Net(nn.Module): ...\n"})
    assert "no files to check" in hook("archcheck").stdout
    faulty = NET.replace("        super().__init__()\n", "")
    write(**{"made.py": faulty})
    made = hook("archcheck")
    assert "Passed" in made.stdout and "(0 files)" in made.stdout, made.stdout + made.stderr

    write(**{"net.py": faulty})
    broken = hook("archcheck")
    assert broken.returncode == 1, broken.stdout + broken.stderr
    assert "Failed" in broken.stdout and "error[AC101]" in broken.stdout
    assert "--> net.py:7:" in broken.stdout

    # The environment of a source check has no torch.
    (environment,) = repository.store.glob("repo*/py_env-*")
    assert list(environment.rglob("typer")) and not list(environment.rglob("torch"))

    write(**{"net.py": NET, "other.py": "import torch\n\nsize = torch.ones(1)\n"})
    clean = hook("archcheck")
    assert clean.returncode == 0, clean.stdout + clean.stderr
    assert "Passed" in clean.stdout and "All checks passed (1 file)" in clean.stdout

    # No model is made of the file that changed.
    calm = hook("archcheck-trace")
    assert calm.returncode == 0, calm.stdout + calm.stderr
    assert "no configured model is made of these files" in calm.stdout

    # The model's own file is as it was: what it imports has changed.
    write(**{"blocks.py": BLOCKS.replace("Linear(width", "Linear(2 * width")})
    traced = hook("archcheck-trace")
    assert traced.returncode == 1, traced.stdout + traced.stderr
    assert "error[AC201]" in traced.stdout and "expects 32 features, got 16" in traced.stdout

    write(**{"blocks.py": BLOCKS + "\n\nsmall = False\n"})
    mended = hook("archcheck-trace")
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert "net.py:Net" in mended.stdout
