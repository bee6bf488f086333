"""Stand-ins for packages that are not there: harmless until something reaches for them.

A failed import binds a placeholder. It can be passed on, stored, and stand in an annotation; what
calls it, looks into it or inherits from it gets a `MissingImport` that names the package.
"""

from __future__ import annotations

import ast
import dis
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, Literal, NoReturn, TypeAlias

from archcheck.worker.sandbox.surroundings import Surroundings

Context: TypeAlias = Literal["import", "annotation", "decorator", "use"]

# Decorators that leave what a function computes, and what a class is, as it was.
_TRANSPARENT_PACKAGES = frozenset(
    (
        *("typeguard", "beartype", "wandb", "mlflow", "comet_ml", "clearml", "neptune"),
        *("line_profiler", "memory_profiler", "pyinstrument", "nvtx", "gin", "overrides"),
        *("typing_extensions", "deprecated", "loguru", "icecream", "snoop", "torchsnooper"),
    )
)
_TRANSPARENT_NAMES = frozenset(
    (
        *("typechecked", "beartype", "jaxtyped", "njit", "profile", "rank_zero_only", "auto_fp16"),
        *("force_fp32", "override", "overrides", "export", "add_start_docstrings", "timeit"),
        *("add_start_docstrings_to_model_forward", "replace_return_docstrings", "watch"),
        *("add_code_sample_docstrings", "deprecated", "trace", "log_execution_time", "final"),
    )
)


class MissingImport(ModuleNotFoundError):
    """Something needs what could not be imported."""


class Missing:
    """What is known of a failed import.

    Attributes:
        package: What could not be imported, as Python names it.
        reason: Why, if not because it is not there.
    """

    __slots__ = ("package", "reason")

    def __init__(self, package: str, reason: str | None = None) -> None:
        self.package = package
        self.reason = reason

    def text(self, name: str) -> str:
        if self.reason is not None:
            return f"`{name}` could not be imported: {self.reason}"
        top = self.package.partition(".")[0]
        if top and top != self.package and not isinstance(sys.modules.get(top), _ABSENT):
            return f"`{name}` needs the module `{self.package}`, which is not there"
        return f"`{name}` needs the package `{top or self.package}`, which is not installed"


class Reach:
    """Decides what may be done with a placeholder, by where in the source it is done."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        # Where `from … import *` failed: any name may have come from there.
        self.stars: list[Missing] = []
        # All that stands in for something, by the last part of its name.
        self.bound: dict[str, Missing] = {}

    def context(self) -> Context:
        """What the code that touches a placeholder is doing."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename == __file__:
            frame = frame.f_back
        if frame is None:
            return "use"
        code = frame.f_code
        if code.co_filename.startswith("<frozen importlib"):
            return "import"
        if _operation(code, frame.f_lasti) == "IMPORT_FROM":
            return "import"
        return self._surroundings.context(code, frame.f_lasti)

    def refuse(self, name: str, missing: Missing) -> NoReturn:
        raise MissingImport(missing.text(name), name=missing.package)


def _operation(code: CodeType, instruction: int) -> str:
    return dis.opname[code.co_code[instruction]] if instruction >= 0 else ""


