"""Annotated source: the data, its drawing, the comments that `--write` leaves, and the command."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from command import archcheck
from hypothesis import example, given
from hypothesis import strategies as st

from archcheck.core.finding import Finding, Location
from archcheck.core.target import Shape
from archcheck.engine.annotate.annotation import Annotation, Bound, Method, annotate
from archcheck.engine.annotate.write_comments import comment_edits, restated, stated, write_shapes
from archcheck.evidence.records import (
    Failure,
    Frame,
    LineValue,
    Module,
    ModuleCall,
    Value,
    ValueIndex,
)
from archcheck.evidence.trace import Trace
from archcheck.output.annotated_source import render
from archcheck.python import Project
from archcheck.python.documents.read import read_document

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

SOURCE = """\
from torch import nn
import torch.nn.functional as F


class Net(nn.Module):
    def forward(self, x, mask=None):
        x = self.conv(x)  # [1, 2, 3, 4] after the stem
        if mask is not None:
            scaled = x * mask
            x = F.relu(scaled)
        else:
            y = 3
        a, b = x.split(2, 1)
        if a.dim() == 9:
            raise ValueError("nine")
        return self.block(a)


class Block(nn.Module):
    def forward(self, x):
        x = x.flatten(1)
        return x
"""


def at(line: int, column: int = 9, end: int = 10, path: str = "net.py") -> Location:
    return Location(path, line, column, line, end)


class Recording:
    """Builds a trace by hand."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.lines: list[LineValue] = []

    def value(self, *shape: int, dtype: str = "float32") -> ValueIndex:
        self.values.append(Value(len(self.values), shape, dtype, "computed"))
        return ValueIndex(len(self.values) - 1)

    def bind(self, line: int, name: str, value: Any, call: int, column: int = 9) -> None:
        self.lines.append(LineValue(at(line, column), name, value, call))


def project_of(source: str, path: str = "net.py") -> Project:
    project = Project()
    project.add(read_document(Path(path), shown=path, data=source.encode()))
    return project


def recorded(**changes: Any) -> Trace:
    """A pass through `SOURCE`: Net calls its block twice."""
    r = Recording()
    x, conv = r.value(8, 3, 5, 5), r.value(8, 4, 5, 5)
    r.bind(7, "x", conv, 0)
    a, b = r.value(8, 2, 5, 5), r.value(8, 2, 5, 5, dtype="int64")
    r.bind(13, "b", b, 0, column=12)
    r.bind(13, "a", a, 0)
    flat, other = r.value(8, 50), r.value(8, 25)
    r.bind(21, "x", flat, 1)
    r.bind(22, "return", flat, 1)
    r.bind(21, "x", other, 2)
    r.bind(22, "return", other, 2)
    r.bind(16, "return", other, 0)
    net, block = at(6, 5, 33), at(20, 5, 18)
    values: dict[str, Any] = {
        "modules": (
            Module("", "Net", "net.Net", forward=net, defined=at(5), calls=(0,)),
            Module("block", "Block", "net.Block", forward=block, defined=at(19), calls=(1, 2)),
        ),
        "calls": (
            ModuleCall(0, "", None, {"x": x, "mask": None}, other, 0, 0),
            ModuleCall(1, "block", 0, {"x": a}, flat, 0, 0, at(16)),
            ModuleCall(2, "block", 0, {"x": a}, other, 0, 0, at(16)),
        ),
        "values": tuple(r.values),
        "lines": tuple(r.lines),
        "complete": True,
    }
    return Trace("net.py:Net", "net.py", **(values | changes))


def shown(method: Method) -> dict[int, str]:
    return {
        line.number: ", ".join(bound.text for bound in line.bound)
        for line in method.lines
        if line.bound
    }


def test_every_bound_value_stands_beside_its_line_in_the_order_of_the_text() -> None:
    net, _ = annotate(recorded(), project_of(SOURCE)).methods
    assert net.name == "Net.forward"
    assert shown(net) == {
        6: "x: [8, 3, 5, 5]",
        7: "x: [8, 4, 5, 5]",
        13: "a: [8, 2, 5, 5], b: [8, 2, 5, 5] int64",
        16: "return: [8, 25]",
    }


def test_several_calls_of_a_class_are_folded() -> None:
    _, block = annotate(recorded(), project_of(SOURCE)).methods
    assert (block.name, block.calls, block.paths) == ("Block.forward", 2, ("block",))
    assert shown(block) == {
        20: "x ×2: [8, 2, 5, 5]",
        21: "x ×2: [8, 50], [8, 25]",
        22: "return ×2: [8, 50], [8, 25]",
    }


