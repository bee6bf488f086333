"""Packages that are not there: what may be done with their names, and what may not."""

from __future__ import annotations

import importlib
import linecache
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

from archcheck.worker.sandbox.placeholders import MissingFinder, MissingImport, Reach
from archcheck.worker.sandbox.surroundings import Surroundings
from archcheck.worker.sandbox.user_paths import is_users

Load = Callable[[str], ModuleType]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Imports a module of this text, as a user's file would be."""
    surroundings = Surroundings(is_users)
    finder = MissingFinder(Reach(surroundings), surroundings)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.meta_path.append(finder)

    def run(text: str) -> ModuleType:
        (tmp_path / "users_module.py").write_text(dedent(text))
        importlib.invalidate_caches()
        linecache.checkcache()
        return importlib.import_module("users_module")

    try:
        yield run
    finally:
        sys.meta_path.remove(finder)
        finder.forget()
        sys.modules.pop("users_module", None)
        sys.modules.pop("users_helper", None)


@pytest.mark.parametrize(
    "text",
    [
        "import absent",
        "import absent.part.of as it",
        "from absent import thing, other as named",
        "from absent.part import *",
        "import absent\nkept = [absent]\ndef f(x=absent): return x\nf()",
        "import absent\ndef f(x: absent.Type, y: absent.A[int] | None = None) -> absent.B: pass",
        "from absent import T\nclass C:\n    field: T[int, 'a b'] = None",
        "from absent import typechecked\n@typechecked\ndef f(): return 1\nassert f() == 1",
        "import beartype_absent as b\n@b.beartype\ndef f(): return 1\nassert f() == 1",
        "import wandb_absent, wandb_absent as w\n@w.watch\ndef f(): return 1\nassert f() == 1",
        "from absent import MODELS\n@MODELS.register_module(name='a')\nclass C: pass\nC()",
        "from absent import magic\n@magic(3)\ndef unused(): pass",
        "try:\n    import absent\nexcept ImportError:\n    absent = None\nassert absent is None",
        "try:\n    import absent\nexcept (KeyError, ModuleNotFoundError):\n    absent = 0\n"
        "assert absent == 0",
        "from contextlib import suppress\nimport builtins\nfound = False\n"
        "with suppress(builtins.ImportError):\n    import absent\n    found = True\n"
        "assert not found",
        "import importlib.util\nassert importlib.util.find_spec('absent') is None",
        "import absent\nassert not isinstance(absent, int)\nassert absent is not None",
    ],
)
def test_what_only_mentions_a_missing_package_runs(load: Load, text: str) -> None:
    load(text)


@pytest.mark.parametrize(
    "text",
    [
        "import absent\nabsent.start()",
        "import absent\nx = absent.VALUE",
        "from absent import thing\nthing()",
        "from absent import Base\nclass C(Base): pass",
        "import absent\nclass C(absent.Base): pass",
        "from absent import thing\nx = thing[0]",
        "from absent import thing\nfor x in thing: pass",
        "from absent import thing\nx = 1 if thing else 2",
        "from absent import thing\nx = thing + 1",
        "from absent import thing\nx = 1 * thing",
        "from absent import thing\nisinstance(1, thing)",
        "from absent import context\nwith context: pass",
        "from absent import WIDTH\ndef f(x=WIDTH + 1): pass",
        "from absent import magic\n@magic\ndef f(): pass\nf()",
        "from absent import magic\n@magic\nclass C: pass\nC()",
        "import absent\ndef f(x: int = absent.DEFAULT): pass",
        "import importlib\nm = importlib.import_module('absent')\nm.start()",
    ],
)
def test_what_reaches_for_a_missing_package_is_told_its_name(load: Load, text: str) -> None:
    with pytest.raises(MissingImport) as caught:
        load(text)
    assert caught.value.name == "absent"
    assert "needs the package `absent`, which is not installed" in str(caught.value)
    innermost = [frame for frame in _frames(caught.value) if frame.endswith("users_module.py")]
    assert innermost


def test_a_guard_further_out_counts_too(load: Load, tmp_path: Path) -> None:
    (tmp_path / "users_helper.py").write_text("import absent\nabsent.start()\n")
    module = load(
        """
        try:
            import users_helper
        except ImportError:
            users_helper = None
        """
    )
    assert module.users_helper is None


def test_installed_packages_fail_as_ever(load: Load, tmp_path: Path) -> None:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "installed_one.py").write_text("import absent\n")
    sys.path.insert(0, str(folder))
    try:
        with pytest.raises(ModuleNotFoundError) as caught:
            load("import installed_one")
    finally:
        sys.path.remove(str(folder))
    assert not isinstance(caught.value, MissingImport)


def test_nothing_stays_behind(load: Load) -> None:
    load("import absent.part")
    for finder in sys.meta_path:
        if isinstance(finder, MissingFinder):
            finder.forget()
    assert "absent" not in sys.modules
    assert "absent.part" not in sys.modules


def _frames(error: BaseException) -> Iterator[str]:
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback.tb_frame.f_code.co_filename
        traceback = traceback.tb_next
