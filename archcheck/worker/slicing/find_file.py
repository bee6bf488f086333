"""Finds the file of a target: by its path, or by its module's dotted name."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.machinery import SourceFileLoader
from pathlib import Path

from archcheck.core.target import NAMED_MODELS, Target, UsageError
from archcheck.worker.sandbox.environment import ImportPlace, import_place, module_place
from archcheck.worker.sandbox.user_paths import among, is_users
from archcheck.worker.slicing.module_source import ModuleSource, read_source


@dataclass(frozen=True, slots=True)
class Found:
    """Where a target is.

    Attributes:
        source: Its file; None where it is a module that cannot be sliced, or is loaded already.
        buffers: The bytes of files that are read in the place of the disk's, by absolute path.
        user_files: Which files count as the user's own.
    """

    target: Target
    place: ImportPlace
    source: ModuleSource | None
    buffers: Mapping[str, bytes]
    user_files: Callable[[str], bool] = is_users

    def resolved(self) -> Found:
        """With the source of a module, which is looked for where the search path leads now.

        Raises:
            UsageError: There is no such module.
            Exception: A package around it cannot be imported.
        """
        if self.target.is_file:
            return self
        name = self.target.place
        try:
            spec = importlib.util.find_spec(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise
            spec = None
        except ValueError:
            spec = None
        if spec is None:
            raise UsageError(
                f"there is no module `{name}`: name its file, as in "
                f"`{name.replace('.', '/')}.py:{self.target.name}`, or run archcheck from where "
                "it can be imported"
            )
        origin = spec.origin or ""
        user_files: Callable[[str], bool] = is_users
        if origin and not is_users(origin):
            # A model of an installed package: that package is what the user asks about.
            user_files = among(str(Path(origin).parents[name.count(".")]))
        if name == NAMED_MODELS:
            user_files = _files_of({"hf": "transformers"}.get(self.target.name, self.target.name))
        if name in sys.modules or not isinstance(spec.loader, SourceFileLoader):
            return replace(self, user_files=user_files)
        top = Path(origin).parents[name.count(".") + (1 if spec.submodule_search_locations else 0)]
        place = ImportPlace(name, spec.parent or "", (str(top),), ())
        source = read_source(Path(origin), self.buffers)
        return replace(self, place=place, source=source, user_files=user_files)


def _files_of(package: str) -> Callable[[str], bool]:
    """The files of the package that a named model comes from."""
    spec = importlib.util.find_spec(package)
    return is_users if spec is None or not spec.origin else among(str(Path(spec.origin).parent))


def find_target(target: Target, home: Path, buffers: Mapping[str, bytes]) -> Found:
    """Where a target is, before anything is imported.

    Raises:
        UsageError: There is no such file.
    """
    if not target.is_file:
        return Found(target, module_place(target.place, home), None, buffers)
    source = read_source(home / target.place, buffers)
    place = import_place(source.path, source.tree, home)
    # Of an installed package that is named by its file, the package is what the user asks about.
    installed = not is_users(str(source.path))
    user_files = among(str(source.path.parent)) if installed else is_users
    return Found(target, place, source, buffers, user_files)
