from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path

import pytest

from archcheck.core.finding import Finding, Location, Severity
from archcheck.core.rule import Rule
from archcheck.engine.suppress import Suppressions, apply
from archcheck.python.documents.read import read_document
from archcheck.python.syntax.parse import parse
from archcheck.python.syntax.tree import Parsed

pytestmark = pytest.mark.slow

SOURCE = [
    Rule(code, f"rule-{code}", Severity.ERROR, source_readers=[lambda _file: ()])
    for code in ("AC101", "AC103", "AC501", "AC502")
]
TRACED = Rule("AC201", "both", Severity.ERROR, source_readers=[lambda _file: ()])
TRACED.trace_readers.append(lambda _trace, _project: ())
OFF = Rule("AC306", "off", Severity.NOTE, source_readers=[lambda _file: ()])
UNUSED = Rule("AC006", "unused-suppression", Severity.NOTE, by_engine=True)
KNOWN = [UNUSED, *SOURCE, TRACED, OFF]


@dataclass
class Selection:
    rules: list[Rule]


def parsed(code: str, name: str = "a.py") -> Parsed:
    return parse(read_document(Path(name), data=code.encode()))


def at(line: int, code: str = "AC101", **fields) -> Finding:
    return Finding("", Location("a.py", line, 5, line, 9), code=code, **fields)


def run(code: str, *findings: Finding, rules=KNOWN[:-1], traced=(), name="a.py"):
    """The lines of the findings that are left, and what is noted about the comments."""
    suppressions = Suppressions.of(parsed(code, name))
    kept, count = apply(findings, [suppressions], Selection(rules), traced=traced, known=KNOWN)
    notes = [finding for finding in kept if finding.code == "AC006"]
    left = [finding for finding in kept if finding.code != "AC006"]
    assert len(left) + count == len(findings)
    assert all(note.severity == Severity.NOTE for note in notes)
    return [finding.location.line for finding in left], [note.message for note in notes]


@pytest.mark.parametrize(
    "comment",
    [
        "# archcheck: ignore[AC101]",
        "# archcheck:ignore[ AC101 ]",
        "#archcheck: ignore [AC1]",
        "# archcheck: ignore[AC101] because it is meant so",
        "# noqa: AC101",
        "# NOQA:ac101",
        "# type: ignore # noqa: AC101",
    ],
)
def test_a_comment_silences_its_line(comment: str) -> None:
    code = f"x = f(1)  {comment}\nx = f(2)\n"
    assert run(code, at(1), at(2)) == ([2], [])
    assert run(code, at(1, "AC501"), at(1)) == ([1], [])


@pytest.mark.parametrize(
    "comment",
    [
        "'# archcheck: ignore[AC101]'",
        "# noqa",
        "# archcheck is good",
        "# see `# archcheck: ignore[AC101]`",
        "# noqa: E501",
    ],
)
def test_what_is_no_suppression_is_left_alone(comment: str) -> None:
    assert run(f"x = 1; {comment}\n", at(1)) == ([1], [])


def test_several_codes_are_judged_one_by_one() -> None:
    code = "x = f(1)  # archcheck: ignore[AC101, AC5]\ny = 1  # noqa: AC103, AC501,E501\n"
    left, notes = run(code, at(1), at(2, "AC103"))
    assert left == []
    assert notes == [
        "nothing here has to be silenced for AC5",
        "nothing here has to be silenced for AC501",
    ]


def test_the_note_points_at_the_code() -> None:
    text = "x = 1  # archcheck: ignore[AC101, AC103]"
    kept, _ = apply([], [Suppressions.of(parsed(text))], Selection(KNOWN), known=KNOWN)
    spans = [text[f.location.column - 1 : f.location.end_column - 1] for f in kept]
    assert spans == ["AC101", "AC103"]


CLASS = """\
@decorated(
    1,
)
class A(
    B,
):{on_class}
    x = 1

    @wrapped
    def f(self, x):{on_def}
        if x:{on_if}
            y = 2
        return y

    def g(self):
        return 3
"""


def of_class(**comments: str) -> str:
    blank = {"on_class": "", "on_def": "", "on_if": ""}
    return CLASS.format(**blank | {key: f"  {text}" for key, text in comments.items()})


def test_on_a_class_or_def_it_silences_the_whole() -> None:
    lines = [at(line) for line in range(1, 16)]
    comment = "# archcheck: ignore[AC101]"
    assert run(of_class(on_class=comment), *lines)[0] == []
    assert run(of_class(on_def=comment), *lines)[0] == [*range(1, 9), 14, 15]
    # Any other head speaks for itself only.
    assert run(of_class(on_if=comment), *lines)[0] == [*range(1, 11), *range(12, 16)]


