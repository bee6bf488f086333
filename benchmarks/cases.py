"""Run small case files, and hold what archcheck says against what their headers expect.

    python benchmarks/cases.py [PATH…] [-k TEXT] [--failing] [--slack LINES]

A header stands in comments at the head of the file, or above a class; each target begins a case:

    # target: Net(width=8)        a name in this file; `-` checks the source alone
    # input: x=2,8                as for --input; several lines, or several on one line
    # input-from: this.py:make    as for --input-from
    # mode: eval                  default train
    # as: object                  built here, and handed to archcheck.check()
    # expect: AC201|AC202 @ 12|14     one of these codes, on one of these lines (or on any)

Other expectations, which may be joined by `;`: `none` (or `clean`: nothing at warning or above, a
complete trace; `none or not traced` lets it be incomplete), `output [2, 4]`, `macs 64`,
`flops 128`, `peak_activation_bytes 18432` (or `at least 18432`), `says "words of the text report"`
(or `says not "…"`). A docstring with `Right code` expects none, with `Missed: AC107` that code.
What cannot be read is shown with a `?`, to be judged by eye. In a folder without headers its files
are checked from source, as one project, by the one file that says such words.

The exit code is 1 where an expectation is not met.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archcheck.core.config import Config, Model
from archcheck.core.finding import Severity
from archcheck.core.report import Report
from archcheck.core.rule import load_rules
from archcheck.core.target import parse_input
from archcheck.engine.session import Session
from archcheck.output import render
from archcheck.worker.process.client import Workers

ROOT = Path(__file__).parents[1]
FIELD = re.compile(r"^#?\s*(target|input|input-from|mode|as|expect|also-ok):[ \t]*(.*)$")
CODES = r"AC(?:\d{3}|\dxx)(?:[-\w]*)(?:(?:\s*(?:\||,|\bor\b)\s*)AC(?:\d{3}|\dxx))*"
PLACED = re.compile(rf"(?P<codes>{CODES})(?:[^@;.]*@ ?(?P<lines>\d+(?:\|\d+)*))?")
FIGURE = re.compile(r"(macs|flops|peak_activation_bytes)( at least)? (?:what .*? = )?(\d+)")
OUTPUT = re.compile(r"(?<!eager: )output (\[[\d, ]+\](?:, \[[\d, ]+\])*)")
SAYS = re.compile(r'says (not )?"([^"]+)"')


@dataclass(frozen=True, slots=True)
class Case:
    """One header: what to check, and what is expected of it."""

    path: Path
    target: str = "-"
    inputs: tuple[str, ...] = ()
    input_from: str | None = None
    mode: Any = "train"
    as_object: bool = False
    expect: str = ""
    also_ok: str = ""

    @property
    def name(self) -> str:
        named = "" if self.target == "-" else f":{self.target}"
        return f"{self.path.parent.name}/{self.path.name}{named}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case. `verdict`: ok, more (ok, and other findings), WRONG, CRASH or ?."""

    case: Case
    verdict: str
    found: str
    seconds: float
    missed: tuple[str, ...] = field(default=())


# --- reading headers ------------------------------------------------------------------------------


def cases_below(paths: Iterable[Path]) -> Iterator[Case]:
    """Yield every case of files and folders, in order."""
    for path in paths:
        if path.is_file():
            yield from cases_of(path)
        elif path.is_dir():
            yield from _of_folder(path)


def _of_folder(folder: Path) -> Iterator[Case]:
    inside = sorted(path for path in folder.iterdir() if not path.name.startswith(("_", ".")))
    project = _project_case(folder, inside)
    if project is not None:
        yield project
        return
    for path in inside:
        yield from cases_below([path])


def _project_case(folder: Path, inside: Sequence[Path]) -> Case | None:
    """The case of a folder that is checked as a whole: none of its files has a header."""
    files = [path for path in folder.rglob("*") if path.suffix in (".py", ".md")]
    if not files or any(_fields(path) for path in files):
        return None
    told = {path: _told_in_words(path) for path in files}
    if sum(map(bool, told.values())) != 1 or (any(p.is_dir() for p in inside) and len(inside) > 3):
        return None
    return Case(folder, expect=next(filter(None, told.values())))


def cases_of(path: Path) -> Iterator[Case]:
    """Yield the cases of one file."""
    if path.suffix not in (".py", ".md", ".ipynb"):
        return
    fields = _fields(path)
    if not fields:
        words = _told_in_words(path)
        if words:
            yield Case(path, expect=words)
        return
    starts = [place for place, (name, _) in enumerate(fields) if name == "target"] or [0]
    for start, end in zip(starts, [*starts[1:], len(fields)], strict=True):
        yield _case(path, fields[start:end])


