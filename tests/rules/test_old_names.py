"""The tables of what torch has removed and deprecated are true of the torch that runs.

The matrix of docs/compatibility.md runs this file with each version: a name that is said to be gone
since a version raises from there on, and works before; a deprecated one works, and warns.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from rules.training._old_names import (  # noqa: E402
    DEPRECATED,
    FUNCTIONS,
    KEYWORDS,
    METHODS,
    MODULES,
    Gone,
)

VERSION = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
OLDEST = (2, 6)
SQUARE = torch.eye(3)
IMAGES = torch.ones(1, 1, 4, 4)


def number(version: str) -> tuple[int, ...]:
    """Return the version that a table names; where it names none, one before all supported."""
    return tuple(int(part) for part in version.split(".")) if version else (0,)


def named(dotted: str) -> Any:
    """Return what stands under a name, its modules imported; raise an AttributeError otherwise."""
    module, _, name = dotted.rpartition(".")
    if module == "torch.Tensor":
        return getattr(torch.Tensor, name)
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise AttributeError(dotted) from error


def is_gone(dotted: str, *arguments: Any) -> bool:
    """Return whether a function is missing, no function, or refuses whatever it is given."""
    try:
        found = named(dotted)
    except AttributeError:
        return True
    try:
        found(*arguments)
    except Exception as error:
        return "is now removed" in str(error) or not callable(found)
    return False


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dotted", FUNCTIONS)
def test_a_function_is_gone_from_its_version_on(dotted: str) -> None:
    found = any(is_gone(dotted, *[SQUARE] * count) for count in (1, 2))
    assert found == (number(FUNCTIONS[dotted].since) <= VERSION)


@pytest.mark.parametrize("dotted", [name for name, gone in FUNCTIONS.items() if gone.same_call])
def test_what_takes_its_place_answers_the_same_call(dotted: str) -> None:
    assert named(FUNCTIONS[dotted].instead)(SQUARE) is not None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", METHODS)
def test_a_method_of_a_tensor_is_gone_with_its_function(name: str) -> None:
    found = any(is_gone(f"torch.Tensor.{name}", *[SQUARE] * count) for count in (1, 2))
    assert found == (number(FUNCTIONS[f"torch.{name}"].since) <= VERSION)


@pytest.mark.parametrize("dotted", MODULES)
def test_a_module_cannot_be_imported(dotted: str) -> None:
    with pytest.raises(AttributeError):
        named(dotted)


def scheduled(**options: Any) -> Any:
    optimizer = torch.optim.SGD([nn.Parameter(SQUARE.clone())], lr=0.1)
    return torch.optim.lr_scheduler.StepLR(optimizer, 1, **options)


CALLEES: dict[str, Callable[..., Any]] = {
    "torch.optim.lr_scheduler.": scheduled,
    "torch.autograd.profiler.profile": torch.autograd.profiler.profile,
    "torch.profiler.profile": torch.profiler.profile,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("callee", "keyword"), KEYWORDS)
def test_a_keyword_is_gone_from_its_version_on(callee: str, keyword: str) -> None:
    gone: Gone = KEYWORDS[callee, keyword]
    try:
        CALLEES[callee](**{keyword: False})
        found = False
    except TypeError as error:
        assert keyword in str(error)
        found = True
    assert found == (number(gone.since) <= VERSION)


def scripted() -> Any:
    return torch.jit.script(nn.Linear(2, 2).eval())


def saved(folder: Path) -> str:
    torch.jit.save(scripted(), str(folder / "model.pt"))
    return str(folder / "model.pt")


def nvprof(folder: Path) -> str:
    """Return an empty trace: that the file is none is another matter than that it warns."""
    (folder / "trace.nvvp").write_bytes(b"")
    return str(folder / "trace.nvvp")


# What a deprecated name is called with, given a folder; without a line here, with nothing.
ARGUMENTS: dict[str, Callable[[Path], tuple[Any, ...]]] = {
    **{name: lambda _: (torch.empty(3, 3),) for name in DEPRECATED if ".init." in name},
    "torch.nn.init.constant": lambda _: (torch.empty(3), 0.0),
    "torch.nn.init.dirac": lambda _: (torch.empty(3, 3, 3),),
    "torch.nn.init.sparse": lambda _: (torch.empty(3, 3), 0.1),
    "torch.autograd.profiler.load_nvprof": lambda folder: (nvprof(folder),),
    "torch.chain_matmul": lambda _: (SQUARE, SQUARE),
    "torch.cuda.amp.custom_bwd": lambda _: (lambda ctx: ctx,),
    "torch.cuda.amp.custom_fwd": lambda _: (lambda ctx: ctx,),
    "torch.jit.freeze": lambda _: (scripted(),),
    "torch.jit.load": lambda folder: (saved(folder),),
    "torch.jit.script": lambda _: (nn.Linear(2, 2),),
    "torch.jit.trace": lambda _: (nn.Linear(2, 2), torch.ones(1, 2)),
    "torch.lu": lambda _: (SQUARE,),
    "torch.lu_solve": lambda _: (SQUARE, *torch.linalg.lu_factor(SQUARE)),
    "torch.nn.functional.upsample": lambda _: (IMAGES, 8),
    "torch.nn.functional.upsample_bilinear": lambda _: (IMAGES, 8),
    "torch.nn.functional.upsample_nearest": lambda _: (IMAGES, 8),
    "torch.nn.utils.clip_grad_norm": lambda _: ([nn.Parameter(SQUARE)], 1.0),
    "torch.nn.utils.stateless.functional_call": lambda _: (nn.ReLU(), {}, (SQUARE,)),
    "torch.nn.utils.weight_norm": lambda _: (nn.Linear(2, 2),),
    "torch.range": lambda _: (0, 3),
    "torch.set_default_tensor_type": lambda _: (torch.FloatTensor,),
    "torch.testing.assert_allclose": lambda _: (SQUARE, SQUARE),
    "torch.triangular_solve": lambda _: (SQUARE, SQUARE),
}


# The last ones are those of torch.jit with Python 3.14 and newer.
WORDS = ("deprecated", "renamed", "not supported in Python 3.14+")


def warned_of(dotted: str, folder: Path) -> str:
    """Return what torch warns of when a name is used, with nothing of what the call may raise."""
    arguments = ARGUMENTS.get(dotted, lambda _: ())(folder)
    torch.set_warn_always(True)  # some warnings come once a process
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = named(dotted)(*arguments)
            if hasattr(found, "__enter__"):
                with found:
                    pass
        except Exception as error:
            assert dotted.endswith("load_nvprof"), error
    torch.set_warn_always(False)
    return " ".join(str(one.message) for one in caught)


@pytest.mark.parametrize("dotted", DEPRECATED)
def test_a_deprecated_name_works_and_warns_from_its_version_on(dotted: str, tmp_path: Path) -> None:
    warned = warned_of(dotted, tmp_path)
    name = dotted.rpartition(".")[2]
    is_told = name in warned and any(word in warned for word in WORDS)
    assert is_told == (number(DEPRECATED[dotted].since) <= VERSION), warned
    if DEPRECATED[dotted].until and is_told:
        assert DEPRECATED[dotted].until in warned


@pytest.mark.parametrize(
    "instead", sorted({old.instead for old in (*DEPRECATED.values(), *FUNCTIONS.values())})
)
def test_what_to_use_instead_is_there(instead: str) -> None:
    for name in instead.split("(")[0].replace(" or ", " and ").split(" and "):
        assert named(name) is not None


def test_every_version_is_a_supported_one() -> None:
    tables = (FUNCTIONS, MODULES, KEYWORDS, DEPRECATED)
    for version in {one.since for table in tables for one in table.values()} - {""}:
        assert number(version) > OLDEST
