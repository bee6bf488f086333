from __future__ import annotations

import os
from pathlib import Path

import pytest

from archcheck.core.discovery import source_files
from archcheck.core.target import UsageError
from archcheck.python.package_text import Surroundings


def tree(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")


def below(root: Path, exclude: tuple[str, ...] = ()) -> list[str]:
    return [path.relative_to(root).as_posix() for path in source_files([root], exclude)]


def test_a_folder_gives_python_documents_and_notebooks(tmp_path: Path) -> None:
    tree(tmp_path, "b.py", "a/x.md", "a/n.ipynb", "a/data.csv", "a/__pycache__/x.py", ".venv/y.py")
    assert below(tmp_path) == ["b.py", "a/n.ipynb", "a/x.md"]


def test_gitignore_and_exclude_are_honoured(tmp_path: Path) -> None:
    tree(tmp_path, "a.py", "build/b.py", "deep/c.py", "deep/gen_d.py", "old/e.py")
    (tmp_path / ".gitignore").write_text("# made\n/build/\n")
    (tmp_path / "deep" / ".gitignore").write_text("gen_*.py\n")
    assert below(tmp_path, exclude=("old/",)) == ["a.py", "deep/c.py"]


def test_a_file_that_is_named_is_taken_whatever_it_is(tmp_path: Path) -> None:
    tree(tmp_path, "script", "build/b.py")
    (tmp_path / ".gitignore").write_text("build/\n")
    named = [tmp_path / "script", tmp_path / "build" / "b.py"]
    assert list(source_files(named)) == named


def test_a_loop_of_links_ends_and_each_file_comes_once(tmp_path: Path) -> None:
    tree(tmp_path, "a/x.py")
    os.symlink(tmp_path / "a", tmp_path / "a" / "loop", target_is_directory=True)
    os.symlink(tmp_path / "a" / "x.py", tmp_path / "a" / "y.py")
    assert below(tmp_path) == ["a/x.py"]


def test_a_missing_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        list(source_files([tmp_path / "nothing.py"]))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_that_nobody_writes_into_holds_nothing_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "net.py").write_text("import torch\n")
    assert list(source_files([tmp_path])) == [tmp_path / "net.py"]
    assert list(Surroundings.of_folder(str(tmp_path)).naming("torch")) == [str(tmp_path / "net.py")]
    # Other programs that walk the temporary folder must not wait for it.
    (tmp_path / "pipe.py").unlink()
