"""Trace 500 targets in one call, every tenth of them misbehaving, and see that nothing is lost.

    python benchmarks/soak.py [targets]

Prints what the targets gave against what they should, how long it took, how many workers it
needed, how their memory went, and which processes were left.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from archcheck.core.target import TraceRequest, UsageError, parse_input, parse_target
from archcheck.worker.process.client import Workers
from archcheck.worker.process.limits import descendants, resident_memory

HEAD = """\
import ctypes, os, subprocess, sys, threading, time
import torch
from torch import nn
from helper import WIDTH

"""
NET = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.norm = nn.BatchNorm2d(WIDTH)
        self.last = nn.Linear(WIDTH, 10)
{construct}
    def forward(self, x):
{forward}
        x = torch.relu(self.norm(self.first(x)))
        return self.last(x.mean((2, 3)))
"""

# What each way of misbehaving puts at import, in the constructor and in forward, and the stage
# of the failure that must come of it; None where the model is traced nevertheless.
WAYS: dict[str, tuple[str, str, str, str | None]] = {
    "raises at import": ("NEEDED = 1 / 0", "", "", "import"),
    "exits at import": ("NEEDED = sys.exit(1)", "", "", "import"),
    "ends the process": ("NEEDED = os._exit(7)", "", "", "import"),
    "hangs at import": ("NEEDED = time.sleep(1000)", "", "", "limit"),
    "reads standard input": ("NEEDED = input()", "", "", "import"),
    "allocates a terabyte": ("NEEDED = bytearray(1 << 40)", "", "", "limit"),
    "segfaults at import": ("NEEDED = ctypes.string_at(0)", "", "", "import"),
    "lacks a package": ("import absent_package as NEEDED", "NEEDED.start()", "", "import"),
    "raises in the constructor": ("", "raise KeyError('width')", "", "construct"),
    "spins in the constructor": ("", "while True: pass", "", "limit"),
    "forks without end": ("", "while True: os.fork()", "", "construct"),
    "recurses in forward": ("", "", "self.forward(x)", "forward"),
    "segfaults in forward": ("", "", "ctypes.string_at(0)", "forward"),
    "raises in forward": ("", "", "raise ValueError('no')", "forward"),
    "prints a megabyte": ("", "print('x' * (1 << 20))", "", None),
    "leaves a process": (
        "NEEDED = subprocess.Popen(['sleep', '998877'], start_new_session=True)", "", "", None,
    ),
    "leaves a thread": (
        "NEEDED = threading.Thread(target=time.sleep, args=(1000,)).start()", "", "", None,
    ),
    "changes directory": ("NEEDED = os.chdir('/')", "", "", None),
    "changes torch": ("NEEDED = torch.set_default_dtype(torch.float64)", "", "", None),
    "closes its output": ("NEEDED = sys.stdout.close()", "", "", None),
}  # fmt: skip


def main(count: int) -> int:
    wrong: list[str] = []
    memory: list[int] = []
    ways = Counter[str]()
    workers = 0
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        expected = list(_write_targets(Path(name), count))
        requests = [
            TraceRequest(
                parse_target(f"{path}:Net"),  # type: ignore[arg-type]
                (parse_input("4,3,16,16"),),
                timeout=6.0,
            )
            for path, _, _ in expected
        ]
        begun = time.perf_counter()
        with Workers() as pool:
            pool.start(requests)
            process = None
            for (path, way, stage), outcome in zip(expected, pool.results(), strict=True):
                if pool._process is not process and pool._process is not None:
                    process, workers = pool._process, workers + 1
                if process is not None:
                    memory.append(resident_memory(process._process.pid) or 0)
                ways[way] += 1
                if isinstance(outcome, UsageError):
                    wrong.append(f"{path} ({way}): {outcome}")
                    continue
                stages = [failure.stage for failure in outcome.failures]
                if stages != ([] if stage is None else [stage]):
                    wrong.append(f"{path} ({way}): {outcome.failures}")
                elif way == "behaves" and {
                    parameter.dtype for parameter in outcome.parameters if not parameter.buffer
                } != {"float32"}:
                    wrong.append(f"{path} ({way}): parameters of another dtype")
        seconds = time.perf_counter() - begun
        os.chdir("/")
    time.sleep(0.5)
    left = [child for child in descendants(os.getpid()) if _is_running(child)]
    left += [int(p.parent.name) for p in Path("/proc").glob("[0-9]*/cmdline") if _sleeps(p)]
    held = [amount >> 20 for amount in memory if amount > 1 << 20]
    print(f"{'targets':<28}{count}")
    print(f"{'misbehaving':<28}{count - ways['behaves']} in {len(ways) - 1} ways")
    print(f"{'wrong outcomes':<28}{len(wrong)}")
    print(f"{'seconds':<28}{seconds:.1f}")
    print(f"{'workers started':<28}{workers}")
    print(f"{'worker memory, MiB':<28}{min(held)} to {max(held)}, last {held[-1]}")
    print(f"{'parent memory, MiB':<28}{(resident_memory(os.getpid()) or 0) >> 20}")
    print(f"{'processes left':<28}{len(left)}")
    print(f"{'torch in the parent':<28}{'torch' in sys.modules}")
    for line in wrong[:20]:
        print(line, file=sys.stderr)
    return 1 if wrong or left else 0


def _write_targets(folder: Path, count: int) -> Iterator[tuple[str, str, str | None]]:
    """The files, with how each misbehaves and what must come of it."""
    names = list(WAYS)
    for number in range(count):
        # Twenty-five folders, each with neighbours of the same names.
        place = Path(f"models{number // 20:02}")
        (folder / place).mkdir(exist_ok=True)
        (folder / place / "helper.py").write_text(f"WIDTH = {8 + number // 20}\n")
        way, at_import, construct, forward, stage = "behaves", "", "", "", None
        if number % 10 == 9:
            way = names[number // 10 % len(names)]
            at_import, construct, forward, stage = WAYS[way]
        if at_import.startswith("NEEDED"):
            construct = "self.needed = NEEDED"
        text = (
            HEAD
            + at_import
            + NET.format(
                construct=f"        {construct}\n" if construct else "",
                forward=f"        {forward}" if forward else "",
            )
        )
        path = place / f"net{number % 20}.py"
        (folder / path).write_text(text)
        yield path.as_posix(), way, stage


def _is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _sleeps(path: Path) -> bool:
    try:
        return "998877" in path.read_text()
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 500))
