"""Whatever is planted in one file, in whatever order and kind of file: fixing ends, breaks
nothing, and has nothing left to do."""

from __future__ import annotations

import ast
import json
import os
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archcheck.core.config import Config, Model
from archcheck.core.finding import Severity
from archcheck.core.report import Report
from archcheck.engine.fix.fix_files import FixOptions
from archcheck.engine.pipeline import run
from archcheck.python.documents.read import read_document

pytestmark = pytest.mark.slow

HEAD = """\
import torch
import torch.nn.functional as F
from torch import nn
"""

FIXABLE = {
    "AC101": """\
class NoInit{n}(nn.Module):
    def __init__(self, width):
        \"\"\"Built without the base.\"\"\"
        self.fc = nn.Linear(width, width)

    def forward(self, x):
        return self.fc(x)
""",
    "AC102": """\
class Late{n}(nn.Module):
    def __init__(self, width):
        self.fc = nn.Linear(width, width)
        super().__init__()

    def forward(self, x):
        return self.fc(x)
""",
    "AC103": """\
class Selfless{n}(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(x):
        return self.fc.forward(x)
""",
    "AC105": """\
class Lost{n}(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        if x.dim() == 3:
            x = x.mean(dim=1)
        x = self.fc(x)
""",
    "AC107": """\
class Listed{n}(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = [nn.Linear(width, width) for _ in range(3)]  # three of them

    def forward(self, x):
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x
""",
    "AC110": """\
class Uncalled{n}(nn.Module):
    def __init__(self):
        super().__init__
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return self.fc(x)
""",
    "AC112": """\
class Truth{n}(nn.Module):
    def __init__(self, deep):
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.side = nn.Sequential()
        if deep:
            self.side = nn.Sequential(nn.Linear(4, 4))

    def forward(self, x):
        y = self.body(x)
        if self.side:
            y = y + self.side(x)
        return y
""",
    "AC115": """\
class Direct{n}(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return self.fc.forward(x).relu()
""",
    "AC201": """\
mlp{n} = nn.Sequential(nn.Linear(28 * 28, 100), nn.ReLU(), nn.Linear(784, 10))
""",
    "AC202": """\
width{n} = 16
stem{n} = nn.Sequential(
    nn.Conv2d(3, width{n}, 3),
    nn.ReLU(),
    nn.Conv2d(32, 8, 3),  # what is 32?
)
""",
    "AC203": """\
normed{n} = nn.Sequential(nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
""",
    "AC204": """\
ranked{n} = nn.Sequential(
\tnn.Conv2d(3, 16, 3, bias=False),\tnn.BatchNorm1d(16), nn.ReLU())
""",
    "AC301": """\
class Kept{n}(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        identity = x
        out = self.conv(x)
        return torch.relu(out)
""",
    "AC402": """\
class NoDim{n}(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, tokens):
        weights = F.softmax(self.fc(tokens))
        return torch.bmm(weights, tokens)
""",
    "AC405": """\
class Scores{n}(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 1)

    def forward(self, x):
        return torch.sigmoid(self.fc(x))


def step{n}(x, y):
    return nn.BCEWithLogitsLoss()(Scores{n}()(x), y)
""",
}
UNFIXABLE = {
    "AC104": """\
class Misspelled{n}(nn.Module):
    def foward(self, x):
        return x


misspelled{n} = Misspelled{n}()(torch.zeros(1))
""",
    "AC106": """\
class Twice{n}(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.fc = nn.Linear(4, 8)

    def forward(self, x):
        return self.fc(x)
""",
    "clean": """\
class Clean{n}(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return self.fc(x)
""",
}
PIECES = {**FIXABLE, **UNFIXABLE}


def python(blocks: list[str]) -> bytes:
    return "\n\n".join(blocks).encode()


def with_returns(blocks: list[str]) -> bytes:
    return python(blocks).replace(b"\n", b"\r\n")


def with_mark(blocks: list[str]) -> bytes:
    return b"\xef\xbb\xbf" + python(["# Größe\n", *blocks])


def markdown(blocks: list[str]) -> bytes:
    return "Some *text*.\n\n".join(f"```python\n{block}```\n\n" for block in blocks).encode()


def quoted(blocks: list[str]) -> bytes:
    lines = markdown(blocks).decode().splitlines()
    return "\n".join(f"> {line}".rstrip() for line in lines).encode()


def notebook(blocks: list[str]) -> bytes:
    cells = [
        {"cell_type": "code", "metadata": {}, "outputs": [], "source": block.splitlines(True)}
        for block in blocks
    ]
    book = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(book, indent=1).encode()


KINDS = {
    "python": ("net.py", python),
    "returns": ("net.py", with_returns),
    "mark": ("net.py", with_mark),
    "markdown": ("net.md", markdown),
    "quoted": ("net.md", quoted),
    "notebook": ("net.ipynb", notebook),
}


