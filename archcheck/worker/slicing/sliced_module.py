"""Modules of which only what is needed runs."""

from __future__ import annotations
import __future__

import ast
import copy
import importlib
import importlib.util
import linecache
import os
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from archcheck.core.target import UsageError
from archcheck.worker.sandbox.environment import ImportPlace
from archcheck.worker.sandbox.placeholders import (
    Missing,
    MissingImport,
    Placeholder,
    Reach,
    imported_names,
)
from archcheck.worker.sandbox.user_paths import is_users
from archcheck.worker.slicing.module_source import ModuleSource, read_source
from archcheck.worker.slicing.slicer import Slice, slice_for
from archcheck.worker.slicing.units import IMPORTS

_NOTHING = Slice((), frozenset(), found=True)


class _Sliced(ModuleType):
    """A module that is not all of its file."""


def is_sliced(module: ModuleType) -> bool:
    """Whether a module is not all of its file; it does not outlive its target."""
    return isinstance(module, _Sliced)


def forget_sliced() -> None:
    """Take all modules that were sliced out of `sys.modules`."""
    for name, module in list(sys.modules.items()):
        if is_sliced(module):
            del sys.modules[name]


class SlicedModule:
    """A module of which a slice runs, and further names when something asks for them.

    Attributes:
        names: What its names stand for, as far as they have been needed.

    Args:
        wanted: What `define` and `make_values` run.
        spec: Of a module that was found by its name.
    """

    def __init__(
        self,
        source: ModuleSource,
        place: ImportPlace,
        reach: Reach,
        wanted: Slice = _NOTHING,
        *,
        spec: ModuleSpec | None = None,
    ) -> None:
        self.source = source
        self.slice = wanted
        self._place = place
        self._reach = reach
        self._path = str(source.path)
        self._flags = _future_flags(source.tree)
        self._done: set[tuple[int, int]] = set()
        self.names = self._register(spec).__dict__
        # Positions in tracebacks, and inspect.getsource, are those of the code that runs.
        lines = [f"{line}\n" for line in source.document.lines]
        linecache.cache[self._path] = (len(source.document.code), None, lines, self._path)

    def define(self) -> None:
        """Run what makes definitions; all of the slice, if its name is no value."""
        for place, statement in enumerate(self.slice.statements):
            if self.slice.makes_value and place in self.slice.values:
                continue
            try:
                self._run(statement)
            except Exception:
                if place not in self.slice.settings:
                    raise

    def make_values(self) -> None:
        """Run what makes values, once more."""
        for place, statement in enumerate(self.slice.statements):
            if self.slice.makes_value and place in self.slice.values:
                self._run(statement)

    def _register(self, spec: ModuleSpec | None) -> ModuleType:
        name = self._place.name
        known = sys.modules.get(name.partition(".")[0])
        if spec is None and (
            name.partition(".")[0] in sys.stdlib_module_names
            or (known is not None and not self._is_ours(known))
        ):
            name = f"{name}_{abs(hash(self._path)):x}"
        module = _Sliced(name)
        module.__file__ = self._path
        module.__package__ = self._place.package
        module.__spec__ = spec or ModuleSpec(name, None, origin=self._path)
        if spec is not None and spec.submodule_search_locations is not None:
            module.__path__ = list(spec.submodule_search_locations)
        if "__getattr__" not in self.source.units.binders:
            module.__dict__["__getattr__"] = self._on_demand
        sys.modules[name] = module
        return module

    def _is_ours(self, module: ModuleType) -> bool:
        files = [getattr(module, "__file__", None), *list(getattr(module, "__path__", ()))]
        root = os.path.realpath(self._place.root) + os.sep
        return any(
            isinstance(file, str) and os.path.realpath(file).startswith(root) for file in files
        )

    def _on_demand(self, name: str) -> Any:
        """What something else wants of the module, run when it asks."""
        units = self.source.units
        if name == "__all__" and name not in units.binders:
            return [bound for bound in units.binders if not bound.startswith("_")]
        if name not in units.binders and (name.startswith("__") or not units.stars):
            raise AttributeError(
                f"module {self.names['__name__']!r} has no attribute {name!r}", name=name
            )
        try:
            for statement in slice_for(units, name).statements:
                if (statement.lineno, statement.col_offset) not in self._done:
                    self._run(statement)
        except Exception as error:
            self.names[name] = Placeholder(name, _missing(error, name, self._path), self._reach)
        try:
            return self.names[name]
        except KeyError:
            raise AttributeError(
                f"module {self.names['__name__']!r} has no attribute {name!r}", name=name
            ) from None

    def _run(self, statement: ast.stmt) -> None:
        self._done.add((statement.lineno, statement.col_offset))
        try:
            self._execute(statement)
        except FileNotFoundError as error:
            if not self._move_beside(error):
                raise
            self._execute(statement)
        except (Exception, SystemExit):
            if not isinstance(statement, IMPORTS):
                raise
            self._import_what_can_be(statement)

    def _execute(self, statement: ast.stmt) -> None:
        code = compile(
            ast.Module([statement], []),
            self._path,
            "exec",
            flags=self._flags,
            dont_inherit=True,
        )
        exec(code, self.names)

    def _move_beside(self, error: FileNotFoundError) -> bool:
        """Go to the file's own folder, if that is where it expects to be run."""
        folder = self.source.path.parent
        wanted = error.filename
        if (
            not isinstance(wanted, str)
            or os.path.isabs(wanted)
            or Path.cwd() == folder
            or not (folder / wanted).exists()
        ):
            return False
        os.chdir(folder)
        return True

    def _import_what_can_be(self, statement: ast.Import | ast.ImportFrom) -> None:
        """Bind what can be imported, and placeholders for the rest."""
        self._slice_what_fails(statement)
        for alias in statement.names:
            single = copy.copy(statement)
            single.names = [alias]
            try:
                self._execute(single)
            except (Exception, SystemExit) as error:
                for name, (stands_for, module) in imported_names(single).items():
                    missing = _missing(error, module, self._path)
                    self.names[name] = Placeholder(stands_for, missing, self._reach)
                if alias.name == "*":
                    self._reach.stars.append(_missing(error, alias.name, self._path))

    def _slice_what_fails(self, statement: ast.Import | ast.ImportFrom) -> None:
        """Put modules of the user's that cannot be imported whole in place, to run on demand."""
        modules = (
            [alias.name for alias in statement.names]
            if isinstance(statement, ast.Import)
            else ["." * statement.level + (statement.module or "")]
        )
        for module in modules:
            try:
                parts = importlib.util.resolve_name(module, self._place.package).split(".")
            except ImportError:
                continue
            failed = False
            for depth in range(1, len(parts) + 1):
                name = ".".join(parts[:depth])
                if name in sys.modules:
                    continue
                # The first of them that is not there is the one that failed just now.
                if not failed or not _is_importable(name):
                    failed = True
                    if not self._slice_neighbour(name):
                        break

    def _slice_neighbour(self, name: str) -> bool:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError, AttributeError):
            return False
        if (
            spec is None
            or not isinstance(spec.loader, SourceFileLoader)
            or not is_users(spec.origin or "")
        ):
            return False
        try:
            source = read_source(Path(spec.origin or ""), self.source.buffers)
        except UsageError:
            return False
        package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
        place = ImportPlace(name, package, self._place.first, self._place.last)
        SlicedModule(source, place, self._reach, spec=spec)
        parent, _, last = name.rpartition(".")
        if parent in sys.modules:
            setattr(sys.modules[parent], last, sys.modules[name])
        return True


def _is_importable(name: str) -> bool:
    try:
        importlib.import_module(name)
    except (Exception, SystemExit):
        return False
    return True


def _missing(error: BaseException, package: str, path: str) -> Missing:
    """What there is to say of a failed import.

    Args:
        package: What was imported, if the error doesn't tell.
        path: The file that imports.
    """
    if isinstance(error, MissingImport):
        return Missing(error.name or package, str(error))
    if isinstance(error, ModuleNotFoundError) and error.name:
        return Missing(error.name)
    text = " ".join(str(error).split())
    reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
    place = _raised_at(error, path)
    named = getattr(error, "name", None) if isinstance(error, ImportError) else None
    return Missing(named or package, f"{reason} ({place})" if place else reason)


def _raised_at(error: BaseException, path: str) -> str | None:
    """The line of another file of the user's that raised."""
    place = None
    traceback = error.__traceback__
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if is_users(file) and file != path:
            place = f"{Path(file).name}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return place


def _future_flags(tree: ast.Module) -> int:
    """What the file's `from __future__` imports mean to the compiler."""
    flags = 0
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            for alias in node.names:
                feature = getattr(__future__, alias.name, None)
                flags |= getattr(feature, "compiler_flag", 0)
    return flags
