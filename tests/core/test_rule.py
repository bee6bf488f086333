"""Packs: how rule files are found, and what a malformed one gets."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from archcheck.core.finding import Severity
from archcheck.core.rule import PackError, Rule, load_pack, load_rules

ROOT = Path(__file__).parents[2]

GOOD = '''"""Say that something is bad.

What it does
------------
It reads.

Why it is bad
-------------
It hurts.

Example
-------
    bad

Use instead
-----------
    good
"""

from archcheck.core.finding import Severity
from archcheck.core.rule import Rule

rule = Rule("AC999", "bad-thing", Severity.ERROR)


@rule.on_source
def reader(file):
    return []
'''


def load(folder: Path, text: str, name: str = "bad_thing.py") -> list[Rule]:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return list(load_pack(folder, f"pack_{abs(hash((folder, text, name)))}"))


def test_a_file_is_a_rule(tmp_path: Path) -> None:
    (rule,) = load(tmp_path, GOOD)
    assert (rule.code, rule.name, rule.severity) == ("AC999", "bad-thing", Severity.ERROR)
    assert rule.evidence == "source"
    assert rule.sections[""] == "Say that something is bad."
    assert rule.sections["Why it is bad"] == "It hurts."
    assert rule.sections["Example"].strip() == "bad"


@pytest.mark.parametrize(
    ("old", "new", "usage_error"),
    [
        ("AC999", "999", "is no code"),
        ('"bad-thing"', '"other-thing"', "its file is not"),
        ("Use instead", "Instead", "'Use instead'"),
        ("@rule.on_source\n", "", "reads no evidence"),
        ("\n@rule", "\nrule, it = None, rule\n\n\n@it", "defines no `rule"),
        ("return []", "return [", "SyntaxError"),
    ],
)
def test_a_malformed_file_is_a_loud_error(
    tmp_path: Path, old: str, new: str, usage_error: str
) -> None:
    with pytest.raises(PackError, match=r"bad_thing\.py") as caught:
        load(tmp_path, GOOD.replace(old, new))
    assert usage_error in str(caught.value)


def test_a_pack_is_found_by_its_entry_point(tmp_path: Path) -> None:
    load(tmp_path / "pack_of_a_team", GOOD)
    (tmp_path / "pack_of_a_team" / "__init__.py").write_text("")
    (tmp_path / "team-1.0.dist-info").mkdir()
    (tmp_path / "team-1.0.dist-info" / "METADATA").write_text("Name: team\nVersion: 1.0\n")
    (tmp_path / "team-1.0.dist-info" / "entry_points.txt").write_text(
        "[archcheck.rules]\nteam = pack_of_a_team\n"
    )
    program = (
        "from archcheck.core.rule import load_rules; print([rule.code for rule in load_rules()])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        check=True,
    )
    assert "'AC999'" in run.stdout
    assert "'AC101'" in run.stdout


def test_codes_and_names_are_used_once() -> None:
    rules = load_rules()
    assert len({rule.code for rule in rules}) == len({rule.name for rule in rules}) == len(rules)


def test_the_rule_pages_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("make_rules", ROOT / "docs" / "make_rules.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main(["--check"]) == 0, capsys.readouterr().err