def checked(name: str, mending: FixOptions | None = None) -> Report:
    config = Config(ignore=("AC5", "AC6"))
    return run([name], config, Model(""), root=Path(), mending=mending)


def known(report: Report) -> Counter[tuple[str, str | None]]:
    return Counter(
        (finding.code, finding.scope)
        for finding in report.findings
        if finding.severity and finding.severity >= Severity.WARNING
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("code", FIXABLE)
def test_each_piece_has_its_defect_and_loses_it(code: str, folder: Path) -> None:
    Path("net.py").write_bytes(python([HEAD, FIXABLE[code].format(n=1)]))
    assert code in {finding.code for finding in checked("net.py").findings}
    report = checked("net.py", FixOptions(unsafe=True))
    assert report.findings == ()


@settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    st.lists(st.sampled_from(sorted(PIECES)), min_size=1, max_size=7),
    st.sampled_from(sorted(KINDS)),
    st.booleans(),
)
def test_fixing_ends_and_breaks_nothing(pieces: list[str], kind: str, unsafe: bool) -> None:
    name, write = KINDS[kind]
    blocks = [HEAD, *(PIECES[piece].format(n=n) for n, piece in enumerate(pieces))]
    before_in, start = os.getcwd(), None
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        try:
            file = Path(name)
            file.write_bytes(write(blocks))
            start = checked(name)
            fixed = checked(name, FixOptions(unsafe=unsafe))
            once = file.read_bytes()
            after = checked(name)
            again = checked(name, FixOptions(unsafe=unsafe))
            twice = file.read_bytes()
        finally:
            os.chdir(before_in)
    assert start.defects == fixed.defects == after.defects == ()
    ast.parse(read_document(file, data=once).code)
    # A forward without self hides what is in it, and here it hides nothing that is not mended.
    assert not known(after) - known(start)
    assert {(f.code, f.location) for f in after.findings} == {
        (f.code, f.location) for f in fixed.findings
    }
    assert twice == once and again.repairs is not None and again.repairs.fixed == 0
    left = {f.fix.safety for f in after.findings if f.fix is not None}
    assert left <= (set() if unsafe else {"unsafe"})
    if unsafe:
        assert {f.code for f in after.findings} <= UNFIXABLE.keys()


# Traced models --------------------------------------------------------------------------------

# A network of two convolutions and a head, and what may be wrong with each of its lines.
NET = """\
class Net{n}(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.act = nn.ReLU()
        self.second = nn.Conv2d(width, 8, 3, padding=1)
        self.head = nn.Linear(8 * 4 * 4, 10)

    def forward(self, x):
        x = self.act(self.norm(self.first(x)))
        x = F.relu(self.second(x))  # [2, 8, 8, 8]
        x = F.max_pool2d(x, 2)
        return F.log_softmax(self.head(x.flatten(1)), dim=1)
"""
PLANTED = (
    ("        super().__init__()\n", ""),
    ("super().__init__()", "super().__init__"),
    ("BatchNorm2d(width)", "BatchNorm1d(width)"),
    ("BatchNorm2d(width)", "BatchNorm2d(32)"),
    ("Conv2d(width, 8", "Conv2d(4, 8"),
    ("Linear(8 * 4 * 4, 10)", "Linear(8 * 7 * 7, 10)"),
    ("# [2, 8, 8, 8]", "# [2, 8, 4, 4]"),
    ("self.head(x", "self.head.forward(x"),
    ("def forward(self, x)", "def forward(x)"),
    ("(1)), dim=1)", "(1)))"),
    ("F.max_pool2d(x, 2)", "F.dropout(F.max_pool2d(x, 2))"),
)


def planted(random: Random, n: int) -> str:
    text = NET.format(n=n)
    for right, wrong in random.sample(PLANTED, random.randint(1, 5)):
        text = text.replace(right, wrong)
    return text


@pytest.mark.parametrize("seed", [1, 2])
def test_traced_models_are_mended_whatever_is_planted(seed: int, folder: Path) -> None:
    random = Random(seed)
    count = 4
    texts = [planted(random, n) for n in range(count)]
    Path("net.py").write_text("\n\n".join([HEAD, *texts]))
    models = tuple(Model(f"net.py:Net{n}", ("2,3,8,8",)) for n in range(count))
    first, second = (
        run(None, Config(models=models), Model(""), root=Path(), mending=FixOptions())
        for _ in range(2)
    )
    ast.parse(Path("net.py").read_text())
    assert first.defects == first.usage_errors == ()
    assert first.findings == second.findings == ()
    assert second.repairs is not None and second.repairs.diff == ""
    assert all(target.complete for target in first.targets)