class Placeholder:
    """Stands for a name whose import failed."""

    def __init__(self, name: str, missing: Missing, reach: Reach) -> None:
        self.__dict__.update(_name=name, _missing=missing, _reach=reach)
        reach.bound[name.rpartition(".")[2]] = missing

    def _touch(self, name: str) -> Placeholder:
        if self.__dict__["_reach"].context() == "use":
            self.__dict__["_reach"].refuse(name, self.__dict__["_missing"])
        return Placeholder(name, self.__dict__["_missing"], self.__dict__["_reach"])

    def __getattr__(self, name: str) -> Any:
        return _attribute(self, name)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        name = self.__dict__["_name"]
        result = self._touch(name)
        if (
            len(arguments) == 1
            and not keywords
            and isinstance(arguments[0], FunctionType | type | staticmethod | classmethod)
            and _is_transparent(name, self.__dict__["_missing"].package)
            and self.__dict__["_reach"].context() == "decorator"
        ):
            return arguments[0]
        return result

    def __getitem__(self, _key: Any) -> Any:
        return self._touch(self.__dict__["_name"])

    def __or__(self, _other: Any) -> Any:
        return self._touch(self.__dict__["_name"])

    __ror__ = __or__

    def __mro_entries__(self, _bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return _refusal(self)

    def __repr__(self) -> str:
        return f"<{self.__dict__['_name']}: not imported>"


def _refusal(self: Placeholder, *_arguments: Any, **_keywords: Any) -> NoReturn:
    reach: Reach = self.__dict__["_reach"]
    reach.refuse(self.__dict__["_name"], self.__dict__["_missing"])


# Whatever else Python's syntax can do with an object.
for _special in (
    *("bool", "len", "iter", "next", "contains", "enter", "exit", "setitem", "delitem"),
    *("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "floordiv", "mod"),
    *("matmul", "rmatmul", "pow", "neg", "int", "float", "index", "instancecheck"),
    *("subclasscheck", "lt", "le", "gt", "ge", "await", "aiter", "fspath"),
):
    setattr(Placeholder, f"__{_special}__", _refusal)


class PlaceholderModule(ModuleType):
    """Stands in `sys.modules` for a package that is not there."""

    def __getattr__(self, name: str) -> Any:
        return _attribute(self, name)


def _attribute(owner: Any, name: str) -> Any:
    # Probes of the machinery (`__wrapped__`, `__all__`) are no use of the package.
    if name.startswith("__") and name.endswith("__"):
        raise AttributeError(name)
    inside = owner.__dict__
    dotted = f"{inside['_name']}.{name}"
    if inside["_reach"].context() == "use":
        inside["_reach"].refuse(dotted, inside["_missing"])
    return Placeholder(dotted, inside["_missing"], inside["_reach"])


def _is_transparent(name: str, package: str) -> bool:
    last = name.rpartition(".")[2]
    return (
        package.partition(".")[0] in _TRANSPARENT_PACKAGES
        or last in _TRANSPARENT_NAMES
        or "register" in name
    )


# What stands for a package that is not there, or for nothing at all.
_ABSENT = (PlaceholderModule, type(None))


class MissingFinder(MetaPathFinder, Loader):
    """The last finder asked: gives the user's own imports placeholders for what isn't there.

    Only imports that nobody catches: `try: import x` with a handler for ImportError fails as it
    would, and so do the imports of installed packages.
    """

    def __init__(self, reach: Reach, surroundings: Surroundings) -> None:
        self._reach = reach
        self._surroundings = surroundings

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        frame: FrameType | None = sys._getframe(1)
        imports = False
        while frame is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
            # `importlib.util.find_spec` asks the same finders, and wants to be told the truth.
            imports = imports or frame.f_code.co_name == "_find_and_load"
            frame = frame.f_back
        if not imports or not self._surroundings.is_unguarded_import(frame):
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = PlaceholderModule(spec.name)
        module.__dict__.update(_name=spec.name, _missing=Missing(spec.name), _reach=self._reach)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to execute."""

    def forget(self) -> None:
        """Take all placeholders out of `sys.modules`."""
        for name, module in list(sys.modules.items()):
            if isinstance(module, PlaceholderModule):
                del sys.modules[name]


def imported_names(node: ast.Import | ast.ImportFrom) -> dict[str, tuple[str, str]]:
    """What an import binds: name to (what it stands for, the module that it comes from)."""
    if isinstance(node, ast.Import):
        return {
            alias.asname or alias.name.partition(".")[0]: (
                alias.name if alias.asname else alias.name.partition(".")[0],
                alias.name,
            )
            for alias in node.names
        }
    module = "." * node.level + (node.module or "")
    return {
        alias.asname or alias.name: (f"{module}.{alias.name}".lstrip("."), module)
        for alias in node.names
        if alias.name != "*"
    }
