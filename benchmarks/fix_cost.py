"""What proving fixes costs a check that offers them, and what applying them costs.

Usage: python benchmarks/fix_cost.py [RUNS]

Each row is the shortest of some runs, in seconds: a check that tries no fix, the same check with
every fix tried, and one that applies all of them in memory.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import archcheck.engine.fix.fix_files as mend
from archcheck.core.config import Config, Model
from archcheck.core.report import Report
from archcheck.engine.fix.fix_files import FixOptions
from archcheck.engine.pipeline import run

HEAD = "import torch\nfrom torch import nn\nfrom torch.nn import functional as F\n\n\n"
# Four defects, three of them with a safe fix and one with an unsafe one.
DEFECTIVE = """\
class Block{n}(nn.Module):
    def __init__(self, width):
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.layers = [nn.Conv2d(width, width, 1) for _ in range(2)]

    def forward(self, x):
        identity = x
        out = self.conv.forward(x)
        for layer in self.layers:
            out = torch.relu(layer(out))
        return out


"""
TRACED = (
    HEAD
    + """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.fc = nn.Linear(16 * 7 * 7, 10)

    def forward(self, x):
        x = F.max_pool2d(self.norm(self.conv(x)).relu(), 2)
        x = torch.flatten(x, 1)  # [N, 784]
        return F.softmax(self.fc(x))
"""
)


def many_files(count: int) -> dict[str, str]:
    return {f"net{n}.py": HEAD + DEFECTIVE.format(n=n) for n in range(count)}


def one_file(count: int) -> dict[str, str]:
    return {"net.py": HEAD + "".join(DEFECTIVE.format(n=n) for n in range(count))}


def traced(count: int) -> dict[str, str]:
    return {f"net{n}.py": TRACED for n in range(count)}


CASES: tuple[tuple[str, dict[str, str], str], ...] = (
    ("1 file, 4 findings", one_file(1), ""),
    ("50 files, 200 findings", many_files(50), ""),
    ("1 file, 200 findings", one_file(50), ""),
    ("1 traced model", traced(1), "8,3,32,32"),
    ("10 traced models", traced(10), "8,3,32,32"),
)


def seconds(work: Callable[[], Report], runs: int) -> tuple[float, Report]:
    best, report = float("inf"), None
    for _ in range(runs):
        start = time.perf_counter()
        report = work()
        best = min(best, time.perf_counter() - start)
    assert report is not None
    return best, report


def check(files: dict[str, str], size: str, mending: FixOptions | None = None) -> Report:
    models = tuple(Model(f"{name}:Net", (size,)) for name in files) if size else ()
    config = Config(paths=tuple(files), models=models)
    return run(None, config, Model(""), root=Path(), mending=mending)


def main(runs: int) -> None:
    tried = mend.tried
    print(f"{'':26}{'findings':>9}{'fixes':>7}{'plain':>8}{'proven':>8}{'ratio':>7}{'applied':>9}")
    for name, files, size in CASES:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            for path, text in files.items():
                Path(path).write_text(text)
            mend.tried = lambda *_: {}
            plain, _ = seconds(lambda: check(files, size), runs)  # noqa: B023
            mend.tried = tried
            proven, report = seconds(lambda: check(files, size), runs)  # noqa: B023
            every = FixOptions(unsafe=True, write=False)
            applied, _ = seconds(lambda: check(files, size, every), runs)  # noqa: B023
        fixes = sum(finding.fix is not None for finding in report.findings)
        print(
            f"{name:26}{len(report.findings):>9}{fixes:>7}{plain:>8.2f}{proven:>8.2f}"
            f"{proven / plain:>7.1f}{applied:>9.2f}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
