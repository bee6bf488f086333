"""What a `try` catches: the source rules and the worker ask the same question."""

from __future__ import annotations

import ast

import pytest

from archcheck.python.syntax.catching import handles


def of(clause: str) -> ast.stmt:
    return ast.parse(f"try:\n    work()\n{clause}:\n    pass\n").body[0]


@pytest.mark.parametrize(
    "clause",
    [
        "except",
        "except ModuleNotFoundError",
        "except ImportError as error",
        "except (ValueError, Exception)",
        # The rules took this for another exception, the worker did not.
        "except builtins.ImportError",
        # Neither knew these.
        "except* ImportError",
        # The rules took what a computed type is made of for the type.
        "except tuple(errors)",
    ],
)
def test_a_missing_module_is_caught(clause: str) -> None:
    assert handles(of(clause), "ModuleNotFoundError")


@pytest.mark.parametrize("clause", ["except ValueError", "except OSError", "except torch.Error"])
def test_a_missing_module_is_not_caught(clause: str) -> None:
    assert not handles(of(clause), "ModuleNotFoundError")


def test_a_finer_class_does_not_catch_a_wider_one() -> None:
    assert handles(of("except ModuleNotFoundError"), "ModuleNotFoundError")
    assert not handles(of("except ModuleNotFoundError"), "ImportError")
    assert not handles(of("except ImportError"), "TypeError")


@pytest.mark.parametrize(
    ("head", "swallows"),
    [
        ("with suppress(ImportError)", True),
        # The worker did not know that tests wait for exceptions, nor `async with`.
        ("with pytest.raises(ImportError)", True),
        ("with self.assertRaises((KeyError, ImportError))", True),
        ("async with suppress(ImportError)", True),
        ("with suppress(KeyError)", False),
        ("with suppress()", False),
        ("with open(ImportError)", False),
    ],
)
def test_a_with_swallows_what_it_names(head: str, swallows: bool) -> None:
    code = f"async def main():\n    {head}:\n        import missing\n"
    (function,) = ast.parse(code).body
    assert isinstance(function, ast.AsyncFunctionDef)
    assert handles(function.body[0], "ModuleNotFoundError") is swallows
