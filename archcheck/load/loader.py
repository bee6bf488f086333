"""A target becomes something that builds a model: its file is sliced, run, and looked into."""

from __future__ import annotations
import __future__

import ast
import copy
import difflib
import importlib
import importlib.util
import linecache
import os
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from archcheck.load.arguments import call_of, check_call, evaluate, names_in
from archcheck.load.environment import ImportPlace
from archcheck.load.module_source import ModuleSource
from archcheck.load.placeholders import (
    Missing,
    MissingImport,
    Placeholder,
    Reach,
    imported_names,
)
from archcheck.load.places import is_users
from archcheck.load.slice import Slice, slice_for
from archcheck.load.suggest import no_such_name, not_a_module
from archcheck.load.units import IMPORTS, is_main_guard
from archcheck.target import Target, UsageError


@dataclass(frozen=True, slots=True)
class Loaded:
    """A target whose definitions are there.

    Attributes:
        path: Of the file that it was loaded from, absolute.
        build: Makes the model, anew each time.
        names: What the file's names stand for, as far as they were needed.
        forward: The forward of the model's class, where that is known before it is built.
        source: The text of the file, if it was sliced.
    """

    path: str
    build: Callable[[], nn.Module]
    names: dict[str, Any]
    forward: Callable[..., Any] | None
    source: ModuleSource | None


class _Sliced(ModuleType):
    """A module that is not all of its file."""


def forget_sliced() -> None:
    """Take the modules that were sliced for a target out of `sys.modules`."""
    for name, module in list(sys.modules.items()):
        if isinstance(module, _Sliced):
            del sys.modules[name]


class SlicedModule:
    """A module of which only what is needed has been run.

    Args:
        whole: Run all of it, as an import does.
        also: Names that are needed though nothing that was followed reads them.
    """

    def __init__(
        self,
        source: ModuleSource,
        place: ImportPlace,
        target: Target,
        reach: Reach,
        *,
        whole: bool = False,
        also: Collection[str] = (),
    ) -> None:
        self.source = source
        self._place = place
        self._reach = reach
        self._path = str(source.path)
        self._flags = _future_flags(source.tree)
        self._done: set[tuple[int, int]] = set()
        name = target.name.partition(".")[0]
        call = call_of(target)
        self.slice = (
            Slice(
                tuple(node for node in source.tree.body if not is_main_guard(node)),
                frozenset(),
                found=True,
            )
            if whole
            else slice_for(
                source.units,
                name,
                line=source.line_in_code(target),
                step_by_step=source.is_document,
                also={*also, *(names_in(call) if call is not None else ())},
            )
        )
        self.module = self._register()
        # Positions in tracebacks, and inspect.getsource, are those of the code that runs.
        lines = [f"{line}\n" for line in source.document.lines]
        linecache.cache[self._path] = (len(source.document.code), None, lines, self._path)

    @property
    def names(self) -> dict[str, Any]:
        return self.module.__dict__

    def define(self) -> None:
        """Run what makes definitions; all of the slice, if the target is no value."""
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
            if place in self.slice.values:
                self._run(statement)

    def _register(self) -> ModuleType:
        name = self._place.name
        known = sys.modules.get(name.partition(".")[0])
        if name.partition(".")[0] in sys.stdlib_module_names or (
            known is not None and not self._is_ours(known)
        ):
            name = f"{name}_{abs(hash(self._path)):x}"
        module = _Sliced(name)
        module.__file__ = self._path
        module.__package__ = self._place.package
        module.__spec__ = ModuleSpec(name, None, origin=self._path)
        names = module.__dict__
        if "__getattr__" not in self.source.units.binders:
            names["__getattr__"] = self._on_demand
        sys.modules[name] = module
        return module

    def _is_ours(self, module: ModuleType) -> bool:
        files = [getattr(module, "__file__", None), *list(getattr(module, "__path__", ()))]
        root = os.path.realpath(self._place.root) + os.sep
        return any(
            isinstance(file, str) and os.path.realpath(file).startswith(root) for file in files
        )

    def _on_demand(self, name: str) -> Any:
        """What a neighbour imports from the module, run when it asks."""
        if name.startswith("__") or name not in self.source.units.binders:
            raise AttributeError(f"module {self.module.__name__!r} has no attribute {name!r}")
        wanted = slice_for(self.source.units, name, step_by_step=False)
        for statement in wanted.statements:
            if (statement.lineno, statement.col_offset) not in self._done:
                self._run(statement)
        try:
            return self.names[name]
        except KeyError:
            raise AttributeError(name) from None

    def _run(self, statement: ast.stmt) -> None:
        self._done.add((statement.lineno, statement.col_offset))
        try:
            self._execute(statement)
        except FileNotFoundError as error:
            if not self._move_beside(error):
                raise
            self._execute(statement)
        except Exception:
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
        self._stub_parents(statement)
        for alias in statement.names:
            single = copy.copy(statement)
            single.names = [alias]
            try:
                self._execute(single)
            except Exception as error:
                missing = _missing(error, statement, self._path)
                for name, (stands_for, _module) in imported_names(single).items():
                    self.names[name] = Placeholder(stands_for, missing, self._reach)
                if alias.name == "*":
                    self._reach.stars.append(missing)

    def _stub_parents(self, statement: ast.Import | ast.ImportFrom) -> None:
        """Packages of the user's whose __init__ fails are entered without it."""
        modules = (
            [alias.name for alias in statement.names]
            if isinstance(statement, ast.Import)
            else ["." * statement.level + (statement.module or "")]
        )
        for module in modules:
            try:
                name = importlib.util.resolve_name(module, self._place.package)
            except ImportError:
                continue
            parts = name.split(".")
            for depth in range(1, len(parts)):
                _enter(".".join(parts[:depth]))


