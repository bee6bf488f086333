"""The HTML page as text: what it says without a script, and what no browser may take for markup."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from dataclasses import replace

from output_samples import STYLE_FINDING, residual_trace, sample_report

from archcheck.core.finding import Edit, Fix, Location
from archcheck.core.report import Report
from archcheck.evidence.target_summary import TargetReport
from archcheck.output import render

HOSTILE = "</script><b>&\u2028`x`"


def data(page: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    document: dict[str, object] = json.loads(found[1])
    return document


def test_the_policy_lets_exactly_this_script_and_style_run() -> None:
    page = render(sample_report(), "html")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    allowed = html.unescape(policy[1])
    assert allowed.startswith("default-src 'none';") and "unsafe" not in allowed
    for tag in ("script", "style"):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert content is not None
        digest = base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in allowed
    assert not re.search(r'(src|href)="(?!#|data:)', page)


def test_names_and_messages_stay_text() -> None:
    trace = residual_trace(1)
    modules = tuple(replace(one, type=HOSTILE) for one in trace.modules)
    report = Report(
        findings=(replace(STYLE_FINDING, message=HOSTILE, help=HOSTILE, label=HOSTILE),),
        targets=(TargetReport(replace(trace, target=HOSTILE, modules=modules)),),
        sources={"mymodel.py": (HOSTILE,) * 60},
        unchecked=(HOSTILE,),
    )
    page = render(report, "html")
    assert page.count("</script>") == 2 and "<b>&" not in page
    # Between the tags of the data stands nothing that any parser takes for a tag.
    assert '"type":"\\u003c/script\\u003e\\u003cb\\u003e\\u0026\\u2028`x`"' in page
    target = data(page)["targets"][0]  # type: ignore[index]
    assert target["type"] == HOSTILE


def test_a_finding_reads_as_in_the_terminal() -> None:
    page = render(sample_report(), "html")
    text = html.unescape(re.sub(r"<[^>]*>", "", page))
    assert "classifier expects 4608 features, got 2048" in text
    assert "58 |     x = self.classifier(x)" in text
    assert "^^^^^^^^^^^^^^^^^^ got [8, 2048], expects [*, 4608]" in text
    assert "2048 is 512 channels of 2 x 2" in text and "help nn.Linear(2048, …)" in text
    assert "-        self.classifier = nn.Linear(4608, self.num_classes)" in text
    assert "+        self.classifier = nn.Linear(2048, self.num_classes)" in text


def test_edits_of_one_line_are_made_from_its_end() -> None:
    edits = (Edit(Location("a.py", 1, 1, 1, 2), "xyz"), Edit(Location("a.py", 1, 3, 1, 3), "!"))
    finding = replace(
        STYLE_FINDING,
        location=Location("a.py", 1, 1, 1, 2),
        trail=(),
        related=(),
        fix=Fix("safe", edits),
    )
    page = render(Report(findings=(finding,), sources={"a.py": ("abc",)}), "html")
    assert '<span class="removed">-abc</span>\n<span class="added">+xyzb!c</span>' in page


def test_the_layer_table_folds_and_adds_up() -> None:
    page = render(sample_report(), "html")
    rows = re.findall(r'<tr data-path="([^"]*)"', page)
    assert rows[:3] == ["", "stem", "stage"] and "stage.4" in rows and "stage.1" not in rows
    assert "stage.0–3 (×4)" in page and "unused" in page


def test_without_a_trace_there_are_findings_alone() -> None:
    page = render(Report(findings=(STYLE_FINDING,), files=1), "html")
    assert '<a href="#graph' not in page and 'id="finding-0"' in page
    assert data(page)["targets"] == []


def test_a_model_that_could_not_be_built_has_no_graph() -> None:
    trace = replace(residual_trace(1), modules=(), calls=(), ops=(), complete=False)
    page = render(Report(targets=(TargetReport(trace),)), "html")
    assert data(page)["targets"] == [None] and "could not be built" in page


def test_quiet_leaves_the_findings() -> None:
    page = render(sample_report(), "html", quiet=True)
    assert 'id="finding-0"' in page and "<table" not in page


def test_a_notebook_gets_a_frame_that_can_touch_nothing() -> None:
    frame = sample_report()._repr_html_()
    assert frame.startswith('<iframe sandbox="allow-scripts" ')
    source = re.search(r'srcdoc="([^"]*)"', frame)
    assert source is not None
    assert html.unescape(source[1]) == render(sample_report(), "html")
