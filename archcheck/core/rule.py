"""Rules, and the packs that they come in.

A rule is one file that makes one `Rule` named `rule`, with a docstring that says what it does and
with one reader for each kind of evidence that can show the defect. The engine knows no rule by
name: packs announce themselves under the entry point group `archcheck.rules`, and the built-in
pack uses that door and no other.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from inspect import cleandoc
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, cast

from archcheck.core.finding import Finding, Safety, Severity

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace
    from archcheck.python import Project, SourceFile

Findings = Iterable[Finding]
SourceReader = Callable[["SourceFile"], Findings]
TraceReader = Callable[["Trace", "Project"], Findings]

GROUP = "archcheck.rules"
HEADINGS = ("What it does", "Why it is bad", "Example", "Use instead")


class PackError(Exception):
    """A rule file that breaks the rules of a pack; names the file and what is wrong with it."""


@dataclass(eq=False)
class Rule:
    """What a rule is, and how it reads evidence.

    Attributes:
        code: Letters (`AC` in the built-in pack) and three digits; never changes its meaning.
        name: The bad pattern, such as `missing-super-init`; its file has the same name.
        severity: The usual one; a finding may carry its own.
        fix: The safety of the fix it can offer, if any.
        default: Whether it runs without being selected; by default, unless it is a note.
        fallback: It speaks of failures only where no other rule explains them.
        fades: What it finds is code that does nothing: an editor may fade it.
        against_lock: It compares the model with its entry in the lock file. What a fix changes of
            the model may show there, and is no fault of the fix.
        by_engine: The engine finds it itself, in what the other rules found; it has no readers.
        doc, path: The docstring of its file, and where that lies; set when the file is loaded.
    """

    code: str
    name: str
    severity: Severity
    fix: Safety | None = None
    default: bool | None = None
    fallback: bool = False
    against_lock: bool = False
    by_engine: bool = False
    fades: bool = False
    doc: str = ""
    path: Path | None = None
    source_readers: list[SourceReader] = field(default_factory=list)
    trace_readers: list[TraceReader] = field(default_factory=list)
    probe_readers: list[TraceReader] = field(default_factory=list)

    def on_source(self, reader: SourceReader) -> SourceReader:
        """Run `reader(file)` on every source file that is checked."""
        self.source_readers.append(reader)
        return reader

    def on_trace(self, reader: Callable[..., Findings]) -> Callable[..., Findings]:
        """Run `reader(trace)`, or `reader(trace, project)` to look at the source too."""
        self.trace_readers.append(_with_project(reader))
        return reader

    def on_probe(self, reader: Callable[..., Findings]) -> Callable[..., Findings]:
        """Run `reader(trace)` or `reader(trace, project)` where the model was run on real tensors:
        `trace.probe` is then there."""
        self.probe_readers.append(_with_project(reader))
        return reader

    @property
    def evidence(self) -> str:
        """What it reads: "source", "trace", or "both"; "probe" where it needs real tensors."""
        if self.probe_readers:
            return "probe"
        kinds = [
            kind
            for kind, readers in (("source", self.source_readers), ("trace", self.trace_readers))
            if readers
        ]
        return "both" if len(kinds) == 2 else kinds[0] if kinds else "source"

    @property
    def runs_by_default(self) -> bool:
        """Whether it runs without being selected: unless it says otherwise, if it is no note."""
        return self.severity > Severity.NOTE if self.default is None else self.default

    @property
    def sections(self) -> Mapping[str, str]:
        """The docstring, split at its headings; the summary stands under ""."""
        parts = re.split(rf"^({'|'.join(HEADINGS)})\n-+\n", self.doc, flags=re.MULTILINE)
        texts = {"": parts[0].strip()}
        texts.update(
            zip(parts[1::2], (text.strip("\n").rstrip() for text in parts[2::2]), strict=True),
        )
        return texts


def _with_project(reader: Callable[..., Findings]) -> TraceReader:
    """Return a reader that may leave out the project, as one that takes it."""
    wants_project = cast(FunctionType, reader).__code__.co_argcount > 1
    return reader if wants_project else lambda trace, _project: reader(trace)


def load_rules() -> tuple[Rule, ...]:
    """Every rule of every installed pack, by code.

    Raises:
        PackError: A rule file is malformed, or two rules share a code or a name.
    """
    return _by_code(
        rule for folder, package in pack_folders() for rule in _rules_below(folder, package)
    )


def load_pack(folder: Path, package: str) -> tuple[Rule, ...]:
    """Return the rules of one pack, by code.

    Args:
        package: The package name that its files get.

    Raises:
        PackError: A rule file is malformed, or two rules share a code or a name.
    """
    return _by_code(_rules_below(folder, package))


def _by_code(found: Iterable[Rule]) -> tuple[Rule, ...]:
    rules: dict[str, Rule] = {}
    names: dict[str, Rule] = {}
    for rule in found:
        for key, known in ((rule.code, rules), (rule.name, names)):
            if key in known:
                raise PackError(f"{rule.path}: {key} is already used by {known[key].path}")
            known[key] = rule
    return tuple(rules[code] for code in sorted(rules))


def pack_folders() -> Iterator[tuple[Path, str]]:
    """The folders that packs live in, with the package name that their files get."""
    builtin = "archcheck.rules"
    here = Path(__file__).parents[1]
    # In a wheel the pack lies inside the package; in a checkout, beside it.
    folder = next(place for place in (here / "rules", here.parent / "rules") if place.is_dir())
    yield folder, builtin
    if not _others_announced():
        return
    # Imported only now: it costs as much time as all else that a check of one file imports.
    from importlib.metadata import entry_points

    for entry in entry_points(group=GROUP):
        if entry.value == builtin:
            continue
        spec = importlib.util.find_spec(entry.value)
        if spec is None or not spec.submodule_search_locations:
            raise PackError(f"the pack {entry.name!r} names {entry.value!r}, which is no package")
        yield Path(next(iter(spec.submodule_search_locations))), entry.value


def _others_announced() -> bool:
    """Whether an installed distribution other than archcheck announces a pack."""
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            if name.endswith((".dist-info", ".egg-info")) and not name.startswith(
                ("archcheck_torch", "archcheck-", "archcheck.")
            ):
                try:
                    with open(os.path.join(folder, name, "entry_points.txt"), "rb") as file:
                        if f"[{GROUP}]".encode() in file.read():
                            return True
                except OSError:
                    continue
    return False


def _rules_below(folder: Path, package: str) -> Iterator[Rule]:
    for place, folders, files in os.walk(folder):
        # What a pack's rules are tested on is code to be read, no rules.
        inner = (one for one in folders if not one.startswith(("_", ".")) and one != "fixtures")
        folders[:] = sorted(inner)
        name = ".".join((package, *Path(place).relative_to(folder).parts))
        if name not in sys.modules:
            # A package made of nothing but its folder: rule files need no __init__.py, and a
            # checkout's `rules/` never claims a top-level import name.
            synthetic = ModuleType(name)
            synthetic.__path__ = [place]
            sys.modules[name] = synthetic
        for file in sorted(files):
            if file.endswith(".py") and not file.startswith("_"):
                yield _load(Path(place, file), f"{name}.{file.removesuffix('.py')}")


def _place(error: Exception, path: Path) -> str:
    """The rule file, with the line of it that an error came through."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return f"{path}:{lines[-1]}" if lines else str(path)


def _load(path: Path, name: str) -> Rule:
    if name in sys.modules:
        module: Any = sys.modules[name]
    else:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[name]
            raise PackError(f"{_place(error, path)}: {type(error).__name__}: {error}") from error
    rule = getattr(module, "rule", None)
    if not isinstance(rule, Rule):
        raise PackError(f"{path}: defines no `rule = Rule(…)`")
    if rule.path != path:
        rule.doc = cleandoc(module.__doc__ or "")
        _check(rule, path)
        rule.path = path
    return rule


def _check(rule: Rule, path: Path) -> None:
    if not re.fullmatch(r"[A-Z]+\d{3,}", rule.code):
        raise PackError(f"{path}: {rule.code!r} is no code such as AC101")
    if path.stem != rule.name.replace("-", "_"):
        raise PackError(f"{path}: the rule is named {rule.name!r}, its file is not")
    if not (rule.source_readers or rule.trace_readers or rule.probe_readers or rule.by_engine):
        raise PackError(f"{path}: {rule.code} reads no evidence")
    missing = [heading for heading in HEADINGS if f"\n{heading}\n---" not in rule.doc]
    if missing:
        raise PackError(f"{path}: the docstring lacks the section {missing[0]!r}")