def _fields(path: Path) -> list[tuple[str, str]]:
    text = path.read_text(encoding="utf-8", errors="replace")
    found = (FIELD.match(line) for line in text.splitlines())
    return [(match[1], match[2].strip()) for match in found if match]


def _case(path: Path, fields: Sequence[tuple[str, str]]) -> Case:
    values = {name: text for name, text in fields if name != "input"}
    target, _, rest = values.get("target", "-").partition("   ")
    inputs = [text for name, text in fields if name == "input"]
    if "input:" in rest:
        inputs.append(rest.partition("input:")[2])
    name = re.split(r"\s+\(", target.strip().strip("`"))[0]
    return Case(
        path,
        target="-" if name in ("source", "") else name,
        inputs=tuple(one for text in inputs for one in _several(text)),
        input_from=values.get("input-from"),
        mode=values.get("mode", "train").split()[0],
        as_object="Python API" in values.get("target", "") or values.get("as") == "object",
        expect=values.get("expect", ""),
        also_ok=values.get("also-ok", ""),
    )


def _several(text: str) -> list[str]:
    """The inputs of a line: `x=30,9 batch=30:int64`."""
    return [part for part in text.split() if part not in ("-", "none")]


def _told_in_words(path: Path) -> str:
    """The expectation of a docstring, of a notebook's first cell, of a README."""
    text = path.read_text(encoding="utf-8", errors="replace")
    match = re.search(r"(Right code\b)|Missed: (AC\d{3})", text[:3000])
    if match is None:
        return ""
    return "none" if match[1] else match[2]


# --- running --------------------------------------------------------------------------------------


def outcome(case: Case, workers: Workers, seconds: float = 60.0, slack: int = 0) -> Outcome:
    """Check a case, and hold what is said against what is expected."""
    begun = time.monotonic()
    try:
        report = _object_report(case) if case.as_object else _report(case, workers, seconds)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        found = f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
        return Outcome(case, "CRASH", found, time.monotonic() - begun)
    took = time.monotonic() - begun
    found = "; ".join(_found(report))
    if report.defects:
        return Outcome(case, "CRASH", report.defects[0].strip().splitlines()[-1], took)
    missed = tuple(_missed(case, report, slack))
    if missed == ("?",):
        return Outcome(case, "?", found, took)
    if missed:
        return Outcome(case, "WRONG", found, took, missed)
    return Outcome(case, "more" if _besides(case, report) else "ok", found, took)


def _report(case: Case, workers: Workers, seconds: float) -> Report:
    wanted = tuple(set(re.findall(r"AC\d{3}", case.expect)) & {rule.code for rule in load_rules()})
    here = os.path.relpath(case.path)
    asked = Model(
        "",
        inputs=case.inputs,
        mode=case.mode,
        input_from=case.input_from and os.path.join(os.path.dirname(here), case.input_from),
        timeout=seconds,
    )
    config = Config(extend_select=wanted, timeout=seconds)
    target = here if case.target == "-" else f"{here}:{case.target}"
    return Session(config, Path.cwd(), workers=workers).check([target], asked)


