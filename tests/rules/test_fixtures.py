"""Every fixture, compared with the expectations that stand beside its code.

A line with findings ends in `# expect: AC201, AC108`. A file whose head says
`# trace: Net(…) --input 8,3,32,32` is traced; the others are checked from source alone. Findings
at warning or above count, and those of the rule that the folder is named after.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from fixture_files import CODES, FILES, ROOT, models

from archcheck.core.config import Config, Model
from archcheck.core.finding import Severity
from archcheck.core.report import Report
from archcheck.core.rule import load_rules
from archcheck.engine.lock import LOCK_NAME
from archcheck.engine.pipeline import run

pytestmark = pytest.mark.slow

EXPECT = re.compile(r"# expect: ((?:AC\d{3}(?:, )?)+)")


def expected(path: Path) -> list[tuple[int, str]]:
    return sorted(
        (number, code)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        for match in EXPECT.finditer(line)
        for code in match[1].split(", ")
    )


def checked(files: list[Path], root: Path) -> Report:
    """One run over fixtures: one worker serves every trace."""
    config = Config(
        select=("ALL",),
        paths=tuple(path.relative_to(root).as_posix() for path in files if not models(path)),
        models=tuple(
            replace(model, target=(ROOT / model.target).relative_to(root).as_posix())
            for path in files
            for model in models(path)
        ),
    )
    patch = pytest.MonkeyPatch()
    patch.chdir(ROOT)
    try:
        return run(None, config, Model(""), root=root)
    finally:
        patch.undo()


@pytest.fixture(scope="session")
def report():
    """What is found in all fixtures; those beside a lock file are compared with it."""
    locked = {path.parent for path in FILES if (path.parent / LOCK_NAME).exists()}
    alone = [checked([f for f in FILES if f.parent == root], root) for root in sorted(locked)]
    rest = checked([path for path in FILES if path.parent not in locked], ROOT)
    return replace(
        rest,
        findings=tuple(finding for one in (rest, *alone) for finding in one.findings),
        usage_errors=tuple(
            usage_error for one in (rest, *alone) for usage_error in one.usage_errors
        ),
        defects=tuple(defect for one in (rest, *alone) for defect in one.defects),
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_findings_are_those_expected(path: Path, report) -> None:
    own = CODES[path.parent.name]
    shown = path.relative_to(ROOT).as_posix()
    got = sorted(
        (finding.location.line, finding.code)
        for finding in report.findings
        if finding.location.path == shown
        and (finding.severity >= Severity.WARNING or finding.code == own)
    )
    assert got == expected(path)
    if path.name.startswith("bad"):
        assert own in {code for _, code in got}


def test_nothing_went_wrong_on_the_way(report) -> None:
    assert report.defects == ()
    assert report.usage_errors == ()


@pytest.mark.parametrize("rule", load_rules(), ids=lambda rule: rule.code)
def test_every_rule_has_bad_and_good_fixtures(rule) -> None:
    files = [path.name for path in FILES if CODES[path.parent.name] == rule.code]
    assert any(name.startswith("bad") for name in files)
    assert any(name.startswith("good") for name in files)
