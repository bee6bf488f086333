"""Whole documents, as people write them: every finding on its line, and none beside it.

A line of code with findings ends in `# expect: AC201, AC108`. Findings at warning or above count.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from archcheck.core.config import Config, Model
from archcheck.core.finding import Severity
from archcheck.engine.pipeline import run

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted((ROOT / "fixtures" / "documents").glob("*"))
EXPECT = re.compile(r"# expect: ((?:AC\d{3}(?:, )?)+)")


def pieces(path: Path) -> Iterator[tuple[int | None, list[str]]]:
    """The lines of a document; of a notebook, those of each code cell with its number."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        yield None, text.splitlines()
        return
    for number, cell in enumerate(json.loads(text)["cells"], start=1):
        if cell["cell_type"] == "code":
            yield number, "".join(cell["source"]).splitlines()


def expected(path: Path) -> list[tuple[int | None, int, str]]:
    return [
        (cell, number, code)
        for cell, lines in pieces(path)
        for number, line in enumerate(lines, start=1)
        for match in EXPECT.finditer(line)
        for code in match[1].split(", ")
    ]


@pytest.fixture(scope="module")
def report():
    patch = pytest.MonkeyPatch()
    patch.chdir(ROOT)
    try:
        paths = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
        return run(paths, Config(), Model(""), root=Path())
    finally:
        patch.undo()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_has_the_findings_that_its_lines_expect(path: Path, report) -> None:
    found = [
        (finding.location.cell, finding.location.line, finding.code)
        for finding in report.findings
        if finding.location.path == path.relative_to(ROOT).as_posix()
        and finding.severity is not None
        and finding.severity >= Severity.WARNING
    ]
    assert sorted(found, key=str) == sorted(expected(path), key=str)


def test_blocks_that_are_no_code_are_counted(report) -> None:
    said = " ".join(report.unchecked)
    for name, words in {
        "leaf_classifier.md": "1 block",
        "first_steps.md": "1 block",
        "training_diary.md": "1 block",
        "containers_tutorial.md": "2 blocks",
        "night_sky.ipynb": "1 block",
    }.items():
        assert f"{name}: {words}" in said
    assert "walkthrough.md" not in said