def test_many_different_shapes_are_the_first_and_the_last() -> None:
    shapes = ("[8, 64, 56, 56]", "[8, 128, 28, 28]", "[8, 128, 28, 28]", "[8, 512, 7, 7]")
    assert Bound("x", shapes).text == "x ×4: [8, 64, 56, 56] … [8, 512, 7, 7]"


def test_lines_that_certainly_never_ran_are_known() -> None:
    net, _ = annotate(recorded(), project_of(SOURCE)).methods
    # `y = 3` leaves nothing behind: nobody can tell.
    assert [line.number for line in net.lines if not line.ran] == [9, 10, 15]


def test_depth_zero_is_the_model_alone() -> None:
    annotation = annotate(recorded(), project_of(SOURCE), depth=0)
    assert [method.name for method in annotation.methods] == ["Net.forward"]


def failing() -> Trace:
    trace = recorded()
    failure = Failure(
        "forward", "RuntimeError", "bad sizes", at(13, 16, 29), (Frame(at(13, 16, 29), "forward"),)
    )
    lines = tuple(line for line in trace.lines if line.location.line == 7)
    calls = trace.calls[:1]
    return recorded(failures=(failure,), lines=lines, calls=calls, complete=False)


def test_a_failing_line_says_what_it_expected() -> None:
    finding = Finding("m", at(13, 16, 29), label="got [8], expects [9]", code="AC205")
    net, *_ = annotate(failing(), project_of(SOURCE), [finding]).methods
    assert [(n.number, n.failure) for n in net.lines if n.failure] == [(13, "got [8], expects [9]")]


def test_without_a_finding_a_failing_line_shows_the_exception() -> None:
    annotation = annotate(failing(), project_of(SOURCE))
    assert annotation.failed and not annotation.failures
    text = render(annotation, color=False, width=90)
    assert re.search(
        r"^✗ 13 \|     a, b = x.split\(2, 1\)\n +\| +RuntimeError: bad sizes$", text, re.M
    )


def test_a_class_without_source_is_said_and_the_rest_is_shown() -> None:
    trace = recorded()
    modules = (*trace.modules, Module("exec", "Made", "net.Made", calls=(1,)))
    annotation = annotate(recorded(modules=modules), project_of(SOURCE))
    assert len(annotation.methods) == 2
    assert annotation.notes == ("`Made` has no Python source that can be shown",)


def test_the_shapes_stand_in_one_column() -> None:
    text = render(annotate(recorded(), project_of(SOURCE)), color=False, width=100)
    net = text.split("\n\n")[1].splitlines()
    columns = {
        line.index(mark)
        for line in net
        for mark in ("    x: [8", "    a: [8", "    return: [")
        if mark in line
    }
    assert len(columns) == 1
    assert "-  9 |         scaled = x * mask" in text
    assert text.endswith("- never ran\n")


def test_wide_characters_keep_the_column_and_narrow_pages_are_kept() -> None:
    source = SOURCE.replace("after the stem", "\u4e2d\u6587")
    from rich.cells import cell_len

    text = render(annotate(recorded(), project_of(source)), color=False, width=80)
    starts = {
        cell_len(line[: line.index(": [8") - 1])
        for line in text.splitlines()
        if "| " in line and re.search(r"\s[xa]: \[8", line)
    }
    assert len(starts) == 1
    narrow = render(annotate(recorded(), project_of(source)), color=False, width=60)
    assert max(map(cell_len, narrow.splitlines())) <= 60


def test_colour_greys_what_never_ran() -> None:
    text = render(annotate(recorded(), project_of(SOURCE)), color=True, width=100)
    assert "\x1b[90m" in text and "never ran" not in text


def test_nothing_at_all_is_drawn_too() -> None:
    assert render(Annotation("a.py:B", "eval"), color=False, width=80) == "a.py:B (eval)\n"


