"""Every format: its golden file, its schema where one is published, and what could break it.

`UPDATE_GOLDEN=1 python -m pytest tests/output/test_output_formats.py` rewrites the golden files.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from output_samples import NOTEBOOK_FINDING, STYLE_FINDING, residual_trace, sample_report

from archcheck.core.finding import Edit, Finding, Fix, Location, Related, Severity, ShapeNote
from archcheck.core.fingerprint import fingerprints
from archcheck.core.report import FindingsError, Report
from archcheck.core.rule import Rule, load_rules
from archcheck.evidence.records import Sizes
from archcheck.evidence.target_summary import TargetReport
from archcheck.output import FORMATS, render
from archcheck.output.catalogue import render_rule, render_rules
from archcheck.output.markdown import code, prose

GOLDEN = Path(__file__).parents[1] / "golden"
DATA = Path(__file__).parents[1] / "data"
# What is tested is the text, however long a busy machine takes over it.
PATIENT = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ENDINGS = {"json": "json", "sarif": "json", "gitlab": "json", "junit": "xml", "markdown": "md"}

DOC = """\
A linear layer is sized for another width than the one that reaches it.

What it does
------------
Compares `in_features` with the width
that arrives.

- a list item
- another one

Why it is bad
-------------
The forward pass raises.

Example
-------
    x = torch.flatten(x, 1)

    x = nn.Linear(4608, 2)(x)

Use instead
-----------
    x = nn.Linear(2048, 2)(x)
