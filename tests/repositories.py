"""Git repositories that tests work in as a team would, with the commands of this environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = ROOT / "fixtures" / "project"

_IDENTITY = ("-c", "user.name=Test", "-c", "user.email=test@example.org")


def run(*command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command that finds archcheck and pytest, untouched by the git that runs the tests."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    path = os.pathsep.join((str(Path(sys.executable).parent), outer["PATH"]))
    ours = {"PATH": path, "PYTHONPATH": str(ROOT), "GIT_CONFIG_GLOBAL": os.devnull}
    return subprocess.run(
        command,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**outer, **ours, **environment},
    )


def git(*arguments: str, cwd: Path) -> str:
    """What a git command prints."""
    done = run("git", *_IDENTITY, *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def begin(folder: Path) -> Path:
    """Make a repository of all that is in a folder, on the branch `main`."""
    git("init", "-q", "-b", "main", cwd=folder)
    commit("Begin", cwd=folder)
    return folder


def commit(message: str, cwd: Path) -> str:
    """Commit everything; its name."""
    git("add", "-A", cwd=cwd)
    git("commit", "-q", "--allow-empty", "-m", message, cwd=cwd)
    return git("rev-parse", "HEAD", cwd=cwd)


def team_project(folder: Path) -> Path:
    """A copy of the project that uses everything, without what tests left behind in it."""
    return Path(
        shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    )
