"""What those who write rules have: evidence to look at, free codes, fixtures of a pack."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from command import ROOT, archcheck

from archcheck import rules_api

pytestmark = pytest.mark.slow

RULE = '''"""A layer is built twice as wide as it need be.

What it does
------------
Looks for wide layers.

Why it is bad
-------------
They cost much.

Example
-------
    nn.Linear(4, 99)

Use instead
-----------
    nn.Linear(4, 9)
"""

from archcheck.rules_api import Finding, Rule, Severity

rule = Rule("TEAM101", "wide-layer", Severity.NOTE)


@rule.on_source
def wide(file):
    for module in file.modules:
        for layer in module.all_layers():
            if layer.argument("out_features") == 99:
                yield Finding("wide", layer.location)
'''
MODEL = """from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, {width}){comment}

    def forward(self, x):
        return self.fc(x)
"""


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack of one rule, with a bad and a good fixture beside it."""
    folder = tmp_path / "team_rules"
    folder.mkdir()
    (folder / "wide_layer.py").write_text(RULE)
    fixtures = tmp_path / "fixtures" / "wide_layer"
    fixtures.mkdir(parents=True)
    (fixtures / "bad.py").write_text(MODEL.format(width=99, comment="  # expect: TEAM101"))
    (fixtures / "good.py").write_text(MODEL.format(width=9, comment=""))
    return tmp_path


def test_the_fixtures_of_a_pack_that_is_not_installed_are_checked(pack: Path) -> None:
    run = archcheck("test", "team_rules", cwd=pack)
    assert (run.returncode, run.stderr) == (0, "")
    assert "1 rules, 2 fixtures: no problems" in run.stdout


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("bad.py", MODEL.format(width=9, comment="  # expect: TEAM101"), "7: TEAM101 is expected"),
        ("good.py", MODEL.format(width=99, comment=""), "good.py:7: TEAM101 is found and not"),
        ("bad.py", MODEL.format(width=99, comment="  # expect: wide"), "bad.py:7: `# expect:`"),
        (
            "bad.py",
            "# trace: Net --what\n" + MODEL.format(width=99, comment="  # expect: TEAM101"),
            "bad.py:1: its `# trace:` cannot be read",
        ),
        ("bad.py", MODEL.format(width=9, comment=""), "bad.py:1: it is bad, and no line ends"),
        ("good.py", "class Net(:\n", "good.py:1: invalid syntax"),
        ("good.py", "x = 1\n# \udce9\n", "good.py:2: it is no UTF-8"),
    ],
)
def test_what_differs_is_named_with_file_and_line(
    pack: Path, file: str, text: str, problem: str
) -> None:
    path = pack / "fixtures" / "wide_layer" / file
    path.write_bytes(text.encode(errors="surrogateescape"))
    run = archcheck("test", "team_rules", cwd=pack)
    assert run.returncode == 1 and problem in run.stdout


def test_a_rule_that_raises_is_named_with_file_and_line(pack: Path) -> None:
    rule = pack / "team_rules" / "wide_layer.py"
    rule.write_text(rule.read_text().replace("yield Finding", "raise KeyError"))
    run = archcheck("test", "team_rules", cwd=pack)
    assert run.returncode == 1
    line = next(n for n, text in enumerate(RULE.splitlines(), 1) if "yield Finding" in text)
    assert f"team_rules/wide_layer.py:{line}: TEAM101 failed with KeyError" in run.stdout
    assert "fixtures/wide_layer/bad.py:7: TEAM101 is expected" in run.stdout


def test_a_rule_that_cannot_be_loaded_is_named_with_file_and_line(pack: Path) -> None:
    rule = pack / "team_rules" / "wide_layer.py"
    rule.write_text(RULE.replace("import Finding", "import Findings"))
    run = archcheck("test", "team_rules", cwd=pack)
    line = next(n for n, text in enumerate(RULE.splitlines(), 1) if "import Finding" in text)
    assert run.returncode == 2 and f"wide_layer.py:{line}: ImportError" in run.stderr


