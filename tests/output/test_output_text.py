"""The text report: each finding in the promised form, carets on the very sub-expression."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from output_samples import PATH, SOURCE, STYLE_FINDING, residual_trace, sample_report
from rich.cells import cell_len

from archcheck.core.finding import Finding, Location, Related, Severity, ShapeNote
from archcheck.core.report import Report
from archcheck.evidence.target_summary import TargetReport
from archcheck.frontends.cli.terminal import wants_color
from archcheck.output import render
from archcheck.output.terminal.excerpt import finding_text

PROMISED = """\
error[AC201] linear-in-features: `classifier` expects 4608 features, got 2048
  --> mymodel.py:58:13   in ResNet32.forward
   |
56 |     x = self.avgpooling(x)        x: [8, 512, 2, 2]
57 |     x = x.view(x.shape[0], -1)    x: [8, 2048]
58 |     x = self.classifier(x)
   |         ^^^^^^^^^^^^^^^^^^ got [8, 2048], expects [*, 4608]
   |
42 |     self.classifier = nn.Linear(4608, self.num_classes)
   |                                 ---- declared here
   = 2048 is 512 channels of 2 x 2; 4608 would be 512 of 3 x 3, an input of 163 to 226 pixels
   = help: nn.Linear(2048, …), or nn.AdaptiveAvgPool2d(1) and nn.Linear(512, …) for any input size