"""


def sample_rule(**changes: Any) -> Rule:
    rule = Rule("AC201", "linear-in-features", Severity.ERROR, fix="safe", doc=DOC)
    rule.path = Path("rules/shapes/linear_in_features.py")
    rule.trace_readers.append(lambda trace, project: ())
    for name, value in changes.items():
        setattr(rule, name, value)
    return rule


def all_of_it() -> Report:
    return sample_report(rules=(sample_rule(),))


def loaded(name: str) -> Any:
    return json.loads((DATA / name).read_text(encoding="utf-8"))


any_text = st.text(max_size=30)
any_place = st.builds(
    Location,
    st.sampled_from(["a.py", "b c.py", "/tmp/ü.py", "../up.py", "C:/win dows/x.py"]),
    st.integers(1, 9),
    st.integers(1, 40),
    st.sampled_from([0, 9]),
    st.integers(0, 60),
    st.sampled_from([None, None, 1]),
)
any_finding = st.builds(
    Finding,
    message=st.text(min_size=1, max_size=60),
    location=any_place,
    label=any_text,
    scope=st.none() | any_text,
    module=st.none() | st.sampled_from(["", "stage.4.conv2", "nowhere"]),
    trail=st.lists(st.builds(ShapeNote, any_place, any_text), max_size=2).map(tuple),
    related=st.lists(st.builds(Related, any_place, st.text(min_size=1)), max_size=2).map(tuple),
    notes=st.lists(any_text, max_size=2).map(tuple),
    help=st.none() | st.text(min_size=1, max_size=20),
    fix=st.none()
    | st.builds(
        Fix,
        st.sampled_from(["safe", "unsafe"]),
        st.lists(st.builds(Edit, any_place, any_text), min_size=1, max_size=2).map(tuple),
        st.booleans(),
    ),
    severity=st.sampled_from(list(Severity)),
    code=st.sampled_from(["AC201", "AC306"]),
    name=st.just("a-name"),
    target=st.sampled_from([None, "net.py:Net"]),
)
any_report = st.builds(
    Report,
    findings=st.lists(any_finding, max_size=3).map(tuple),
    targets=st.just((TargetReport(residual_trace(2)),)),
    files=st.integers(0, 3),
    unchecked=st.lists(any_text, max_size=1).map(tuple),
    usage_errors=st.lists(any_text, max_size=1).map(tuple),
    sources=st.dictionaries(
        st.sampled_from(["a.py", "b c.py", "a.py:cell 1"]),
        st.lists(any_text, max_size=9).map(tuple),
    ),
)


# The page is mostly its scripts and styles; tests/output/test_output_html.py looks at what it says.
@pytest.mark.parametrize("format", [format for format in FORMATS if format != "html"])
def test_golden(format: str) -> None:
    text = render(all_of_it(), format, width=100)
    path = GOLDEN / f"{format}.{ENDINGS.get(format, 'txt')}"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("format", FORMATS)
def test_the_bytes_are_the_same_in_every_process(format: str) -> None:
    program = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from output_samples import sample_report\n"
        "from archcheck.output import render\n"
        f"sys.stdout.buffer.write(render(sample_report(), {format!r}, width=100).encode())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            check=True,
            cwd=DATA.parent.parent,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] != b""


@pytest.mark.parametrize("format", FORMATS)
@PATIENT
@given(report=any_report)
def test_no_text_breaks_a_format(format: str, report: Report) -> None:
    text = render(report, format, width=80)
    assert not text or text.endswith("\n")
    text.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("format", FORMATS)
def test_an_empty_report(format: str) -> None:
    text = render(Report(files=2), format)
    assert (text == "") == (format == "github")


# JSON


@pytest.mark.slow
@PATIENT
@given(report=any_report)
def test_json_keeps_to_its_schema(report: Report) -> None:
    document = json.loads(render(report, "json"))
    jsonschema.validate(document, loaded("report-schema-1.json"))


def test_json_says_what_the_contract_says() -> None:
    document = json.loads(render(sample_report(), "json"))
    jsonschema.validate(document, loaded("report-schema-1.json"))
    finding = document["findings"][1]
    assert finding == {
        "code": "AC201",
        "name": "linear-in-features",
        "severity": "error",
        "message": "`classifier` expects 4608 features, got 2048",
        "path": "mymodel.py",
        "line": 58,
        "column": 13,
        "end_line": 58,
        "end_column": 31,
        "module": "classifier",
        "target": "mymodel.py:ResNet32",
        "help": STYLE_FINDING.help,
        "related": [{"path": "mymodel.py", "line": 42, "message": "declared here"}],
        "fix": {
            "safety": "safe",
            "verified": True,
            "edits": [{"line": 42, "column": 37, "end_line": 42, "end_column": 41, "new": "2048"}],
        },
    }
    target = document["targets"][0]
    assert target["inputs"] == [{"name": "x", "shape": [8, 3, 32, 32], "dtype": "float32"}]
    assert target["params"] == {"total": 28_730, "trainable": 28_730, "buffers": 96}
    assert target["valid_input_sizes"] == {"H": [16, 47], "W": [16, 47]}
    assert target["modules"][1] == {
        "path": "stem",
        "type": "Conv2d",
        "calls": 1,
        "input": [[8, 3, 32, 32]],
        "output": [[8, 16, 32, 32]],
        "output_symbolic": None,
        "params": 448,
        "macs": 8 * 16 * 32 * 32 * 27,
        "bytes_moved": 4 * (8 * 3 * 32 * 32 + 448 + 8 * 16 * 32 * 32),
        "intensity": 11.336,
        "line": 10,
    }
    assert document["summary"] == {
        "error": 1,
        "warning": 1,
        "note": 0,
        "suppressed": 2,
        "files": 3,
    }


def test_json_has_null_for_what_is_not_known() -> None:
    trace = replace(
        residual_trace(1), complete=False, modules=(), parameters=(), rung=None, versions={}
    )
    document = json.loads(render(Report(targets=(TargetReport(trace),)), "json"))
    jsonschema.validate(document, loaded("report-schema-1.json"))
    target = document["targets"][0]
    unknown = {key for key, value in target.items() if value is None}
    assert unknown == {
        "symbolic",
        "traced_with",
        "outputs",
        "params",
        "macs",
        "flops",
        "peak_activation_bytes",
        "uncounted_ops",
        "valid_input_sizes",
        "size_answers",
        "decided_by_values",
        "training",
        "generation",
        "weights",
        "probe",
    }
    assert document["torch"] is None


def test_json_gives_the_step_of_sizes_that_must_divide() -> None:
    trace = replace(residual_trace(1), valid_input_sizes=(Sizes("H", 32, 16, 1024, 16),))
    document = json.loads(render(Report(targets=(TargetReport(trace),)), "json"))
    assert document["targets"][0]["valid_input_sizes"] == {"H": [16, 1024, 16]}


@PATIENT
@given(st.recursive(st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)))
def test_json_layout_changes_no_value(value: Any) -> None:
    finding = replace(STYLE_FINDING, message=json.dumps(value, indent=2))
    document = json.loads(render(sample_report(findings=(finding,)), "json"))
    assert document["findings"][0]["message"] == finding.message


# SARIF, GitHub, GitLab, JUnit


@pytest.mark.slow
@PATIENT
@given(report=any_report)
def test_sarif_keeps_to_the_published_schema(report: Report) -> None:
    document = json.loads(render(report, "sarif"))
    jsonschema.validate(document, loaded("sarif-schema-2.1.0.json"))


def test_sarif_describes_rules_fixes_and_places() -> None:
    document = json.loads(render(all_of_it(), "sarif"))
    jsonschema.validate(document, loaded("sarif-schema-2.1.0.json"))
    run = document["runs"][0]
    rule = run["tool"]["driver"]["rules"][0]
    assert rule["id"] == "AC201" and "raises" in rule["help"]["markdown"]
    result = run["results"][1]
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    change = result["fixes"][0]["artifactChanges"][0]
    assert change["artifactLocation"]["uri"] == "mymodel.py"
    assert change["replacements"][0]["insertedContent"]["text"] == "2048"
    assert len(set(fingerprints(all_of_it()))) == 2


def test_sarif_with_every_real_rule() -> None:
    document = json.loads(render(sample_report(rules=load_rules()), "sarif"))
    jsonschema.validate(document, loaded("sarif-schema-2.1.0.json"))


def test_fingerprints_outlive_moved_lines_and_stay_apart() -> None:
    report = sample_report(findings=(STYLE_FINDING, STYLE_FINDING))
    first, second = fingerprints(report)
    assert first != second
    moved = replace(STYLE_FINDING, location=Location("mymodel.py", 60, 13, 60, 31))
    lines = ("", "", *report.sources["mymodel.py"])
    again = sample_report(findings=(moved,), sources={"mymodel.py": lines})
    assert fingerprints(again) == (first,)
    changed = sample_report(findings=(replace(STYLE_FINDING, scope="Other.forward"),))
    assert fingerprints(changed) != (first,)


def test_github_escapes_what_would_end_a_command() -> None:
    finding = replace(
        STYLE_FINDING, message="50 % of\nit: a,b\r", location=Location("a,b:c.py", 3, 2, 3, 4)
    )
    command = render(sample_report(findings=(finding,)), "github")
    assert command.count("\n") == 1 and "\r" not in command
    assert command.startswith(
        "::error file=a%2Cb%3Ac.py,line=3,col=2,endLine=3,endColumn=3,"
        "title=AC201 linear-in-features::50 %25 of%0Ait: a,b"
    )


def test_github_names_severities_its_own_way() -> None:
    for severity, word in (("error", "error"), ("warning", "warning"), ("note", "notice")):
        finding = replace(STYLE_FINDING, severity=Severity(severity))
        assert render(sample_report(findings=(finding,)), "github").startswith(f"::{word} ")


@PATIENT
@given(report=any_report)
def test_gitlab_has_what_gitlab_asks_for(report: Report) -> None:
    entries = json.loads(render(report, "gitlab"))
    assert len(entries) == len(report.findings)
    assert len({entry["fingerprint"] for entry in entries}) == len(entries)
    for entry in entries:
        assert entry["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert entry["description"] and entry["check_name"] and entry["location"]["path"]
        lines = entry["location"]["lines"]
        assert 1 <= lines["begin"] <= lines["end"]


@PATIENT
@given(report=any_report)
def test_junit_is_xml_with_right_counts(report: Report) -> None:
    root = ElementTree.fromstring(render(report, "junit").encode("utf-8"))
    assert root.get("failures") == str(len(report.failing)) == str(len(root.findall(".//failure")))
    assert root.get("errors") == str(len(report.usage_errors))
    assert root.get("tests") == str(len(root.findall(".//testcase")))


def test_junit_names_outlive_moved_lines_and_stay_apart() -> None:
    moved = replace(STYLE_FINDING, location=Location("mymodel.py", 60, 13, 60, 31))
    report = sample_report(findings=(STYLE_FINDING, moved))
    root = ElementTree.fromstring(render(report, "junit").encode("utf-8"))
    assert [case.get("name") for case in root.iter("testcase") if case.get("line")] == [
        "AC201 linear-in-features in ResNet32.forward",
        "AC201 linear-in-features in ResNet32.forward (2)",
    ]


def test_junit_fails_only_for_what_fails_the_check() -> None:
    report = sample_report(fail_on=Severity.ERROR)
    root = ElementTree.fromstring(render(report, "junit").encode("utf-8"))
    assert [one.get("type") for one in root.iter("failure")] == ["error"]
    passed = ElementTree.fromstring(render(Report(files=2), "junit").encode("utf-8"))
    assert passed.get("tests") == "1" and passed.get("failures") == "0"


# Markdown


def shown(markdown: str) -> str:
    """The text that a reader of the rendered Markdown sees."""
    html = MarkdownIt("gfm-like", {"linkify": False}).render(markdown)
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        html = re.sub(r"<[^>]*>", "", html) if entity == "&lt;" else html
        html = html.replace(entity, character)
    return html.replace("\u200b", "")


@PATIENT
@given(st.text("ab|`*_<>&#[]()!~\\@$ .-", min_size=1, max_size=20))
def test_markdown_shows_text_as_it_is(text: str) -> None:
    table = f"| a |\n| --- |\n| x {prose(text)} y |\n"
    expected = "".join(f"x {text} y".split()).replace("`", "")
    assert expected in "".join(shown(table).replace("`", "").split())


@PATIENT
@given(st.text("ab|`*_<>&", min_size=1, max_size=10))
def test_markdown_shows_names_as_they_are(text: str) -> None:
    table = f"| a |\n| --- |\n| x {code(text)} y |\n"
    if "``" not in text:
        assert text in shown(table)


def test_markdown_fits_one_comment() -> None:
    finding = replace(STYLE_FINDING, notes=("note " * 300,))
    warning = replace(NOTEBOOK_FINDING, severity=Severity.WARNING)
    many = sample_report(findings=(*[warning] * 100, *[finding] * 100))
    text = render(many, "markdown")
    assert len(text) < 65_536
    assert "and 190 more" in text and "AC201" in text and "AC306" not in text.split("Model")[0]


def test_markdown_notifies_nobody() -> None:
    finding = replace(STYLE_FINDING, message="@someone, see #12")
    text = render(sample_report(findings=(finding,)), "markdown")
    assert "@someone" not in text and " #12" not in text


# Concise, and what the Python API shows


def test_concise_is_a_line_for_each_finding() -> None:
    finding = replace(STYLE_FINDING, message="two\nlines")
    lines = render(sample_report(findings=(finding, NOTEBOOK_FINDING)), "concise").splitlines()
    assert lines[0] == "mymodel.py:58:13: AC201 error two lines"
    assert lines[1].startswith("book 1.ipynb:cell 2:3:5: AC306 warning `stage.4.conv2` keeps")
    assert lines[-1] == "1 error, 1 warning in 3 files; 2 suppressed; 1 fixable with --fix"


def test_raise_for_findings_says_them() -> None:
    with pytest.raises(FindingsError, match=r"mymodel\.py:58:13: AC201 error `classifier`"):
        sample_report().raise_for_findings()
    Report().raise_for_findings()
    sample_report(findings=(NOTEBOOK_FINDING,), fail_on=Severity.ERROR).raise_for_findings()


def test_exit_codes() -> None:
    assert Report().exit_code == 0
    assert sample_report().exit_code == 1
    assert sample_report(findings=(NOTEBOOK_FINDING,), fail_on=Severity.ERROR).exit_code == 0
    assert sample_report(usage_errors=("no such file",)).exit_code == 2


# The catalogue


def test_explain_shows_every_section_and_the_code_as_it_is_indented() -> None:
    text = render_rule(sample_rule(), width=60)
    assert text.startswith("AC201 linear-in-features\n")
    for part in (
        "What it does\nCompares `in_features` with the width that arrives.\n\n- a list item\n- an",
        "Why it is bad\n",
        "Example\n    x = torch.flatten(x, 1)\n\n    x = nn.Linear(4608, 2)(x)\n",
        "Use instead\n    x = nn.Linear(2048, 2)(x)\n",
        "Severity: error",
        "--fix",
    ):
        assert part in text


def test_explain_says_that_a_note_is_off() -> None:
    assert "--extend-select AC201" in render_rule(sample_rule(severity=Severity.NOTE))
    assert "--extend-select" not in render_rule(sample_rule())


def test_rules_lists_each_rule_once() -> None:
    text = render_rules((sample_rule(), sample_rule(code="AC202", severity=Severity.NOTE)))
    assert text.count("linear-in-features") == 2
    assert [line for line in text.splitlines() if line.endswith(" off")] != []
    assert render_rules(())


def test_every_real_rule_can_be_explained() -> None:
    for rule in load_rules():
        assert rule.name in render_rule(rule, width=80, color=True)