def _object_report(case: Case) -> Report:
    import archcheck

    spec = importlib.util.spec_from_file_location(f"case_{case.path.stem}", case.path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    model = eval(case.target if "(" in case.target else f"{case.target}()", vars(module))
    return archcheck.check(model, input=_tensors(case.inputs), mode=case.mode)


def _tensors(inputs: Iterable[str]) -> Any:
    import torch

    specs = [parse_input(text) for text in inputs]
    made = [
        torch.zeros(tuple(map(int, spec.shapes[0])), dtype=getattr(torch, spec.dtype or "float32"))
        for spec in specs
    ]
    if all(spec.name for spec in specs):
        return {spec.name: tensor for spec, tensor in zip(specs, made, strict=True)}
    return tuple(made)


# --- judging --------------------------------------------------------------------------------------


def _loud(report: Report) -> list[tuple[str, int]]:
    return [
        (finding.code, finding.location.line)
        for finding in report.findings
        if finding.severity >= Severity.WARNING
    ]


def _found(report: Report) -> Iterator[str]:
    """What was said, in a line."""
    yield " ".join(f"{code}@{line}" for code, line in _loud(report)) or "none"
    yield from report.usage_errors
    for target in report.targets:
        if not target.complete:
            yield "not traced to its end"
            continue
        yield f"{target.rung} {' '.join(str(list(out.shape)) for out in target.outputs or ())}"


def _missed(case: Case, report: Report, slack: int) -> Iterator[str]:
    """The parts of an expectation that were not met; a `?` where none could be read."""
    text = case.expect.partition("   ")[0]
    head = re.sub(r"^none-exists.*?(?=A rule would be|$)", "", text)
    if re.match(r"(none|clean)(?!-)", head):
        yield from _not_silent(head, report)
    elif text.startswith("none-exists") and (line := re.search(r"\blines? (\d+)", head)):
        if not any(0 <= int(line[1]) - place <= slack for _, place in _loud(report)):
            yield f"nothing @ {line[1]}"
    elif (placed := PLACED.match(head)) and not _is_met(placed, case.also_ok, report, slack):
        yield placed[0]
    elif not placed and not any(kind.search(head) for kind in (FIGURE, OUTPUT, SAYS)):
        yield "?"
        return
    yield from _wrong_figures(head, report)


def _not_silent(text: str, report: Report) -> Iterator[str]:
    if _loud(report):
        yield "none"
    if report.usage_errors:
        yield "a usage error"
    if "not traced" not in text and not all(target.complete for target in report.targets):
        yield "a complete trace"


def _is_met(placed: re.Match[str], also_ok: str, report: Report, slack: int) -> bool:
    codes = re.findall(r"AC(\d(?:\d\d|xx))", f"{placed['codes']} {also_ok}")
    given = [int(line) for line in (placed["lines"] or "").split("|") if line]
    lines = {line - less for line in given for less in range(slack + 1)}
    patterns = [re.compile("AC" + code.replace("x", r"\d")) for code in codes]
    found = [(finding.code, finding.location.line) for finding in report.findings]
    return any(
        any(pattern.fullmatch(code) for pattern in patterns) and (not lines or line in lines)
        for code, line in found
    )


def _wrong_figures(text: str, report: Report) -> Iterator[str]:
    target = report.targets[0] if report.targets else None
    for name, at_least, number in FIGURE.findall(text):
        value = getattr(target, name, None)
        if value is None or (value < int(number) if at_least else value != int(number)):
            yield f"{name} {number} (it says {value})"
    output = OUTPUT.search(text)
    shown = render(report, "text", width=200) if "or a note" in text or "says" in text else ""
    if output and not ("or a note" in text and "depends" in shown):
        shapes = [list(out.shape) for out in (target.outputs if target else None) or ()]
        if ", ".join(map(str, shapes)) != output[1]:
            yield f"output {output[1]}"
    for negated, words in SAYS.findall(text):
        if (words in " ".join(shown.split())) == bool(negated):
            yield f'{"not " if negated else ""}"{words}"'


def _besides(case: Case, report: Report) -> bool:
    """Whether findings at warning or above stand beside those that are expected."""
    codes = set(re.findall(r"AC\d{3}", case.expect + case.also_ok))
    if not codes or case.expect.startswith(("none", "clean")):
        return False
    return any(code not in codes for code, _ in _loud(report))


# --- showing --------------------------------------------------------------------------------------


def outcomes(
    paths: Iterable[Path], words: str = "", seconds: float = 60.0, slack: int = 0
) -> Iterator[Outcome]:
    """Check the cases below these paths, one after the other, by one worker."""
    with Workers() as workers:
        for case in cases_below(paths):
            if words in case.name:
                yield outcome(case, workers, seconds, slack)


def _row(one: Outcome) -> str:
    missing = f"   wants: {', '.join(one.missed)}" if one.missed else ""
    return f"{one.verdict:6}{one.seconds:6.1f} s  {one.case.name:60} {one.found[:150]}{missing}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("paths", nargs="*", type=Path, default=[ROOT / "fixtures" / "cases"])
    parser.add_argument("-k", dest="words", default="", help="only cases whose name has this text")
    parser.add_argument("--failing", action="store_true", help="leave out what is as expected")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for each case")
    parser.add_argument(
        "--slack", type=int, default=0, help="how many lines above the expected one will do, too"
    )
    options = parser.parse_args()
    paths = [path.absolute() for path in options.paths]
    os.chdir(paths[0] if paths[0].is_dir() else paths[0].parent)
    counts: dict[str, int] = {}
    for one in outcomes(paths, options.words, options.timeout, options.slack):
        counts[one.verdict] = counts.get(one.verdict, 0) + 1
        if not options.failing or one.verdict not in ("ok", "more"):
            print(_row(one), flush=True)
        if one.verdict == "?":
            print(f"{'':16}expected: {one.case.expect}")
    print(", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())))
    return int("WRONG" in counts or "CRASH" in counts)


if __name__ == "__main__":
    os.environ.setdefault("NO_COLOR", "1")
    sys.exit(main())