"""


def drawn(finding: Finding, lines: tuple[str, ...], width: int = 100) -> list[str]:
    return [line.plain for line in finding_text(finding, {PATH: lines}, width)]


def at(line: int, column: int, end_column: int, **more: object) -> Finding:
    location = Location(PATH, line, column, line, end_column)
    finding = Finding("message", location, severity=Severity.ERROR, code="AC999", name="a-name")
    return replace(finding, **more)


def underlined(rows: list[str], sign: str = "^") -> str:
    """The cells of source that stand right above the underline."""
    index = next(i for i, row in enumerate(rows) if re.search(rf"\| +{re.escape(sign)}", row))
    begin = rows[index].index(sign)
    end = begin + len(re.match(rf"{re.escape(sign)}+", rows[index][begin:])[0])  # type: ignore[index]
    cells = [cell for character in rows[index - 1] for cell in [character] * cell_len(character)]
    return "".join(cells[begin:end])


def in_cells(text: str) -> str:
    return "".join(character * cell_len(character) for character in text)


def test_the_form_that_was_promised() -> None:
    assert "\n".join(drawn(STYLE_FINDING, SOURCE)) + "\n" == PROMISED


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_everything_fits_the_page(width: int) -> None:
    text = render(sample_report(), "text", width=width)
    # The summary is promised as one line.
    assert max(map(cell_len, text.splitlines()[:-1])) <= width


@pytest.mark.parametrize("width", [60, 100, 160])
def test_the_parts_of_a_message_are_there_at_any_width(width: int) -> None:
    text = " ".join(render(sample_report(), "text", width=width).split())
    for part in (
        "error[AC201] linear-in-features: `classifier` expects 4608 features, got 2048",
        "--> mymodel.py:58:13 in ResNet32.forward",
        "x: [8, 512, 2, 2]",
        "got [8, 2048], expects [*, 4608]",
        "---- declared here",
    ):
        assert part in text


def test_wide_characters_keep_the_carets_aligned() -> None:
    line = "    结果 = self.层(输入)  # 前向传播"
    rows = drawn(at(1, 10, 20), (line,))
    assert underlined(rows) == in_cells("self.层(输入)")


def test_tabs_keep_the_carets_aligned() -> None:
    line = "\tx =\tself.fc(\tx)"
    rows = drawn(at(1, line.index("self") + 1, len(line) + 1), (line,))
    assert underlined(rows) == "self.fc(    x)"


def test_a_long_line_is_cropped_around_its_span() -> None:
    line = f"x = f({', '.join(f'argument_{n}' for n in range(60))}, self.wrong(x), {'y, ' * 60})"
    column = line.index("self.wrong") + 1
    rows = drawn(at(1, column, column + len("self.wrong(x)"), label="here"), (line,), 80)
    assert underlined(rows) == "self.wrong(x)"
    assert rows[3].count("…") == 2
    assert max(map(cell_len, rows)) <= 80


def test_a_span_of_several_lines_is_underlined_to_the_end_of_its_first() -> None:
    finding = replace(at(1, 5, 0), location=Location(PATH, 1, 5, 3, 2))
    assert underlined(drawn(finding, ("x = f(  ", "    1,", ")"))) == "f("


def test_a_span_of_unknown_length_is_one_caret() -> None:
    rows = drawn(replace(at(1, 1, 1), location=Location(PATH, 1, 5)), ("abcdefgh",))
    assert underlined(rows) == "e"


def test_a_span_past_the_end_of_the_text_is_still_shown() -> None:
    assert any("^" in row for row in drawn(at(1, 40, 44), ("short",)))
    rows = drawn(at(9, 1, 4, label="what is wrong"), ("short",))
    assert rows == [
        "error[AC999] a-name: message",
        " --> mymodel.py:9:1",
        "  = what is wrong",
    ]


def test_a_related_place_in_another_file_gets_its_own_excerpt() -> None:
    related = Related(Location("blocks.py", 2, 3, 2, 6), "declared here")
    finding = at(1, 1, 4, related=(related,), label="used here")
    rows = [
        line.plain
        for line in finding_text(finding, {PATH: ("abc",), "blocks.py": ("", "  xyz")}, 100)
    ]
    assert rows == [
        "error[AC999] a-name: message",
        " --> mymodel.py:1:1",
        "  |",
        "1 | abc",
        "  | ^^^ used here",
        " --> blocks.py:2:3",
        "  |",
        "2 |   xyz",
        "  |   --- declared here",
    ]


def test_a_trail_through_another_file_is_shown_there() -> None:
    trail = (ShapeNote(Location("net.py", 1, 5), "x: [2, 8]"),)
    rows = [
        line.plain
        for line in finding_text(
            at(1, 1, 4, trail=trail), {PATH: ("abc",), "net.py": ("x = f(y)",)}, 100
        )
    ]
    assert rows[5:] == [" --> net.py:1:5", "  |", "1 | x = f(y)    x: [2, 8]"]


def test_a_related_place_without_its_text_is_named() -> None:
    related = Related(Location("gone.py", 7, 3), "declared here")
    rows = drawn(at(1, 1, 4, related=(related,)), ("abc",))
    assert rows[-1] == "  = gone.py:7: declared here"


def test_two_underlines_on_one_line() -> None:
    related = Related(Location(PATH, 1, 5, 1, 6), "this one")
    rows = drawn(at(1, 1, 4, related=(related,), label="and this"), ("abc d",))
    assert rows[3:] == ["1 | abc d", "  | ^^^ and this", "  |     - this one"]


def test_a_related_place_nearby_joins_the_excerpt() -> None:
    related = Related(Location(PATH, 3, 1, 3, 6), "raises")
    rows = drawn(at(1, 1, 6, related=(related,)), ("first", "", "third"))
    assert rows[3:] == ["1 | first", "  | ^^^^^", "2 |", "3 | third", "  | ----- raises"]


def test_lines_far_apart_are_marked_as_such_and_a_single_one_is_filled_in() -> None:
    lines = tuple(f"line{n}" for n in range(1, 13))
    trail = (
        ShapeNote(Location(PATH, 2, 1), "x: [1]"),
        ShapeNote(Location(PATH, 4, 1), "x: [2]"),
    )
    rows = drawn(at(12, 1, 5, trail=trail), lines)
    assert rows[3:] == [
        " 2 | line2    x: [1]",
        " 3 | line3",
        " 4 | line4    x: [2]",
        "...",
        "12 | line12",
        "   | ^^^^",
    ]


def test_control_characters_never_reach_the_terminal() -> None:
    evil = "x = '\x1b[2J\u202e' + self.fc(x)"
    finding = at(1, 5, 10, message="from \x1b[31m", help="\x07")
    text = "\n".join(drawn(finding, (evil,)))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", text)


@given(
    line=st.text(
        st.sampled_from("ab \tself.()中文\uff0cé\u3000\u0301x=\x1b"), min_size=1, max_size=40
    ),
    data=st.data(),
)
def test_carets_stand_under_the_very_characters(line: str, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(line) - 1))
    end = data.draw(st.integers(begin + 1, len(line)))
    rows = drawn(at(1, begin + 1, end + 1), (line,), 200)
    expected = line[begin:end].expandtabs(1).replace("\x1b", "\ufffd").replace("\u0301", "")
    got = underlined(rows)
    # A tab is as wide as its place asks for; all else is as it stood.
    assert got.replace(" ", "") in (
        in_cells(expected).replace(" ", "").replace("\u3000", ""),
        # A caret is never missing: a span of no width gets the next cell.
        got.replace(" ", "") if not in_cells(expected).strip() else None,
    )


def test_a_clean_source_check_is_one_line() -> None:
    assert render(Report(files=12), "text") == "All checks passed (12 files)\n"
    assert render(Report(files=1, suppressed=3), "text") == (
        "All checks passed (1 file); 3 suppressed\n"
    )


def test_a_call_with_a_complaint_has_not_passed() -> None:
    assert "passed" not in render(Report(usage_errors=("no such file: x.py",)), "text")


def test_color_changes_no_character() -> None:
    report = sample_report()
    plain = render(report, "text", width=80)
    colored = render(report, "text", width=80, color=True)
    assert colored != plain
    assert re.sub(r"\x1b\[[\d;]*m", "", colored) == plain


def test_color_is_the_callers_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert "\x1b[" in render(sample_report(), "text", color=True)


def test_columns_sets_the_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert render(sample_report(), "text") == render(sample_report(), "text", width=60)


def test_quiet_shows_findings_only() -> None:
    text = render(sample_report(), "text", quiet=True)
    assert "AC201" in text and "Parameters" not in text and "suppressed" not in text


def test_statistics_count_in_place_of_listing() -> None:
    findings = (STYLE_FINDING, STYLE_FINDING, *sample_report().findings)
    text = render(sample_report(findings=findings), "text", statistics=True, quiet=True)
    assert text == "3  AC201 linear-in-features\n1  AC306 bias-before-norm\n\n"


def test_a_model_that_was_never_built_has_no_table() -> None:
    trace = replace(residual_trace(1), modules=(), complete=False, parameters=())
    text = render(Report(targets=(TargetReport(trace),)), "text")
    assert "could not be built" in text and "Layer" not in text and "MACs" not in text


def test_an_unfinished_pass_shows_no_totals_of_work() -> None:
    trace = replace(residual_trace(1), complete=False)
    text = render(Report(targets=(TargetReport(trace),)), "text")
    assert "Stopped" in text and "FLOPs" not in text and "unused" not in text


class Stream:
    def __init__(self, terminal: bool) -> None:
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.mark.parametrize(
    ("terminal", "environment", "expected"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
        (False, {"FORCE_COLOR": "1"}, True),
        (False, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_who_gets_color(
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
    environment: dict[str, str],
    expected: bool,
) -> None:
    for name in ("NO_COLOR", "TERM", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout", Stream(terminal))
    assert wants_color() is expected


def test_a_clean_report_is_said_without_rich() -> None:
    program = (
        "import sys; from archcheck.output import render; "
        "from archcheck.core.report import Report; "
        "print(render(Report(files=2), 'text'), 'rich' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout == "All checks passed (2 files)\n False\n"