def test_a_statement_over_several_lines_is_one() -> None:
    code = "x = f(\n    1,\n    2,\n)  # archcheck: ignore[AC101]\ny = 2\n"
    assert run(code, *map(at, range(1, 6))) == ([5], [])
    code = "if f(\n    1,\n):  # archcheck: ignore[AC101]\n    y = 2\nelse:\n    z = 3\n"
    assert run(code, *map(at, range(1, 7))) == ([4, 5, 6], [])


def test_a_comment_on_its_own_line_speaks_for_the_next_statement() -> None:
    code = "# archcheck: ignore[AC101]\n# because\n\nx = f(\n    1)\ny = 2\n"
    assert run(code, at(4), at(5), at(6)) == ([6], [])
    code = "# archcheck: ignore[AC101]\n@d\nclass A:\n    x = 1\n"
    assert run(code, at(3), at(4), at(5)) == ([5], [])


def test_the_head_of_a_file_silences_the_file() -> None:
    code = '#!/usr/bin/env python\n"""Docs."""\n# archcheck: ignore-file[AC5]\nimport a\n\nx = 1\n'
    assert run(code, at(4), at(6, "AC501"), at(6, "AC502")) == ([4], [])


def test_further_down_it_silences_nothing_and_says_so() -> None:
    code = "import a\n# archcheck: ignore-file[AC101]\nx = 1\n"
    left, notes = run(code, at(3))
    assert left == [3]
    assert notes == ["`ignore-file[AC101]` stands too late in the file to silence anything"]


def test_a_comment_that_names_no_rule_says_so() -> None:
    code = "x = 1  # archcheck: ignore\ny = 1  # archcheck: ignore[]\n"
    code += "z = 1  # archcheck: ignore[AC9]\n"
    left, notes = run(code, at(1), at(2), at(3))
    assert left == [1, 2, 3]
    assert [note.split(",")[0] for note in notes] == [
        "this comment names no rule",
        "this comment names no rule",
        "no rule has the code AC9",
    ]


def test_only_a_rule_that_saw_everything_makes_a_comment_useless() -> None:
    traced_rule = "x = 1  # archcheck: ignore[AC201]\n"
    assert run(traced_rule)[1] == []
    assert run(traced_rule, traced=["a.py"])[1] == ["nothing here has to be silenced for AC201"]
    assert run("x = 1  # archcheck: ignore[AC306]\n")[1] == []
    assert run("x = 1  # archcheck: ignore[AC306]\n", rules=KNOWN)[1] != []
    # A family with a rule that did not run.
    assert run("x = 1  # archcheck: ignore[AC3]\n")[1] == []


def test_the_notes_can_be_silenced_too() -> None:
    assert run("x = 1  # archcheck: ignore[AC101, AC006]\n") == ([], [])
    assert run("# archcheck: ignore-file[AC006]\nx = 1  # archcheck: ignore[AC101]\n") == ([], [])


def test_without_the_rule_nothing_is_noted() -> None:
    assert run("x = 1  # archcheck: ignore[AC101]\n", rules=SOURCE) == ([], [])


def test_a_finding_is_silenced_where_its_defect_lies_too() -> None:
    code = "a = 1  # archcheck: ignore[AC201]\nb = 2\n"
    assert run(code, at(2, "AC201", defect=Location("a.py", 1, 5, 1, 6))) == ([], [])


def test_another_files_findings_are_none_of_its_business() -> None:
    other = Finding("", Location("b.py", 1), code="AC101")
    suppressions = [Suppressions.of(parsed("x = 1  # archcheck: ignore[AC101]\n"))]
    kept, count = apply([other], suppressions, Selection(KNOWN), known=KNOWN)
    assert count == 0
    assert other in kept


def test_comments_in_documents_and_notebooks_count() -> None:
    text = "# Title\n\n```python\nx = 1\ny = f(2)  # archcheck: ignore[AC101]\n```\n"
    code = Suppressions.of(parsed(text, "a.md"))
    assert [pragma.lines for pragma in code.pragmas] == [((5, 5), (5, 5))]
    cells = [{"cell_type": "code", "source": "x = 1"}]
    cells.append({"cell_type": "code", "source": "%time\ny = f(2)  # noqa: AC101"})
    book = Suppressions.of(parsed(json.dumps({"cells": cells}), "a.ipynb"))
    assert [pragma.lines for pragma in book.pragmas] == [((3, 3), (3, 3))]


def test_broken_code_can_be_silenced() -> None:
    code = "x = 1\ny = (  # archcheck: ignore[AC101]\n\ndef f(): pass\n"
    assert run(code, at(2)) == ([], [])


def test_a_file_without_such_comments_has_none_and_they_travel() -> None:
    assert not Suppressions.of(parsed("x = 1  # a comment\n"))
    some = Suppressions.of(parsed("x = 1  # noqa: AC101\n"))
    assert pickle.loads(pickle.dumps(some)) == some