# --write ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# [bs, 64, 56, 56]", "# [8, 64]"),
        ("# [bs, 64, 56, 56] after the pool", "# [8, 64] after the pool"),
        ("# (B, C, H, W)", "# [8, 64]"),
        ("# B x 64 x 56 x 56", "# [8, 64]"),
        ("# torch.Size([8, 32])", "# [8, 64]"),
        ("# -> 8×512", "# -> [8, 64]"),
        ("# x: [N, 512]", "# x: [8, 64]"),
        ("# shape: [N, 512], flat", "# shape: [8, 64], flat"),
        ("# [8, 3, 4] -> [8, 4, 3]", "# [8, 3, 4] -> [8, 64]"),
        ("#[8, 64]", "#[8, 64]"),
        ("# [8, 64] int32 ids", "# [8, 64] ids"),
        # No shape comments: they stay as they are.
        ("# the stem", "# the stem  # [8, 64]"),
        ("# noqa: E501", "# noqa: E501  # [8, 64]"),
        ("# noqa: E501  # [8, 32]", "# noqa: E501  # [8, 64]"),
        ("# see [1]", "# see [1]  # [8, 64]"),
        ("# [1] explains it", "# [1] explains it  # [8, 64]"),
        ("# weights of [1, 2, 3] each", "# weights of [1, 2, 3] each  # [8, 64]"),
    ],
)
def test_only_shape_comments_are_replaced(before: str, after: str) -> None:
    shapes = {"x": ["[8, 64]"]}
    assert restated(before, shapes) == after
    assert restated(after, shapes) == after


def test_what_is_stated() -> None:
    assert stated({"x": ["[8, 64]", "[8, 64]"]}) == "[8, 64]"
    assert stated({"x": ["[8, 64] int64", "[8, 32] int64"]}) == "[8, 64] ... [8, 32] int64"
    assert stated({"a": ["[8, 2]"], "b": ["[8, 3]"]}) == "a: [8, 2], b: [8, 3]"
    assert stated({"x": ["[8]"]}) == "x: [8]"


sizes = st.lists(st.integers(0, 10**8), max_size=9).map(lambda s: f"[{', '.join(map(str, s))}]")
shapes_bound = st.dictionaries(
    st.sampled_from(["x", "y", "out", "größe"]),
    st.lists(st.builds(str.__add__, sizes, st.sampled_from(["", " int64", " bool"])), min_size=1),
    min_size=1,
    max_size=3,
)
pieces = st.sampled_from(
    [
        *("[B, T, C]", "->", "(8, 4)", "x:", "out", "shape", "#", "# ", " ", "[8]", "8 x 3 x 4"),
        *("torch.Size([8, 4])", ":", ",", "noqa", "...", "int64", "[8, 64]", "y: [8, 64]", "and"),
    ]
)
written = st.one_of(
    st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"])),
    st.lists(pieces).map("".join),
    st.lists(pieces).map(" ".join),
)


@given(written, shapes_bound)
@example("[8, 64]", {"x": ["[8, 64]"]})
def test_comments_are_stable(text: str, shapes: dict[str, list[str]]) -> None:
    once = restated(f"#{text}".rstrip(), shapes)
    assert once.startswith("#") and "\n" not in once
    assert restated(once.rstrip(), shapes) == once.rstrip()


def one_line_trace(path: str, line: int, shape: Shape = (8, 64)) -> Trace:
    forward = Location(path, line - 1, 5, line + 1, 17)
    index = ValueIndex(0)
    return Trace(
        f"{path}:Net",
        path,
        modules=(Module("", "Net", "net.Net", forward=forward, calls=(0,)),),
        calls=(ModuleCall(0, "", None, {"x": index}, index, 0, 0),),
        values=(Value(0, shape, "float32", "computed"),),
        lines=(LineValue(Location(path, line, 9, line, 10), "x", index, 0),),
        complete=True,
    )


