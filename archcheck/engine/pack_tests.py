"""The fixtures of a rule pack, and what its rules find in them.

A pack's fixtures lie in `fixtures/<rule_name>/`, in the pack's folder or beside it: `bad*.py` with
`# expect: TEAM101` at the end of each line that has a finding, and `good*.py` without any. A file
that is to be traced says so in its head: `# trace: Net --input 8,3,32,32`.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from archcheck.core.config import LOSSES, Config, Model, parse_bytes, parse_count, parse_shape
from archcheck.core.rule import Rule, load_pack
from archcheck.core.target import UsageError
from archcheck.engine.session import Session

_FIXTURE = re.compile(r"(bad|good).*\.(py|md|ipynb)")
_EXPECT = re.compile(r"# expect:(.*)")
_CODES = re.compile(r"\s*[A-Z]+\d{3,}(\s*,\s*[A-Z]+\d{3,})*\s*(?:-->)?\s*")
_TRACE = re.compile(r"^(?:# |<!-- )trace: (.*?)(?: -->)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class PackResult:
    """What testing a pack gave.

    Attributes:
        rules: How many rules the pack has.
        fixtures: How many files were checked.
        problems: What is wrong, each in a line that begins with file and line.
    """

    rules: int
    fixtures: int
    problems: tuple[str, ...]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def check_pack(pack: str, root: Path) -> PackResult:
    """Check every fixture of a pack by the pack's own rules.

    Args:
        pack: A folder of rule files, or the name of an installed package of them.
        root: The folder that shown paths are relative to.

    Raises:
        UsageError: There is no such pack, or it has no rule or no fixture.
        PackError: A rule file is malformed.
    """
    folder, package = _pack_of(pack)
    rules = load_pack(folder, package)
    if not rules:
        raise UsageError(f"{pack} has no rule: a rule file makes `rule = Rule(…)`")
    fixtures = _fixtures_of(folder)
    # Fixtures beside a pack may be those of several packs.
    problems = list(_of_no_rule(fixtures, rules, root)) if fixtures.parent == folder else []
    count = 0
    for rule in rules:
        files = _files_of(fixtures / rule.name.replace("-", "_"))
        shown = rule.path.name if rule.path else rule.name
        if not files:
            problems.append(f"{shown}:1: {rule.code} has no fixtures in {fixtures.name}/")
            continue
        problems += [
            f"{shown}:1: {rule.code} has no {kind}*.py among its fixtures"
            for kind in ("bad", "good")
            if not any(path.name.startswith(kind) for path in files)
        ]
        count += len(files)
        unreadable = [problem for path in files for problem in _unreadable(path, root)]
        problems += unreadable or _problems(rule, rules, files, root)
    return PackResult(len(rules), count, tuple(problems))


def _pack_of(pack: str) -> tuple[Path, str]:
    """The pack's folder, and the package name that its files get."""
    folder = Path(pack)
    if folder.is_dir():
        return folder.resolve(), re.sub(r"\W", "_", folder.resolve().name)
    spec = importlib.util.find_spec(pack) if re.fullmatch(r"[\w.]+", pack) else None
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(f"{pack!r} is no folder and no installed package: name the pack's folder")
    return Path(next(iter(spec.submodule_search_locations))), pack


def _fixtures_of(folder: Path) -> Path:
    for place in (folder / "fixtures", folder.parent / "fixtures"):
        if place.is_dir():
            return place
    raise UsageError(
        f"{folder.name} has no fixtures: put bad*.py and good*.py into fixtures/<rule_name>/"
    )


def _files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if _FIXTURE.fullmatch(path.name))


def _of_no_rule(fixtures: Path, rules: Sequence[Rule], root: Path) -> Iterator[str]:
    """Name the folders of a pack's own fixtures that are called after none of its rules."""
    names = {rule.name.replace("-", "_") for rule in rules}
    for folder in sorted(fixtures.iterdir()):
        if folder.name not in names and _files_of(folder):
            yield f"{_shown(folder, root)}:1: no rule of the pack has this name"


def _unreadable(path: Path, root: Path) -> Iterator[str]:
    """Say why a fixture is no text, or no Python: no rule could find anything in it."""
    try:
        text = path.read_bytes().decode()
        if path.suffix == ".py":
            ast.parse(text)
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        yield f"{_shown(path, root)}:{line}: it is no UTF-8"
    except (SyntaxError, ValueError) as error:
        yield f"{_shown(path, root)}:{getattr(error, 'lineno', None) or 1}: {error}"