def _enter(name: str) -> None:
    """Import a package; where that fails, put one in its place that only leads to its folder."""
    if name in sys.modules:
        return
    try:
        importlib.import_module(name)
    except Exception:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            return
        if spec is None or not spec.submodule_search_locations or not is_users(spec.origin or ""):
            return
        stub = ModuleType(name)
        stub.__path__ = list(spec.submodule_search_locations)
        stub.__package__ = name
        stub.__spec__ = spec
        sys.modules[name] = stub


def _missing(error: Exception, statement: ast.Import | ast.ImportFrom, path: str) -> Missing:
    """What there is to say of a failed import."""
    if isinstance(error, MissingImport):
        return Missing(error.name or "", str(error))
    if isinstance(error, ModuleNotFoundError) and error.name:
        return Missing(error.name)
    text = " ".join(str(error).split())
    reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
    place = _raised_at(error, path)
    package = getattr(error, "name", None) if isinstance(error, ImportError) else None
    if package is None:
        package = (
            statement.names[0].name
            if isinstance(statement, ast.Import)
            else "." * statement.level + (statement.module or "")
        )
    return Missing(package, f"{reason} ({place})" if place else reason)


def _raised_at(error: Exception, path: str) -> str | None:
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


def load_file(
    target: Target,
    source: ModuleSource,
    place: ImportPlace,
    reach: Reach,
    *,
    whole: bool,
    also: Collection[str],
) -> Loaded:
    """Load a target from its file.

    Raises:
        UsageError: The file has no such name, it is no model, or wants other arguments.
        Exception: Whatever the file's code raises.
    """
    sliced = SlicedModule(source, place, target, reach, whole=whole, also=also)
    if not sliced.slice.found:
        raise no_such_name(target, source)
    sliced.define()
    return _loaded(target, sliced.names, str(source.path), source, sliced)


def load_module(target: Target, path: str, names: dict[str, Any]) -> Loaded:
    """Load a target from a module that has been imported."""
    return _loaded(target, names, path, None, None)


def _loaded(
    target: Target,
    names: dict[str, Any],
    path: str,
    source: ModuleSource | None,
    sliced: SlicedModule | None,
) -> Loaded:
    call = call_of(target)
    tree = source.tree if source is not None else ast.Module([], [])
    makes_value = sliced is not None and sliced.slice.makes_value

    def found() -> Any:
        return _find(target, names, source)

    def build() -> nn.Module:
        if sliced is not None and makes_value:
            sliced.make_values()
        value = found()
        if isinstance(value, nn.Module):
            if call is not None:
                raise UsageError(
                    f"`{target.name}` is a model already: write `{target.place}:{target.name}`"
                )
            return value if makes_value else copy.deepcopy(value)
        if not callable(value) or _is_other_class(value):
            raise not_a_module(target, value, source)
        check_call(target, value, call, tree)
        made = _called(value, call, names)
        if not isinstance(made, nn.Module):
            raise not_a_module(target, made, source)
        return made

    forward = None
    if not makes_value:
        value = found()
        if isinstance(value, Placeholder):
            value()
        if not isinstance(value, nn.Module):
            if not callable(value) or _is_other_class(value):
                raise not_a_module(target, value, source)
            check_call(target, value, call, tree)
            forward = getattr(value, "forward", None)
    return Loaded(path, build, names, forward, source)


def _is_other_class(value: Any) -> bool:
    return isinstance(value, type) and not issubclass(value, nn.Module)


def _called(value: Callable[..., Any], call: ast.Call | None, names: dict[str, Any]) -> Any:
    if call is None:
        return value()
    arguments = [evaluate(argument, names) for argument in call.args]
    keywords = {k.arg: evaluate(k.value, names) for k in call.keywords if k.arg is not None}
    return value(*arguments, **keywords)


def _find(target: Target, names: dict[str, Any], source: ModuleSource | None) -> Any:
    first, *rest = target.name.split(".")
    if first not in names:
        if source is not None:
            raise no_such_name(target, source)
        raise UsageError(f"{target.place} has no `{first}`{_near(first, names)}")
    value = names[first]
    for part in rest:
        try:
            value = getattr(value, part)
        except AttributeError:
            raise UsageError(
                f"`{target.text}`: `{first}` has no attribute `{part}`{_near(part, vars(value))}"
                if hasattr(value, "__dict__")
                else f"`{target.text}`: `{first}` has no attribute `{part}`"
            ) from None
    return value


def _near(name: str, names: dict[str, Any]) -> str:
    models = [
        known
        for known, value in names.items()
        if isinstance(value, nn.Module)
        or (isinstance(value, type) and issubclass(value, nn.Module))
        or (callable(value) and not isinstance(value, type) and not known.startswith("_"))
    ]
    near = difflib.get_close_matches(name, models, 3)
    return "; did you mean " + ", ".join(f"`{n}`" for n in near) + "?" if near else ""
