"""Inject each defect of AC1 to AC4 into clean models, and count which ones are found.

    python benchmarks/mutations.py [CODE…] [--awkward | --models NAME…] [--misses]

Each mutation is one mechanical change of one place in a model of fixtures/clean: a sum is dropped,
a call, a width changed, a norm swapped, a softmax appended (benchmarks/mutants holds them all).
Every mutant is checked as a user would check it, traced and from source, and is found when a
finding of its rule is there that the clean model does not have. Every mutant is really run, too, on
fixed random numbers, weights included. The columns:

    same    mutants that do what the clean model does: outputs, parameters, gradients, exception.
            They are not counted, unless the rule is about the text alone.
    crash   mutants that raise where the rule is about models that run: the defect is another one.
    recall  found / (mutants - same - crash)
    beside  other new findings at warning or above, beside that of the rule: one defect should be
            one finding.

`--awkward` takes the models of fixtures/clean/awkward, which look like defects and are none, in
place of the plain ones. There a mutation may well make another defect than the one it is made for.
`--misses` prints the mutants that were not found, what running them showed, and what was said.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mutants.behaviour import Behaviour, behaviour
from mutants.clean import FOLDER, Clean, Mutant, clean_files, read
from mutants.definition import DEFINITION
from mutants.losses import LOSSES
from mutants.shapes import SHAPES
from mutants.wiring import WIRING

from archcheck.core.config import Config, Model
from archcheck.core.finding import Finding, Severity
from archcheck.engine.pipeline import run

MUTATIONS = DEFINITION | SHAPES | WIRING | LOSSES
# Rules whose defects a run on the CPU need not show: they are about the text, or other devices.
OF_THE_TEXT = frozenset("AC106 AC112 AC115 AC117 AC212 AC213 AC216 AC307 AC402".split())
# Rules about models that run: a mutant that raises has another defect.
SILENT = frozenset("AC108 AC210 AC301 AC302 AC304 AC308".split())
# One defect is one finding: a softmax without dim that lands on the batch is the latter.
ALSO = {"AC402": "AC403"}


@dataclass(frozen=True, slots=True)
class Case:
    """A file to check: a clean one, or a mutant of the clean one at `origin`."""

    path: str
    clean: Clean
    origin: str
    mutant: Mutant | None = None

    @property
    def text(self) -> str:
        return self.mutant.text if self.mutant is not None else self.clean.text

    @property
    def models(self) -> Iterator[Model]:
        """What it is traced with."""
        options = dict(self.mutant.options) if self.mutant is not None else {}
        renamed = options.pop("target", None)
        for model in self.clean.models:
            name = renamed or model.target.rpartition(":")[2]
            inputs = self.mutant.inputs if self.mutant is not None else None
            inputs = inputs or model.inputs
            yield replace(model, target=f"{self.path}:{name}", inputs=inputs, **options)  # type: ignore[arg-type]

    def runs(self) -> tuple[Behaviour, ...]:
        return tuple(
            behaviour(self.text, model, model.target.rpartition(":")[2]) for model in self.models
        )


@dataclass(slots=True)
class Row:
    """One rule's line of the table."""

    code: str
    same: int = 0
    crash: int = 0
    found: int = 0
    missed: int = 0
    beside: Counter[str] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self.beside = Counter()

    def __str__(self) -> str:
        counted = self.found + self.missed
        recall = f"{100 * self.found / counted:.0f} %" if counted else "-"
        others = ", ".join(f"{code} {count}" for code, count in sorted(self.beside.items()))
        total = counted + self.same + self.crash
        return (
            f"{self.code}  {total:7}  {self.same:4}  {self.crash:5}  {self.found:5}  {recall:>6}"
            f"  {others or '-'}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("codes", nargs="*")
    parser.add_argument("--awkward", action="store_true")
    parser.add_argument("--models", nargs="+", help="the names of files of fixtures/clean")
    parser.add_argument("--misses", action="store_true")
    arguments = parser.parse_args()
    files = [read(path) for path in clean_files() if _is_asked(path, arguments)]
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        print("rule   mutants  same  crash  found  recall  beside")
        total = Row("all  ")
        for code in MUTATIONS:
            if not arguments.codes or code.startswith(tuple(arguments.codes)):
                row, misses = measured(code, files)
                print(row, flush=True)
                print(*misses if arguments.misses else (), sep="", end="", flush=True)
                missed += row.missed
                for name in ("same", "crash", "found", "missed", "beside"):
                    setattr(total, name, getattr(total, name) + getattr(row, name))
        print(total)
    return 1 if missed else 0


def _is_asked(path: Path, arguments: argparse.Namespace) -> bool:
    if arguments.models:
        return path.stem in arguments.models
    return (path.parent != FOLDER) is arguments.awkward


def measured(code: str, files: list[Clean]) -> tuple[Row, list[str]]:
    """A rule's line of the table, and a text about each mutant that was not found."""
    cases = list(_cases(code, files))
    said = _said(cases) if cases else {}
    row, misses = Row(code), []
    before: dict[str, tuple[Behaviour, ...]] = {}
    for case in cases:
        if case.mutant is None:
            before[case.path] = case.runs()
            continue
        known = {_key(finding) for finding in said[case.origin]}
        new = [finding for finding in said[case.path] if _key(finding) not in known]
        own = [finding for finding in new if finding.code in (code, ALSO.get(code))]
        change = _change(case, before[case.origin])
        if not change and code not in OF_THE_TEXT:
            row.same += 1
        elif code in SILENT and change.startswith("raises"):
            row.crash += 1
        elif own:
            row.found += 1
            row.beside.update(
                finding.code
                for finding in new
                if finding not in own and finding.severity >= Severity.WARNING
            )
        else:
            row.missed += 1
            others = "; ".join(f"{finding.code} {finding.message}" for finding in new) or "nothing"
            misses.append(f"    {case.clean.name}, {case.mutant.what}\n")
            misses.append(f"        run: {change or 'the same'}\n        said: {others}\n")
    return row, misses


def _cases(code: str, files: list[Clean]) -> Iterator[Case]:
    """The clean files that can be mutated, each followed by its mutants, all of them written."""
    for clean in files:
        mutants: list[Mutant | None] = [None, *MUTATIONS[code](clean)]
        origin = f"{code}/{clean.name}_0/{clean.name}.py"
        for number, mutant in enumerate(mutants if len(mutants) > 1 else []):
            # A folder of its own: files side by side may speak of each other's classes.
            path = f"{code}/{clean.name}_{number}/{clean.name}.py"
            case = Case(path, clean, origin, mutant)
            Path(path).parent.mkdir(parents=True)
            Path(path).write_text(case.text, encoding="utf-8")
            yield case


def _said(cases: list[Case]) -> dict[str, list[Finding]]:
    config = Config(
        select=("ALL",),
        paths=tuple(case.path for case in cases),
        models=tuple(model for case in cases for model in case.models),
    )
    said: dict[str, list[Finding]] = {case.path: [] for case in cases}
    for finding in run(None, config, Model(""), root=Path()).findings:
        said[finding.location.path].append(finding)
    return said


def _key(finding: Finding) -> object:
    return finding.code, finding.severity, finding.message


def _change(case: Case, before: tuple[Behaviour, ...]) -> str:
    """How a mutant behaves otherwise than the clean model; nothing where it does not."""
    assert case.mutant is not None
    if not before or case.mutant.options or case.mutant.inputs:
        return "asked otherwise" if case.mutant.options else "not run"
    found = [now.differs_by(was) for now, was in zip(case.runs(), before, strict=True)]
    return next(filter(None, found), "")


if __name__ == "__main__":
    sys.exit(main())
