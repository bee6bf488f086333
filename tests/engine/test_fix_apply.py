"""Edits become texts: in files of every kind, alone and together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcheck.core.finding import Edit, Finding, Fix, Location
from archcheck.engine.fix.apply_edits import Patch, applied, compatible, patched, patches
from archcheck.python import Project
from archcheck.python.documents.read import read_document
from archcheck.python.text.document import TextEdit

CODE = "import torch\n\nx = 1\ny = 2\n"


def span(line: int, column: int, end_line: int, end_column: int, path: str = "m.py") -> Location:
    return Location(path, line, column, end_line, end_column)


def finding(*edits: Edit, safety: str = "safe", message: str = "m") -> Finding:
    return Finding(message, edits[0].location, fix=Fix(safety, edits), code="AC101")


def project_of(data: bytes, path: str = "m.py") -> Project:
    project = Project()
    project.add(read_document(Path(path), shown=path, data=data))
    return project


def made(project: Project, *findings: Finding) -> str:
    """The one changed file, after all fixes of these findings."""
    (data,) = applied(patches(findings, project), project).values()
    return data.decode()


def test_a_span_is_replaced_and_a_span_of_no_length_inserts() -> None:
    project = project_of(CODE.encode())
    change = finding(Edit(span(3, 5, 3, 6), "10"), Edit(span(4, 1, 4, 1), "# two\n"))
    assert made(project, change) == "import torch\n\nx = 10\n# two\ny = 2\n"


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends_are_those_of_the_file(end: str) -> None:
    project = project_of(CODE.replace("\n", end).encode())
    change = finding(Edit(span(3, 1, 3, 1), "a = 0\nb = 0\n"))
    assert made(project, change) == CODE.replace("x = 1", "a = 0\nb = 0\nx = 1").replace("\n", end)


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        ("", "utf-8-sig"),
        ("# coding: latin-1\n", "latin-1"),
        ("# -*- coding: cp1252 -*-\n", "cp1252"),
    ],
)
def test_bytes_outside_the_edits_stay(head: str, encoding: str) -> None:
    code = f"{head}café = 1  # é\nx = 2\n"
    project = project_of(code.encode(encoding))
    line = code.count("\n")
    (data,) = applied(
        patches([finding(Edit(span(line, 5, line, 6), "3"))], project), project
    ).values()
    assert data == code.replace("x = 2", "x = 3").encode(encoding)


def test_what_the_encoding_cannot_say_is_no_fix() -> None:
    project = project_of(b"# coding: latin-1\nx = 2\n")
    assert patches([finding(Edit(span(2, 5, 2, 6), "'日本'"))], project) == []


def test_columns_count_characters_in_a_line_that_is_not_ascii() -> None:
    project = project_of("s = '池化'; x = 1\n".encode())
    assert made(project, finding(Edit(span(1, 15, 1, 16), "2"))) == "s = '池化'; x = 2\n"


def test_what_changes_nothing_is_no_fix() -> None:
    project = project_of(CODE.encode())
    assert patches([finding(Edit(span(3, 5, 3, 6), "1"))], project) == []


def test_edits_of_one_fix_that_overlap_are_no_fix() -> None:
    project = project_of(CODE.encode())
    clash = finding(Edit(span(3, 1, 3, 6), "z = 3"), Edit(span(3, 5, 3, 6), "2"))
    assert patches([clash], project) == []


def test_a_file_that_is_gone_has_no_fix() -> None:
    gone = finding(Edit(span(1, 1, 1, 1, path="nowhere/gone.py"), "x"))
    assert patches([gone], project_of(b"")) == []


def test_the_same_edits_of_two_findings_are_one_fix() -> None:
    project = project_of(CODE.encode())
    edit = Edit(span(3, 5, 3, 6), "2")
    (patch,) = patches([finding(edit), finding(edit, message="n", safety="unsafe")], project)
    assert [one.message for one in patch.findings] == ["m", "n"]
    assert patch.is_safe


def test_fixes_that_overlap_or_touch_wait_for_each_other() -> None:
    project = project_of(CODE.encode())
    first = finding(Edit(span(3, 1, 3, 2), "a"))
    touching = finding(Edit(span(3, 2, 3, 2), "b"))
    inside = finding(Edit(span(3, 1, 3, 6), ""))
    apart = finding(Edit(span(4, 5, 4, 6), "3"))
    group, waiting = compatible(patches([apart, inside, touching, first], project))
    assert [patch.findings[0] for patch in group] == [first, apart]
    assert {patch.findings[0] for patch in waiting} == {inside, touching}
    again, rest = compatible(waiting, with_all_of=group)
    assert again == [] and rest == waiting


def test_a_fix_of_two_files_is_made_in_both() -> None:
    project = project_of(CODE.encode())
    project.add(read_document(Path("n.py"), shown="n.py", data=b"z = 1\n"))
    both = finding(Edit(span(3, 5, 3, 6), "2"), Edit(span(1, 5, 1, 6, path="n.py"), "2"))
    found = applied(patches([both], project), project)
    assert found == {"m.py": CODE.replace("x = 1", "x = 2").encode(), "n.py": b"z = 2\n"}


# Documents ------------------------------------------------------------------------------------

MARKDOWN = """\
> A quote with a block:
>
> ```python
> import torch
> x = 1
> y = 2
> ```
> and the end.
"""


def test_a_quoted_block_keeps_its_prefix() -> None:
    project = project_of(MARKDOWN.encode(), "n.md")
    change = finding(Edit(span(5, 1, 5, 1, path="n.md"), "a = 0\nb = 0\n"))
    assert made(project, change) == MARKDOWN.replace("> x = 1", "> a = 0\n> b = 0\n> x = 1")


def test_the_last_line_of_a_block_is_taken_out_alone() -> None:
    project = project_of(MARKDOWN.encode(), "n.md")
    change = finding(Edit(span(6, 1, 7, 1, path="n.md"), ""))
    assert made(project, change) == MARKDOWN.replace("> y = 2\n", "")


def notebook(*cells: list[str], indent: int | None = 1) -> bytes:
    book = {
        "cells": [
            {"cell_type": "code", "metadata": {}, "outputs": [], "source": cell} for cell in cells
        ],
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(book, indent=indent, ensure_ascii=False).encode()


@pytest.mark.parametrize("indent", [1, None])
def test_a_notebook_stays_one_and_keeps_all_else(indent: int | None) -> None:
    before = notebook(["import torch\n", "x = 'é'\n", "y = 2"], ["z = 3"], indent=indent)
    project = project_of(before, "n.ipynb")
    change = finding(
        Edit(span(2, 5, 2, 8, path="n.ipynb"), '"a\\tb"'),
        Edit(span(4, 1, 4, 1, path="n.ipynb"), "w = 1\n"),
    )
    book = json.loads(made(project, change))
    assert ["".join(cell["source"]) for cell in book["cells"]] == [
        'import torch\nx = "a\\tb"\ny = 2',
        "w = 1\nz = 3",
    ]


def test_the_last_line_of_a_cell_does_not_take_the_next_cell_along() -> None:
    project = project_of(notebook(["x = 1\n", "y = 2"], ["z = 3"], ["w = 4"]), "n.ipynb")
    change = finding(Edit(span(2, 1, 3, 1, path="n.ipynb"), ""))
    only = finding(Edit(span(3, 1, 4, 1, path="n.ipynb"), ""))
    book = json.loads(made(project, change, only))
    assert ["".join(cell["source"]) for cell in book["cells"]] == ["x = 1", "", "w = 4"]


# Whatever is edited ---------------------------------------------------------------------------


@st.composite
def texts_with_edits(draw: st.DrawFn) -> tuple[str, list[TextEdit]]:
    text = draw(st.text("ab\n é", max_size=40))
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pairs = list(zip(cuts[::2], cuts[1::2], strict=False))
    return text, [TextEdit(a, b, draw(st.text("XY\n", max_size=4))) for a, b in pairs]


@given(texts_with_edits())
def test_what_stands_between_edits_is_untouched(given_: tuple[str, list[TextEdit]]) -> None:
    text, edits = given_
    after = patched(text, edits)
    kept = len(text) - sum(edit.end - edit.start for edit in edits)
    assert len(after) == kept + sum(len(edit.new) for edit in edits)
    if edits:
        assert after.startswith(text[: edits[0].start])
        assert after.endswith(text[edits[-1].end :])
    assert patched(text, reversed(edits)) == after or len({(e.start, e.end) for e in edits}) < len(
        edits
    )


@given(texts_with_edits())
def test_no_two_of_a_group_touch(given_: tuple[str, list[TextEdit]]) -> None:
    _, edits = given_
    all_of_them = [Patch((), (), {"m.py": (edit,)}) for edit in edits]
    group, waiting = compatible(all_of_them)
    assert sorted(map(id, [*group, *waiting])) == sorted(map(id, all_of_them))
    for one in group:
        for other in group:
            if one is not other:
                a, b = one.edits["m.py"][0], other.edits["m.py"][0]
                assert a.end < b.start or b.end < a.start


def test_a_line_between_blank_lines_of_a_quote_goes_whole() -> None:
    text = "> ```python\n> import torch\n>\n> x = 1\n>\n> y = 2\n> ```\n"
    project = project_of(text.encode(), "n.md")
    change = finding(Edit(span(4, 1, 5, 1, path="n.md"), ""))
    assert made(project, change) == text.replace("> x = 1\n", "")
