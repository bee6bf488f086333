"""Clean models, the places in them that a defect can be put into, and their mutants."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from archcheck.core.config import Model

FOLDER = Path(__file__).parents[2] / "fixtures" / "clean"


@dataclass(frozen=True)
class Clean:
    """A file without defects: its text, and how its models are traced (not at all for a script)."""

    name: str
    text: str
    models: tuple[Model, ...]

    @property
    def model(self) -> Model | None:
        return self.models[0] if self.models else None

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    def source(self, node: ast.AST) -> str:
        return ast.get_source_segment(self.text, node) or ""

    def edited(self, *edits: tuple[ast.AST, str]) -> str:
        """The text with others in the places of some nodes."""
        starts = [0]
        for line in self.text.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        text = self.text
        for node, new in sorted(edits, key=lambda edit: -edit[0].lineno):  # type: ignore[attr-defined]
            begin = starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
            end = starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
            text = text[:begin] + new + text[end:]
        return text


@dataclass(frozen=True, slots=True)
class Mutant:
    """A changed text, with what it is asked with where that differs from the clean model's."""

    text: str
    what: str
    inputs: tuple[str, ...] | None = None
    options: dict[str, object] = field(default_factory=dict)


Mutation: TypeAlias = Callable[[Clean], Iterator[Mutant]]


def clean_files() -> Iterator[Path]:
    """The plain ones, and those that look like defects."""
    yield from sorted(FOLDER.rglob("*.py"))


def read(path: Path) -> Clean:
    """A file with what its head says of how to trace it: `# trace: Net --input 8,3,32,32`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--input", dest="inputs", action="append", default=[])
    parser.add_argument("--eval", dest="mode", action="store_const", const="eval", default="train")
    parser.add_argument("--loss")
    text = path.read_text(encoding="utf-8")
    models = []
    for head in re.findall(r"^# trace: (.*)$", text, re.MULTILINE):
        asked = parser.parse_args(shlex.split(head))
        target = f"{path.name}:{asked.name}"
        models.append(Model(target, tuple(asked.inputs), mode=asked.mode, loss=asked.loss))
    return Clean(path.stem, text, tuple(models))


def mutant(clean: Clean, node: ast.AST, new: str, **options: object) -> Mutant:
    what = f"line {getattr(node, 'lineno', 0)}: {clean.source(node)[:44]} -> {new[:44]}"
    return Mutant(clean.edited((node, new)), " ".join(what.split()), options=options)


# What there is to change ----------------------------------------------------------------------


def classes(clean: Clean) -> Iterator[ast.ClassDef]:
    yield from (node for node in ast.walk(clean.tree) if isinstance(node, ast.ClassDef))


def methods(clean: Clean, name: str) -> Iterator[tuple[ast.ClassDef, ast.FunctionDef]]:
    for node in classes(clean):
        for item in node.body:
            if isinstance(item, ast.FunctionDef) and item.name == name:
                yield node, item


def calls(clean: Clean, *names: str, within: str | None = None) -> Iterator[ast.Call]:
    """The calls whose callee's last name is one of these; of methods of one name, if given."""
    places = [item for _, item in methods(clean, within)] if within else [clean.tree]
    for place in places:
        for node in ast.walk(place):
            if isinstance(node, ast.Call) and (not names or called(node) in names):
                yield node


def called(node: ast.Call) -> str:
    """The last name of what is called."""
    match node.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def own_calls(clean: Clean, within: str = "forward") -> Iterator[tuple[ast.Call, str]]:
    """The calls of attributes of self in the forwards, with the attribute."""
    for node in calls(clean, within=within):
        match node.func:
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                yield node, name


def built(clean: Clean) -> dict[str, str]:
    """What each attribute is built by, by its name."""
    return {
        node.targets[0].attr: clean.source(node.value)
        for node in ast.walk(clean.tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Attribute)
        and isinstance(node.value, ast.Call)
    }


def layers(clean: Clean, *types: str) -> Iterator[ast.Assign]:
    """The assignments of layers of these classes to attributes."""
    for node in ast.walk(clean.tree):
        match node:
            case ast.Assign(targets=[ast.Attribute()], value=ast.Call() as made):
                if called(made) in types:
                    yield node


def bound_calls(clean: Clean) -> Iterator[tuple[ast.ClassDef, ast.Assign, ast.Call]]:
    """The statements `x = self.layer(…)` of the forwards."""
    for owner, forward in methods(clean, "forward"):
        for node in ast.walk(forward):
            match node:
                case ast.Assign(
                    targets=[ast.Name()],
                    value=ast.Call(func=ast.Attribute(value=ast.Name(id="self"))) as call,
                ):
                    yield owner, node, call


def returns(clean: Clean) -> Iterator[tuple[ast.ClassDef, ast.Return, ast.expr]]:
    """The last statements of forwards that return a value."""
    for owner, forward in methods(clean, "forward"):
        last = forward.body[-1]
        if isinstance(last, ast.Return) and last.value is not None:
            yield owner, last, last.value


def answer(clean: Clean, *losses: str) -> Iterator[tuple[ast.ClassDef, ast.expr]]:
    """What the model that is traced returns, where it is trained with one of these losses."""
    if clean.model is not None and clean.model.loss in losses:
        name = clean.model.target.rpartition(":")[2]
        yield from ((owner, value) for owner, _, value in returns(clean) if owner.name == name)


def constructor(clean: Clean, owner: ast.ClassDef) -> ast.FunctionDef:
    return next(init for known, init in methods(clean, "__init__") if known is owner)


def is_single(value: ast.expr) -> bool:
    return not isinstance(value, ast.Tuple | ast.Dict)


def after(clean: Clean, node: ast.stmt, *lines: str) -> str:
    """A statement with others behind it."""
    return f"\n{' ' * node.col_offset}".join((clean.source(node), *lines))
