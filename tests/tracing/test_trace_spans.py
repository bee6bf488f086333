"""Where things ran: the sub-expression, the line's names, the user's own frames."""

from __future__ import annotations

import linecache
from pathlib import Path
from typing import Any

import pytest

from archcheck.evidence.records import ValueIndex
from archcheck.evidence.trace import Trace

torch = pytest.importorskip("torch")

from archcheck.tracing.ladder import TensorSpec, trace_module  # noqa: E402

SOURCE = """\
import torch
import torch.nn.functional as F
from torch import nn


def helper(x):
    y = x.relu()
    return y.tanh()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.höhe = nn.Linear(4, 4)
        self.blocks = nn.ModuleList(
            nn.Linear(4, 4) for _ in range(3)
        )

    def forward(self, x):
        größe = 1; out = x + self.höhe(x) * größe
        first, (second, *rest) = out, (out + 1, out + 2, out + 3)
        for block in self.blocks:
            x = block(x)
        out += x
        pairs = [F.gelu(item) for item in (first, second)]
        if x.shape[0] > 100:
            x = x - 1
        z = helper(
            torch.cat(pairs)
        )
        done = z
        return done.sum(), rest
"""


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    path = tmp_path / "net.py"
    path.write_text(SOURCE, encoding="utf-8")
    names: dict[str, Any] = {"__name__": "net"}
    exec(compile(SOURCE, str(path), "exec"), names)
    linecache.checkcache(str(path))
    return trace_module(
        names["Net"], [TensorSpec((2, 4))], target="net", path=str(path), user_files=[str(path)]
    )


def text_at(location: Any) -> str:
    lines = SOURCE.splitlines()
    if location.line == location.end_line:
        return lines[location.line - 1][location.column - 1 : location.end_column - 1]
    return lines[location.line - 1][location.column - 1 :]


def test_ops_stand_at_their_sub_expression(trace: Trace) -> None:
    assert not trace.failures
    spans = [(op.name, text_at(op.location)) for op in trace.ops]
    assert spans[:3] == [
        ("linear", "self.höhe(x)"),
        ("mul", "self.höhe(x) * größe"),
        ("add", "x + self.höhe(x) * größe"),
    ]
    assert ("gelu", "F.gelu(item)") in spans
    assert ("cat", "torch.cat(pairs)") in spans
    assert ("relu", "x.relu()") in spans
    assert spans[-1] == ("sum", "done.sum()")


def test_calls_stand_at_their_expression(trace: Trace) -> None:
    calls = [(call.path, text_at(call.location)) for call in trace.calls[1:]]
    assert calls[0] == ("höhe", "self.höhe(x)")
    assert calls[1:] == [(f"blocks.{place}", "block(x)") for place in range(3)]
    assert trace.calls[0].location is None


def test_where_modules_were_constructed(trace: Trace) -> None:
    places = {module.path: module.constructed for module in trace.modules}
    assert text_at(places["höhe"]) == "nn.Linear(4, 4)"
    assert places["höhe"].line == 14
    assert {places[f"blocks.{place}"].line for place in range(3)} == {16}
    assert text_at(places["blocks"]).startswith("nn.ModuleList(")


def test_lines_bind_names_to_values(trace: Trace) -> None:
    # From Python 3.12 on, a comprehension's name is the function's own.
    bound = [(one.location.line, one.name) for one in trace.lines if one.name != "item"]
    assert bound == [
        (20, "out"),
        (21, "first"),
        (21, "second"),
        (21, "rest"),
        (23, "x"),
        (23, "x"),
        (23, "x"),
        (24, "out"),
        (25, "pairs"),
        (7, "y"),
        (28, "z"),
        (31, "done"),
        (32, "return"),
    ]
    shapes = {
        line.name: trace.values[line.value.index].shape
        for line in trace.lines
        if isinstance(line.value, ValueIndex)
    }
    assert shapes["z"] == (4, 4)
    rest = next(line for line in trace.lines if line.name == "rest")
    assert len(rest.value) == 2
    assert text_at(rest.location) == "rest"


def test_a_loop_binds_a_new_value_each_time(trace: Trace) -> None:
    values = [line.value.index for line in trace.lines if line.name == "x"]
    assert len(set(values)) == 3
    assert [trace.calls[2 + place].outputs.index for place in range(3)] == values


def test_code_that_reads_its_locals_is_left_alone(tmp_path: Path) -> None:
    source = (
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def forward(self, x):\n"
        "        y = x + 1\n"
        "        names = locals()\n"
        "        z = y + 1\n"
        "        assert set(names) >= {'x', 'y'}, names\n"
        "        return z\n"
    )
    path = tmp_path / "net.py"
    path.write_text(source)
    names: dict[str, Any] = {"__name__": "net"}
    exec(compile(source, str(path), "exec"), names)
    trace = trace_module(names["Net"], [TensorSpec((2,))], user_files=[str(path)])
    assert not trace.failures
    assert not trace.lines