@pytest.mark.parametrize(
    ("name", "before", "line", "after"),
    [
        (
            "crlf.py",
            b"class Net:\r\n\tdef forward(self, x):\r\n\t\tx = f(x)\t\r\n\t\treturn x",
            3,
            b"class Net:\r\n\tdef forward(self, x):\r\n\t\tx = f(x)  # [8, 64]\t\r\n\t\treturn x",
        ),
        (
            "latin.py",
            "# coding: latin-1\nclass Net:\n    def forward(self, x):\n"
            "        x = f(x)  # [N, 3] Größe\n        return x\n".encode("latin-1"),
            4,
            "# coding: latin-1\nclass Net:\n    def forward(self, x):\n"
            "        x = f(x)  # [8, 64] Größe\n        return x\n".encode("latin-1"),
        ),
        (
            "notes.md",
            b"- a\r\n\r\n  ```python\r\n  class Net:\r\n      def forward(self, x):\r\n"
            b"          x = f(x)\r\n          return x\r\n  ```\r\n",
            6,
            b"- a\r\n\r\n  ```python\r\n  class Net:\r\n      def forward(self, x):\r\n"
            b"          x = f(x)  # [8, 64]\r\n          return x\r\n  ```\r\n",
        ),
    ],
)
def test_writing_changes_nothing_else(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    before: bytes,
    line: int,
    after: bytes,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.write_bytes(before)
    trace = one_line_trace(name, line)
    assert write_shapes(trace, Project(), None, tmp_path) == [f"{name}: wrote 1 comment"]
    assert path.read_bytes() == after
    said = write_shapes(trace, Project(), None, tmp_path)
    assert said == [f"{name}: every shape is there already"]
    assert path.read_bytes() == after


def test_a_file_outside_the_folder_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(tmp_path)
    text = "class Net:\n    def forward(self, x):\n        x = f(x)\n        return x\n"
    (tmp_path / "net.py").write_text(text)
    (said,) = write_shapes(one_line_trace("net.py", 3), Project(), None, inside)
    assert said == "net.py: not changed: it lies outside the working directory"
    assert (tmp_path / "net.py").read_text() == text


def test_a_guessed_shape_is_not_written() -> None:
    trace = one_line_trace("net.py", 3)
    guessed = Value(0, (8, 64), "float32", "computed", guessed=True)
    source = "class Net:\n    def forward(self, x):\n        x = f(x)\n        return x\n"
    file = project_of(source).file("net.py")
    assert len(list(comment_edits(trace, file, None))) == 1
    again = Trace(
        trace.target,
        trace.path,
        modules=trace.modules,
        calls=trace.calls,
        values=(guessed,),
        lines=trace.lines,
    )
    assert list(comment_edits(again, file, None)) == []


# The command --------------------------------------------------------------------------------

MODEL = """\
import torch
from torch import nn


class Double(nn.Module):
    forward = lambda self, x: x * 2


class Net(nn.Module):
    def __init__(self, features=64):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.twice = Double()
        self.head = nn.Linear(features, 2)

    def forward(self, x):
        x = self.twice(self.conv(x))  # [bs, 9, 9, 9] twice
        x = x.flatten(1)
        x = self.head(x)
        if x.dim() > 2:
            x = torch.relu(x)
        return x
"""


def test_the_command_writes_what_it_shows(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(MODEL)
    run = archcheck(
        "annotate", "net.py:Net", "--input", "8,3,4,4", "--write", cwd=tmp_path, COLUMNS="100"
    )
    assert run.returncode == 0, run.stderr
    assert "net.py: wrote 3 comments" in run.stderr
    assert re.search(r"18 \|     x = x.flatten\(1\) +x: \[8, 64\]\n", run.stdout)
    assert re.search(r"^- 21 \|         x = torch.relu\(x\)$", run.stdout, re.M)
    assert "net.py:6: a forward that is no `def`" in run.stdout
    expected = MODEL.replace("[bs, 9, 9, 9] twice", "[8, 4, 4, 4] twice")
    expected = expected.replace("flatten(1)", "flatten(1)  # [8, 64]")
    expected = expected.replace("self.head(x)", "self.head(x)  # [8, 2]")
    assert (tmp_path / "net.py").read_text() == expected


def test_a_class_from_exec_has_no_source_and_the_rest_is_shown(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\n"
        "def made():\n"
        "    space = {'nn': nn, '__name__': __name__}\n"
        "    text = 'class Made(nn.Module):\\n    def forward(self, x): return x * 2'\n"
        "    exec(text, space)\n"
        "    return space['Made']()\n\n\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.made = made()\n\n"
        "    def forward(self, x):\n"
        "        x = self.made(x)\n"
        "        return x\n"
    )
    run = archcheck("annotate", "net.py:Net", "--input", "8,3", cwd=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "`Made` has no Python source that can be shown" in run.stdout
    assert re.search(r"x = self.made\(x\) +x: \[8, 3\]", run.stdout)


def test_the_command_shows_a_failing_model_and_exits_with_one(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(MODEL)
    run = archcheck("annotate", "net.py:Net(features=65)", "--input", "8,3,4,4", cwd=tmp_path)
    assert run.returncode == 1, run.stderr
    assert re.search(
        r"^✗ 19 \|     x = self.head\(x\).*\n.*got \[8, 64\], expects", run.stdout, re.M
    )
    assert "return: [8, 2]" in run.stdout


@pytest.mark.parametrize(
    ("arguments", "usage_error"),
    [
        (("net.py",), "names no model"),
        (("net.py:Nope",), "Nope"),
        (("net.py:Net", "--input", "8,x!"), "--input"),
    ],
)
def test_a_wrong_call_exits_with_two_and_one_line(
    tmp_path: Path, arguments: tuple[str, ...], usage_error: str
) -> None:
    (tmp_path / "net.py").write_text(MODEL)
    run = archcheck("annotate", *arguments, cwd=tmp_path)
    assert (run.returncode, run.stdout) == (2, "")
    assert len(run.stderr.splitlines()) == 1 and usage_error in run.stderr
