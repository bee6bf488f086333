"""How long checking from source takes, against parsing the same files, and beside other linters.

    python benchmarks/source_speed.py [--questions] [--torchfix PATH] FOLDER…

The first table is of one process: processor seconds for reading, parsing and each part of the
source model, then for every source rule that runs by default, and the ratio of the whole to
`ast.parse` of the same texts in the same run; the best of three passes, nothing kept between them,
and in a pass as little as a process keeps that reads many files. The whole is measured apart, for
so many looks at the clock take their time.
With `--questions`, everything that rules can ask of the model is asked in place of the rules.

The second table is of single files of about 1,000 lines, each checked in a process that is warm,
as an editor's is, but in a project of its own: what the file imports is read and parsed anew.

The third table is of whole commands, on as many cores as they take: archcheck, ruff with all its
rules, and TorchFix with all of its own (`--torchfix` says where, if it is not on the PATH), in
seconds by the clock, in processor seconds of all their processes, and as a ratio of these to the
same `ast.parse`.
"""

from __future__ import annotations

import argparse
import ast
import gc
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from archcheck.core.config import Config
from archcheck.core.rule import load_rules
from archcheck.engine.run_rules import read_file
from archcheck.engine.selection import Selection
from archcheck.python import Project, SourceFile

# How many lines a file of about 1,000 has.
ABOUT_A_THOUSAND = range(900, 1101)

Step = tuple[str, Callable[[SourceFile], None]]


def files_below(folders: list[str]) -> list[Path]:
    return sorted(path for folder in folders for path in Path(folder).rglob("*.py"))


def parse_only(paths: list[Path]) -> None:
    for path in paths:
        ast.parse(path.read_text(encoding="utf-8"))


def parse(file: SourceFile) -> None:
    len(file.tree.body)


def scan(file: SourceFile) -> None:
    if file.is_relevant:
        len(file.scopes)


def names(file: SourceFile) -> None:
    file.calls_to("torch.nn.functional.softmax")
    file.calls_named("backward")


def classes(file: SourceFile) -> None:
    for module in file.modules:
        _ = module.submodules, module.uses, module.constructor
        for use in module.uses:
            module.surely_lacks(use.name)
        for submodule in module.submodules:
            module.surely_never_reads(submodule.attribute)


def chains(file: SourceFile) -> None:
    for chain in file.chains:
        for before, after in chain.pairs():
            _ = before.operation, after.operation


def scripts(file: SourceFile) -> None:
    _ = file.losses, file.loops


QUESTIONS: list[Step] = [
    ("parse", parse), ("scan", scan), ("calls and names", names), ("classes", classes),
    ("chains and flow", chains), ("losses and loops", scripts),
]  # fmt: skip


def rules() -> list[Step]:
    """The parts that all rules share, then the rules."""

    def ask(readers: list[Callable[[SourceFile], object]]) -> Callable[[SourceFile], None]:
        def step(file: SourceFile) -> None:
            for reader in readers:
                list(reader(file))  # type: ignore[call-overload]

        return step

    return [
        *QUESTIONS[:3],
        *(
            (f"{rule.code} {rule.name}", ask(list(rule.source_readers)))
            for rule in load_rules()
            if rule.source_readers and rule.runs_by_default
        ),
    ]


def measure(paths: list[Path], steps: list[Step]) -> Iterator[tuple[str, float]]:
    start = time.process_time()
    parse_only(paths)
    yield "ast.parse", time.process_time() - start
    spent = dict.fromkeys(("read", *(name for name, _ in steps)), 0.0)
    project = Project(paths[0].parent)
    for path in paths:
        begin = time.process_time()
        file = project.file(path)
        spent["read"] += time.process_time() - begin
        for name, step in steps:
            begin = time.process_time()
            step(file)
            spent[name] += time.process_time() - begin
        project.release(file)
    yield from spent.items()


def whole(paths: list[Path]) -> float:
    """Processor seconds for all the same without looking at the clock in between."""
    selection = Selection.of(load_rules(), Config())
    start = time.process_time()
    project = Project(paths[0].parent)
    for path in paths:
        read_file(path, project, selection)
        project.release(project.file(path))
    return time.process_time() - start


def latencies(paths: list[Path], clock: Callable[[], float]) -> list[float]:
    """Milliseconds for one file after the other; the best of three each."""
    selection = Selection.of(load_rules(), Config())

    def once(path: Path) -> float:
        start = clock()
        read_file(path, Project(path.parent), selection)
        return (clock() - start) * 1000

    return [min(once(path) for _ in range(3)) for path in paths]


def commands(folders: list[str], torchfix: str | None) -> Iterator[tuple[str, list[str] | None]]:
    """What to call, by name; None for what is not installed."""
    beside = Path(sys.executable).parent
    for name, options in (
        ("archcheck", ["--quiet", "--no-trace", "--no-cache"]),
        ("ruff", ["check", "--select", "ALL", "--no-cache", "--exit-zero", "--quiet"]),
        ("torchfix", ["--select", "ALL"]),
    ):
        found = shutil.which(name, path=str(beside)) or shutil.which(name)
        if name == "torchfix" and torchfix is not None:
            found = torchfix
        yield name, None if found is None else [found, *options, *folders]


def run(command: list[str]) -> tuple[float, float]:
    """Seconds by the clock, and processor seconds of the command with all its children."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    parser.add_argument("--questions", action="store_true")
    parser.add_argument("--torchfix", metavar="PATH")
    asked = parser.parse_args()
    steps = QUESTIONS if asked.questions else rules()
    paths = files_below(asked.folders)
    lines = {path: path.read_bytes().count(b"\n") for path in paths}
    best: dict[str, float] = {}
    # Trees of a whole package would be walked by the collector again and again.
    gc.disable()
    for _ in range(3):
        for name, seconds in measure(paths, steps):
            best[name] = min(seconds, best.get(name, seconds))
        gc.collect()
        best["whole"] = min(whole(paths), best.get("whole", float("inf")))
        gc.collect()
    parsing = best["ast.parse"]
    print(f"{len(paths)} files, {sum(lines.values())} lines")
    for name, seconds in best.items():
        if seconds >= 0.01 * parsing:
            print(f"{name:36} {seconds:7.2f} s   {seconds / parsing:6.2f} × ast.parse")
    if asked.questions:
        return
    middling = [path for path, count in lines.items() if count in ABOUT_A_THOUSAND]
    if middling:
        print(f"\n{len(middling)} files of {ABOUT_A_THOUSAND[0]} to {ABOUT_A_THOUSAND[-1]} lines")
        for name, clock in (("clock", time.perf_counter), ("processor", time.process_time)):
            seen = latencies(middling, clock)
            middle, worst = statistics.median(seen), max(seen)
            print(f"{name:36} {middle:5.0f} ms, the slowest {worst:.0f} ms")
    print(f"\n{'command':36} {'clock':>9} {'processor':>11}")
    for name, command in commands(asked.folders, asked.torchfix):
        if command is None:
            print(f"{name:36} not installed")
            continue
        clock, processor = run(command)
        ratio = processor / parsing
        print(f"{name:36} {clock:7.2f} s {processor:9.2f} s   {ratio:6.2f} × ast.parse")


if __name__ == "__main__":
    main()
