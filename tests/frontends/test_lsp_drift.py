"""What still stands where, once a text was changed."""

from __future__ import annotations

import ast
import random

import pytest

pytest.importorskip("pygls", reason="the language server is archcheck-torch[lsp]")

from hypothesis import given
from hypothesis import strategies as st

from archcheck.core.finding import Edit, Finding, Fix, Location, Related
from archcheck.frontends.lsp.drift import Drift, moved_finding

pytestmark = pytest.mark.editor

PROGRAM = """\
def forward(x):
    x = relu(x)
    y = linear(x)
    x = relu(x)
    return x + y
"""
ROWS = PROGRAM.split("\n")


def test_the_same_text_stays_where_it_is() -> None:
    drift = Drift.between(PROGRAM, PROGRAM)
    assert drift.means_the_same
    assert drift.moved(Location("f", 3, 5, 3, 18)) == Location("f", 3, 5, 3, 18)


def test_comments_and_layout_change_no_meaning() -> None:
    after = "# why\n" + PROGRAM.replace(
        "    y = linear(x)", "\n    # so\n    y = linear(\n        x)"
    )
    drift = Drift.between(PROGRAM, after)
    assert drift.means_the_same
    assert drift.lines[2] == 3
    # Another layout: the whole line is meant.
    assert drift.moved(Location("f", 3, 5, 3, 18)) == Location("f", 6, 5)
    # One of two lines that read alike.
    assert drift.moved(Location("f", 4, 5, 4, 16)) == Location("f", 8, 5, 8, 16)


def test_columns_follow_the_indentation() -> None:
    after = "if True:\n" + "".join(f"  {row}\n" for row in ROWS)
    drift = Drift.between(PROGRAM, after)
    assert not drift.means_the_same
    assert drift.moved(Location("f", 2, 5, 2, 16)) is None
    wider = Drift.between(PROGRAM, PROGRAM.replace("    ", "        "))
    assert wider.means_the_same
    assert wider.moved(Location("f", 2, 9, 2, 16)) == Location("f", 2, 13, 2, 20)


def test_a_changed_line_is_not_found_again_and_others_are() -> None:
    drift = Drift.between(PROGRAM, PROGRAM.replace("linear(x)", "linear(2 * x)") + "\nmore = 1\n")
    assert not drift.means_the_same
    assert drift.moved(Location("f", 3, 5)) is None
    assert drift.moved(Location("f", 5, 5)) == Location("f", 5, 5)


def test_a_text_that_does_not_parse_means_something_else() -> None:
    drift = Drift.between(PROGRAM, PROGRAM.replace("relu(x)", "relu(x", 1))
    assert not drift.means_the_same
    assert drift.moved(Location("f", 2, 5)) is None
    assert drift.moved(Location("f", 4, 5)) == Location("f", 4, 5)


def test_a_finding_goes_with_any_line_that_it_speaks_of() -> None:
    finding = Finding(
        "wrong",
        Location("f", 3, 5, 3, 18),
        related=(Related(Location("f", 2, 5), "from here"), Related(Location("g", 1), "and here")),
        fix=Fix("safe", (Edit(Location("f", 4, 5, 4, 6), "z"),)),
    )
    moved = moved_finding(finding, {"f": Drift.between(PROGRAM, "\n" + PROGRAM)})
    assert moved is not None and moved.fix is not None
    assert moved.location == Location("f", 4, 5, 4, 18)
    assert [one.location.line for one in moved.related] == [3, 1]
    assert moved.fix.edits[0].location.line == 5
    for line in ("    x = relu(x)\n", "    y = linear(x)\n"):
        changed = Drift.between(PROGRAM, PROGRAM.replace(line, line.replace("x)", "x, 1)")))
        assert moved_finding(finding, {"f": changed}) is None
    assert moved_finding(finding, {"g": Drift.between("a", "b")}) is None


@given(st.lists(st.sampled_from(ROWS), max_size=12), st.lists(st.sampled_from(ROWS), max_size=12))
def test_a_line_is_only_ever_found_again_where_the_same_stands(
    before: list[str], after: list[str]
) -> None:
    drift = Drift.between("\n".join(before), "\n".join(after))
    for old, new in drift.lines.items():
        assert drift.before[old - 1].strip() == drift.after[new - 1].strip()
    places = [drift.lines[line] for line in sorted(drift.lines)]
    assert places == sorted(places)


@given(st.integers(0, 2**32))
def test_blank_lines_and_comments_move_each_statement_to_itself(seed: int) -> None:
    chance = random.Random(seed)
    rows: list[str] = []
    expected: dict[int, int] = {}
    for number, row in enumerate(ROWS[:-1], start=1):
        rows += [chance.choice(["", "    # a comment", "# another"])] * chance.randrange(3)
        rows.append(row + chance.choice(["", "  # behind", "   "]))
        expected[number] = len(rows)
    after = "\n".join(rows)
    assert ast.dump(ast.parse(after)) == ast.dump(ast.parse(PROGRAM))
    drift = Drift.between(PROGRAM, after)
    assert drift.means_the_same
    assert {line: drift.lines[line] for line in expected} == expected
