"""The page of versions shows the tests that stand here, and none that failed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "compatibility", ROOT / "docs" / "compatibility.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(generator: ModuleType) -> None:
    assert list(generator.problems(generator.PAGE.read_text(encoding="utf-8"))) == []
    assert all((ROOT / name).is_file() for name in generator.TESTS)


def test_a_page_with_a_failure_or_without_a_pair_is_refused(generator: ModuleType) -> None:
    page = generator.PAGE.read_text(encoding="utf-8")
    oldest = next(line for line in page.splitlines() if "| 2.6" in line)
    cells = oldest.split("|")
    cells[4] = " 1 "
    assert "1 failed" in " ".join(generator.problems(page.replace(oldest, "|".join(cells))))
    rows = [line for line in page.splitlines() if not line.startswith("| 3.15")]
    assert "no row for Python 3.15" in " ".join(generator.problems("\n".join(rows)))
