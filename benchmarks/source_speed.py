"""How long checking from source takes, against parsing the same files, and beside other linters.

    python benchmarks/source_speed.py [--questions] FOLDER…

The first table is of one process: processor seconds for reading, parsing and each part of the
source model, then for every source rule that runs by default, and the ratio of the whole to
`ast.parse` of the same texts in the same run; the best of three passes, nothing kept between them.
With `--questions`, everything that rules can ask of the model is asked in place of the rules.

The second table is of whole commands, in seconds by the clock, on as many cores as they take:
archcheck, ruff with all its rules, and TorchFix, where they are installed.
"""

from __future__ import annotations

import ast
import gc
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from archcheck.rule import load_rules
from archcheck.source import Project, SourceFile

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
    start = time.process_time()
    project = Project(paths[0].parent)
    for path in paths:
        begin = time.process_time()
        file = project.file(path)
        spent["read"] += time.process_time() - begin
        for name, step in steps:
            begin = time.process_time()
            step(file)
            spent[name] += time.process_time() - begin
    whole = time.process_time() - start
    yield from spent.items()
    yield "whole", whole


def commands(folders: list[str]) -> Iterator[tuple[str, list[str]]]:
    beside = Path(sys.executable).parent
    for name, options in (
        ("archcheck", ["--quiet"]),
        ("ruff", ["check", "--select", "ALL", "--no-cache", "--exit-zero", "--quiet"]),
        ("torchfix", ["--select", "ALL"]),
    ):
        found = shutil.which(name, path=str(beside)) or shutil.which(name)
        if found is not None:
            yield name, [found, *options, *folders]


def main() -> None:
    folders = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    steps = QUESTIONS if "--questions" in sys.argv else rules()
    paths = files_below(folders)
    lines = sum(path.read_bytes().count(b"\n") for path in paths)
    best: dict[str, float] = {}
    # Trees of a whole package would be walked by the collector again and again.
    gc.disable()
    for _ in range(3):
        for name, seconds in measure(paths, steps):
            best[name] = min(seconds, best.get(name, seconds))
        gc.collect()
    print(f"{len(paths)} files, {lines} lines")
    for name, seconds in best.items():
        if seconds >= 0.01 * best["ast.parse"]:
            print(f"{name:36} {seconds:7.2f} s   {seconds / best['ast.parse']:5.2f} × ast.parse")
    if "--questions" not in sys.argv:
        for name, command in commands(folders):
            start = time.perf_counter()
            subprocess.run(command, capture_output=True, check=False)
            print(f"{name:36} {time.perf_counter() - start:7.2f} s   by the clock")


if __name__ == "__main__":
    main()