def _failure(defect: str, rules: Sequence[Rule], root: Path) -> str:
    """A rule's traceback below the line of the rule that raised."""
    for rule in rules:
        frames = re.findall(rf'File "{re.escape(str(rule.path))}", line (\d+)', defect)
        if defect.startswith(f"{rule.code} ") and rule.path:
            error = defect.rstrip().rpartition("\n")[2]
            line = frames[-1] if frames else 1
            return f"{_shown(rule.path, root)}:{line}: {rule.code} failed with {error}\n{defect}"
    return defect


def _problems(
    rule: Rule, rules: Sequence[Rule], files: Sequence[Path], root: Path
) -> Iterator[str]:
    """What differs between the findings in a rule's fixtures and what they expect."""
    models: list[Model] = []
    wanted: set[tuple[str, int, str]] = set()
    for path in files:
        shown = _shown(path, root)
        try:
            models += fixture_models(path, root)
        except ValueError as error:
            yield f"{shown}:1: its `# trace:` cannot be read ({error})"
        expected = list(expectations(path))
        if path.name.startswith("bad") and not any(
            codes is None or rule.code in codes for _, codes in expected
        ):
            yield f"{shown}:1: it is bad, and no line ends in # expect: {rule.code}"
        for line, codes in expected:
            if codes is None:
                yield f"{shown}:{line}: `# expect:` names no codes; write # expect: {rule.code}"
            else:
                wanted |= {(shown, line, code) for code in codes}
    traced = {model.target.rpartition(":")[0] for model in models}
    paths = tuple(shown for path in files if (shown := _shown(path, root)) not in traced)
    config = Config(select=("ALL",), paths=paths, models=tuple(models), cache=False)
    with Session(config, root, rules=rules) as session:
        report = session.check(None)
    yield from (_failure(defect, rules, root) for defect in report.defects)
    yield from report.usage_errors
    found = {(one.location.path, one.location.line, one.code) for one in report.findings}
    for path_shown, line, code in sorted(wanted - found):
        yield f"{path_shown}:{line}: {code} is expected and not found"
    for path_shown, line, code in sorted(found - wanted):
        yield f"{path_shown}:{line}: {code} is found and not expected"


def expectations(path: Path) -> Iterator[tuple[int, tuple[str, ...] | None]]:
    """Yield the lines of a fixture that expect findings, with their codes; None: unreadable."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        for match in _EXPECT.finditer(line):
            readable = _CODES.fullmatch(match[1])
            yield number, tuple(re.findall(r"[A-Z]+\d{3,}", match[1])) if readable else None


def fixture_models(path: Path, root: Path) -> list[Model]:
    """Return what the head of a fixture asks to be traced.

    Raises:
        ValueError: A `# trace:` line cannot be read.
    """
    heads = _TRACE.findall(path.read_text(encoding="utf-8"))
    return [_model(path, root, shlex.split(head)) for head in heads]


def _model(path: Path, root: Path, words: Iterable[str]) -> Model:
    options = vars(_parser().parse_args(list(words)))
    target = f"{_shown(path, root)}:{options.pop('name')}"
    lists = {name: tuple(options[name]) for name in ("inputs", "allow_missing")}
    if options["weights"]:
        options["weights"] = _shown(path.with_name(options["weights"]), root)
    return Model(**{**options, **lists, "target": target})


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(add_help=False)
    parser.add_argument("name")
    parser.add_argument("--input", dest="inputs", action="append", default=[])
    parser.add_argument("--eval", dest="mode", action="store_const", const="eval", default="train")
    parser.add_argument("--loss", choices=LOSSES)
    parser.add_argument("--expect-output", type=parse_shape)
    parser.add_argument("--timeout", type=float)
    parser.add_argument("--max-params", type=parse_count)
    parser.add_argument("--max-macs", type=parse_count)
    parser.add_argument("--max-memory", type=parse_bytes)
    parser.add_argument("--weights")
    parser.add_argument("--allow-missing", action="append", default=[])
    parser.add_argument("--max-training-memory", type=parse_bytes)
    parser.add_argument("--optimizer")
    parser.add_argument("--probe", action="store_true")
    parser.add_argument("--precision")
    parser.add_argument("--device")
    parser.add_argument("--generate", type=int)
    return parser


def _shown(path: Path, root: Path) -> str:
    """The path as findings carry it."""
    place, root = path.resolve(), root.resolve()
    return (place.relative_to(root) if place.is_relative_to(root) else place).as_posix()
