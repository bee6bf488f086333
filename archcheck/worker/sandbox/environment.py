"""The process as the user's file expects it: search path, working directory, arguments.

Whatever the file's code changes of it is put back afterwards, for the targets that follow.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from archcheck.worker.sandbox.user_paths import is_users

# What marks the top of a project.
_PROJECT_MARKS = ("pyproject.toml", "setup.py", "setup.cfg", ".git", ".hg")
# How far up a project is looked for.
_HIGHEST = 8


@dataclass(frozen=True, slots=True)
class ImportPlace:
    """Where a file stands among packages.

    Attributes:
        name: Its dotted module name.
        package: What its relative imports are relative to.
        first: Folders to search before all others; the first stands for the import root.
        last: Folders to search when nothing else has what is imported.
    """

    name: str
    package: str
    first: tuple[str, ...]
    last: tuple[str, ...]

    @property
    def root(self) -> str:
        return self.first[0]


def import_place(path: Path, tree: ast.Module, working_directory: Path) -> ImportPlace:
    """The place of a file, by the packages around it and the relative imports in it."""
    path = path.resolve()
    folder = path.parent
    packages: list[str] = []
    top = folder
    while (top / "__init__.py").is_file() and top.name.isidentifier() and top != top.parent:
        packages.insert(0, top.name)
        top = top.parent
    depth = max(
        (node.level for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)), default=0
    )
    while len(packages) < depth and top.name.isidentifier() and top != top.parent:
        # A package without __init__.py, which only the relative import gives away.
        packages.insert(0, top.name)
        top = top.parent
    stem = path.stem if path.stem.isidentifier() else "target"
    is_package = path.name == "__init__.py"
    name = ".".join(packages if is_package and packages else [*packages, stem])
    above = _project_folders(folder)
    first = (str(top),)
    last = tuple(
        dict.fromkeys(
            str(place) for place in (folder, *above, working_directory) if str(place) not in first
        )
    )
    return ImportPlace(name, ".".join(packages), first, last)


def module_place(name: str, working_directory: Path) -> ImportPlace:
    """The place of a module that is named by its dotted name."""
    source = working_directory / "src"
    first = [working_directory, *([source] if source.is_dir() else [])]
    return ImportPlace(name, name.rpartition(".")[0], tuple(map(str, first)), ())


def _project_folders(folder: Path) -> list[Path]:
    """The folders above, up to the top of the project, and its `src`."""
    above: list[Path] = []
    for place in list(folder.parents)[:_HIGHEST]:
        above.append(place)
        if any((place / mark).exists() for mark in _PROJECT_MARKS):
            source = place / "src"
            return [*above, *([source] if source.is_dir() else [])]
    # No project in sight: the next two folders, as in `models/nets/net.py` run from above.
    return above[:2]


@contextlib.contextmanager
def environment(place: ImportPlace, argument: str) -> Iterator[None]:
    """Search path, arguments and working directory for one file; all put back afterwards."""
    before = (
        list(sys.path),
        list(sys.argv),
        list(sys.meta_path),
        dict(os.environ),
        os.getcwd(),
        sys.getrecursionlimit(),
    )
    streams = (sys.stdin, sys.stdout, sys.stderr)
    sys.path[:] = [*place.first, *(p for p in sys.path if p not in place.first), *place.last]
    sys.argv[:] = [argument]
    importlib.invalidate_caches()
    try:
        with warnings.catch_warnings(), torch_settings():
            yield
    finally:
        sys.path[:], sys.argv[:], sys.meta_path[:] = before[0], before[1], before[2]
        if dict(os.environ) != before[3]:
            os.environ.clear()
            os.environ.update(before[3])
        os.chdir(before[4])
        with contextlib.suppress(RecursionError):
            sys.setrecursionlimit(before[5])
        sys.stdin, sys.stdout, sys.stderr = streams


@contextlib.contextmanager
def torch_settings() -> Iterator[None]:
    """Put back torch's global settings, its random state, and what loading replaces in it."""
    import torch

    dtype = torch.get_default_dtype()
    device = torch.get_default_device()
    gradients = torch.is_grad_enabled()
    random_state = torch.random.get_rng_state()
    compile_ = torch.compile
    # Compiling gives the same results later and slower.
    torch.compile = _uncompiled  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.compile = compile_
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            torch.set_default_device(device)
        torch.set_grad_enabled(gradients)
        torch.random.set_rng_state(random_state)


def _uncompiled(model: object = None, **_options: object) -> object:
    """`torch.compile` that leaves a model, or the function that it decorates, as it is."""
    if model is None:
        return _uncompiled
    return model


def forget_users_modules() -> None:
    """Drop the user's modules: another import root may have others of the same names."""
    for name, module in list(sys.modules.items()):
        if name == "__main__" or not isinstance(module, ModuleType):
            continue
        file = getattr(module, "__file__", None)
        places = [file] if isinstance(file, str) else folders_of(module)
        if any(os.path.isabs(place) and is_users(place) for place in places):
            del sys.modules[name]


def folders_of(module: ModuleType) -> list[str]:
    """The folders of a package."""
    try:
        return [folder for folder in getattr(module, "__path__", ()) if isinstance(folder, str)]
    except Exception:
        # The path of a namespace package is computed when it is asked for.
        return []
