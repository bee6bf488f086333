"""Revisions of a git repository as folders, without touching the user's own tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from archcheck.core.target import UsageError
from archcheck.core.wording import nearest


@dataclass(frozen=True, slots=True)
class Repository:
    """A git repository; `top` is the folder of its working tree."""

    top: Path

    @classmethod
    def around(cls, folder: Path) -> Repository:
        """The repository that a folder lies in.

        Raises:
            UsageError: There is no git, or no repository.
        """
        if shutil.which("git") is None:
            raise UsageError(
                "git is not on the PATH, so that revisions cannot be read: install it, or compare "
                "with a lock file, `archcheck diff`"
            )
        run = _git(folder, "rev-parse", "--show-toplevel")
        if run.returncode:
            if "not a git repository" in run.stderr:
                raise UsageError(
                    f"{folder} is in no git repository, so that there are no revisions: compare "
                    "with a lock file, `archcheck diff`"
                )
            raise UsageError(f"git cannot read the repository: {_last_line(run.stderr)}")
        return cls(Path(run.stdout.rstrip("\n")))

    def commit(self, revision: str) -> str:
        """The commit that a revision names.

        Raises:
            UsageError: There is none.
        """
        found = self._resolved(revision)
        if found is None:
            raise UsageError(f"there is no revision `{revision}`{self._advice(revision)}")
        return found

    def merge_base(self, one: str, other: str) -> str:
        """The last commit that two revisions have in common.

        Raises:
            UsageError: There is none, or a revision is not known.
        """
        run = _git(self.top, "merge-base", self.commit(one), self.commit(other))
        if run.returncode:
            raise UsageError(
                f"`{one}` and `{other}` have no commit in common here{self._advice('')}"
            )
        return run.stdout.strip()

    @contextmanager
    def exported(self, commit: str) -> Iterator[Path]:
        """A folder with the files of a commit, for as long as the `with` block lasts.

        Raises:
            UsageError: git cannot write them out.
        """
        with tempfile.TemporaryDirectory(prefix="archcheck-") as place:
            tree = Path(os.path.realpath(place), "tree")
            tree.mkdir()
            # An index of its own, so that nothing of the repository is written; in contrast to
            # `git archive` it leaves nothing out, and in contrast to `git worktree` no hook runs.
            index = {"GIT_INDEX_FILE": str(tree.with_name("index"))}
            for arguments in (
                ("read-tree", commit),
                ("checkout-index", "--all", "--quiet", f"--prefix={tree}{os.sep}"),
            ):
                run = _git(self.top, *arguments, **index)
                if run.returncode:
                    raise UsageError(
                        f"git cannot write out {commit[:12]}: {_last_line(run.stderr)}"
                    )
            yield tree

    def _resolved(self, revision: str) -> str | None:
        if not revision or revision.startswith("-"):
            return None
        run = _git(self.top, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        return run.stdout.strip() if run.returncode == 0 else None

    def _advice(self, revision: str) -> str:
        """What to do about a commit that is not there."""
        if _git(self.top, "rev-parse", "--is-shallow-repository").stdout.strip() == "true":
            return (
                " in this shallow clone: fetch it first, `git fetch --unshallow` "
                "(`fetch-depth: 0` in GitHub Actions)"
            )
        if self._resolved(f"origin/{revision}") is not None:
            return f"; did you mean 'origin/{revision}'?"
        names = _git(self.top, "for-each-ref", "--format=%(refname:short)").stdout.split()
        return nearest(revision, names) or "; `git branch -a` and `git tag` list what there is"


# What git tells its hooks: where the repository is, seen from another folder than ours.
_OF_HOOKS = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"})


def _git(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        env={
            **{name: value for name, value in os.environ.items() if name not in _OF_HOOKS},
            "LC_ALL": "C",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_TERMINAL_PROMPT": "0",
            # Weights that git-lfs keeps elsewhere are not needed for an architecture.
            "GIT_LFS_SKIP_SMUDGE": "1",
            **environment,
        },
    )


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("fatal: ") if lines else "it says nothing"
