"""The case files under fixtures/cases, by the script that prints a table of them."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "fixtures" / "cases"


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cases", ROOT / "benchmarks" / "cases.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["cases"] = module
    spec.loader.exec_module(module)
    return module


cases = script()


@pytest.fixture(scope="module")
def workers():
    pytest.importorskip("torch")
    patch = pytest.MonkeyPatch()
    patch.chdir(ROOT)
    with cases.Workers() as found:
        yield found
    patch.undo()


@pytest.mark.parametrize("case", list(cases.cases_below([FOLDER])), ids=lambda case: case.name)
def test_each_case_gives_what_its_header_expects(case, workers) -> None:
    one = cases.outcome(case, workers)
    assert one.verdict == "ok", (one.found, one.missed)


@pytest.mark.parametrize(
    ("expect", "missed"),
    [
        ("none", ("none",)),
        ("AC201", ()),
        ("AC201 @ 13|16", ()),
        ("AC205|AC201 @ 16", ()),
        ("AC201 @ 7", ("AC201 @ 7",)),
        ("AC202", ("AC202",)),
        ("AC2xx or AC004", ()),
        ("none-exists. A rule would be: a wrong width, line 16", ()),
        ("none-exists. A rule would be: a wrong width, line 7", ("nothing @ 7",)),
        ("AC201; output [2, 5]", ("output [2, 5]",)),
        ("output [2, 4]; macs 1", ("macs 1 (it says 0)",)),
        ('says "expects 9 features"', ()),
        ('says "expects 10 features"', ('"expects 10 features"',)),
        ("whatever is right", ("?",)),
    ],
)
def test_the_expectation_is_held_against_the_report(expect, missed, workers) -> None:
    narrow = next(case for case in cases.cases_below([FOLDER]) if case.target == "Narrow")
    one = cases.outcome(replace(narrow, expect=expect), workers)
    assert (one.missed or (("?",) if one.verdict == "?" else ())) == missed


def test_headers_are_read_in_all_their_forms(tmp_path: Path) -> None:
    head = "# target: Net   input: x=3,4 e=2,9:int64\n# expect: clean\n"
    (tmp_path / "one_line.py").write_text(head)
    (tmp_path / "words.py").write_text('"""Missed: AC107. It is silent."""\n')
    project = tmp_path / "project"
    project.mkdir()
    (project / "README.md").write_text("Right code that AC401 warns about.\n")
    (project / "agent.py").write_text("import network\n")
    one, whole, words = cases.cases_below([tmp_path])
    assert (one.target, one.inputs, one.expect) == ("Net", ("x=3,4", "e=2,9:int64"), "clean")
    assert (whole.path, whole.target, whole.expect) == (project, "-", "none")
    assert (words.target, words.expect) == ("-", "AC107")
