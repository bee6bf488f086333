"""How long the source model takes, against parsing the same files.

    python benchmarks/source_speed.py FOLDER…

Every file below the folders is read, parsed, and asked everything that rules ask. The table gives
processor seconds for each step in one process, and the ratio of the whole to `ast.parse` of the
same texts in the same run. Nothing is kept from one pass to the next; the smallest of three passes
counts.
"""

from __future__ import annotations

import ast
import gc
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from archcheck.source import Project, SourceFile


def files_below(folders: list[str]) -> list[Path]:
    return sorted(path for folder in folders for path in Path(folder).rglob("*.py"))


def parse_only(paths: list[Path]) -> None:
    for path in paths:
        ast.parse(path.read_text(encoding="utf-8"))


def scan(file: SourceFile) -> None:
    if file.is_relevant:
        len(file.scopes)


def names(file: SourceFile) -> None:
    file.calls_to("torch.nn.functional.softmax")
    file.calls_named("backward")


def classes(file: SourceFile) -> None:
    for module in file.modules:
        len(module.submodules), len(module.uses), module.constructor
        for use in module.uses:
            module.surely_lacks(use.name)
        for submodule in module.submodules:
            module.surely_never_reads(submodule.attribute)


def chains(file: SourceFile) -> None:
    for chain in file.chains:
        for before, after in chain.pairs():
            _ = before.operation, after.operation


def scripts(file: SourceFile) -> None:
    len(file.losses), len(file.loops)


STEPS: dict[str, Callable[[SourceFile], None]] = {
    "parse": lambda file: None if file.tree else None,
    "scan": scan,
    "calls and names": names,
    "classes": classes,
    "chains and flow": chains,
    "losses and loops": scripts,
}


def measure(paths: list[Path]) -> Iterator[tuple[str, float]]:
    start = time.process_time()
    parse_only(paths)
    yield "ast.parse", time.process_time() - start
    spent = dict.fromkeys(("read", *STEPS), 0.0)
    start = time.process_time()
    project = Project(paths[0].parent)
    for path in paths:
        begin = time.process_time()
        file = project.file(path)
        spent["read"] += time.process_time() - begin
        for name, step in STEPS.items():
            begin = time.process_time()
            step(file)
            spent[name] += time.process_time() - begin
    whole = time.process_time() - start
    yield from spent.items()
    yield "whole", whole


def main() -> None:
    paths = files_below(sys.argv[1:])
    lines = sum(path.read_bytes().count(b"\n") for path in paths)
    best: dict[str, float] = {}
    # What is freed in one pass must not be paid for in the next.
    gc.disable()
    for _ in range(3):
        for name, seconds in measure(paths):
            best[name] = min(seconds, best.get(name, seconds))
        gc.collect()
    print(f"{len(paths)} files, {lines} lines")
    for name, seconds in best.items():
        print(f"{name:18} {seconds:7.2f} s   {seconds / best['ast.parse']:5.2f} × ast.parse")


if __name__ == "__main__":
    main()