def test_fixtures_may_lie_in_the_folder_of_the_pack(pack: Path) -> None:
    (pack / "fixtures").rename(pack / "team_rules" / "fixtures")
    assert archcheck("test", "team_rules", cwd=pack).returncode == 0
    other = pack / "team_rules" / "fixtures" / "narrow_layer"
    other.mkdir()
    (other / "bad.py").write_text("x = 1\n")
    run = archcheck("test", "team_rules", cwd=pack)
    assert run.returncode == 1
    assert "team_rules/fixtures/narrow_layer:1: no rule of the pack has this name" in run.stdout


def test_a_rule_needs_fixtures_of_both_kinds(pack: Path) -> None:
    (pack / "fixtures" / "wide_layer" / "good.py").unlink()
    run = archcheck("test", "team_rules", cwd=pack)
    assert run.returncode == 1
    assert "wide_layer.py:1: TEAM101 has no good*.py among its fixtures" in run.stdout


def test_a_pack_without_rules_or_fixtures_is_a_wrong_call(pack: Path) -> None:
    for path in (pack / "fixtures" / "wide_layer").iterdir():
        path.unlink()
    run = archcheck("test", "team_rules", cwd=pack)
    assert run.returncode == 1 and "wide_layer.py:1: TEAM101 has no fixtures" in run.stdout
    (pack / "fixtures" / "wide_layer").rmdir()
    (pack / "fixtures").rmdir()
    for name, words in (("team_rules", "no fixtures"), ("nowhere", "no installed package")):
        run = archcheck("test", name, cwd=pack)
        assert run.returncode == 2 and words in run.stderr


def test_the_next_free_code_is_after_the_highest(tmp_path: Path) -> None:
    run = archcheck("rules", "--next-code", "ac9", cwd=tmp_path)
    assert (run.returncode, run.stdout) == (0, "AC901\n")
    taken = archcheck("rules", "--next-code", "AC0", cwd=tmp_path).stdout.strip()
    assert int(taken[2:]) > 6
    assert archcheck("rules", "--next-code", "two", cwd=tmp_path).returncode == 2


def test_evidence_of_a_file_and_of_a_model(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(MODEL.format(width=9, comment=""))
    text = archcheck("evidence", "net.py", cwd=tmp_path).stdout
    assert "class Net (line 4)" in text and "self.fc  torch.nn.Linear  line 7" in text
    shown = archcheck("evidence", "net.py", "--format", "json", cwd=tmp_path).stdout
    (module,) = json.loads(shown)["source"]["modules"]
    assert module["methods"] == ["__init__", "forward"]


def test_evidence_of_what_cannot_be_read_is_refused_as_by_check(tmp_path: Path) -> None:
    run = archcheck("evidence", "nowhere.py", cwd=tmp_path)
    assert run.returncode == 2
    assert run.stderr == archcheck("check", "nowhere.py", cwd=tmp_path).stderr.splitlines(True)[0]


def test_evidence_of_a_traced_model(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "net.py").write_text(MODEL.format(width=9, comment=""))
    run = archcheck("evidence", "net.py:Net", "--input", "2,4", "--format", "json", cwd=tmp_path)
    trace = json.loads(run.stdout)["trace"]
    assert run.returncode == 0 and trace["complete"]
    assert [op["name"] for op in trace["ops"]] == ["linear"]


def test_every_public_name_for_packs_is_there() -> None:
    for name in rules_api.__all__:
        assert getattr(rules_api, name) is not None
    with pytest.raises(AttributeError, match="nothing else is public"):
        rules_api.Session  # noqa: B018


def test_the_pages_rule_imports_nothing_but_the_public_names() -> None:
    page = (ROOT / "docs" / "writing-rules.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    imported = [
        (node.module, alias.name)
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("archcheck")
        for alias in node.names
    ]
    assert imported
    assert all(
        module == "archcheck.rules_api" and name in rules_api.__all__ for module, name in imported
    )
