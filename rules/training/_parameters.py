"""Which parameters an optimizer holds, and which ones the loss trains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from archcheck.python import ClassDefinition, SourceFile
from archcheck.python.program.events import Event, Run
from archcheck.python.program.libraries import WRAPPERS
from archcheck.python.program.things import Thing

from ._things import build_of, is_or_holds, statement_loops

# Layers without parameters.
_EMPTY = ("Dropout", "ReLU", "Identity", "Flatten", "Softmax", "Sigmoid", "Tanh", "Pool", "GELU",
          "SiLU", "Upsample", "Pad", "LogSoftmax", "ELU")  # fmt: skip
# Names of models that others are measured by, and that do not learn with them.
_GIVEN = ("teacher", "target", "ema", "frozen", "pretrain", "vgg", "lpips", "percept", "ref",
          "old", "fixed", "disc", "critic", "netd", "clip")  # fmt: skip


class Missed(NamedTuple):
    """An optimizer that does not hold what trains.

    Attributes:
        build: Where it is built.
        other: What makes, or runs, the parameters that it does not hold.
        model: What they belong to.
        kind: `replaced`, `rebuilt`, `unheld`.
    """

    build: Event
    other: Event
    model: Thing
    kind: str


def missed_parameters(file: SourceFile) -> Iterator[Missed]:
    """The optimizers of a run that step, and miss parameters that the loss trains."""
    for run in file.runs:
        if not run.complete or run.of("add_parameters", "freeze"):
            continue
        for build in run.of("build"):
            made = build.result
            if made is None or made.kind != "optimizer" or not isinstance(made.type, str):
                continue
            held = made.modules
            if not held or not all(one.kind in ("module", "unknown") for one in held):
                continue
            if any(step.subject is made for step in run.of("step")):
                found = _replaced(run, build, made) or _left_out(run, build, made)
                if found is not None:
                    yield found


def _replaced(run: Run, build: Event, made: Thing) -> Missed | None:
    """A part of the model that is set after the optimizer was built with all of it."""
    for replace in run.of("replace"):
        part = replace.result
        if replace.index < build.index or part is None or not _has_parameters(part):
            continue
        if replace.subject not in made.modules or replace.branches() != build.branches():
            continue
        if part.statement is None or _is_held(run, part, made) or _is_rebuilt(run, replace):
            continue
        if statement_loops(replace) == statement_loops(build):
            return Missed(build, replace, part, "replaced")
    return None


def _left_out(run: Run, build: Event, made: Thing) -> Missed | None:
    """A model that is built, and computes the loss with a graph, and that no optimizer holds."""
    steps = [one for one in run.of("step") if one.subject is made]
    for backward in run.of("backward"):
        loop = next((one for one in statement_loops(backward)
                     if any(step.is_in(one) for step in steps)), None)  # fmt: skip
        used = backward.subject.modules
        if loop is None or not used or any(one.kind != "module" for one in used):
            continue
        if len({step.subject for step in run.inside(loop, "step")}) > 1:
            continue
        known = [one for one in used if any(is_or_holds(one, held) for held in made.modules)]
        for model in used:
            birth = build_of(run, model)
            if model in known or birth is None or not _must_learn(run, model, made):
                continue
            if not known and birth.index < build.index:
                # Nothing of this loss is held: it may be that of another training.
                continue
            return Missed(build, birth, model, "unheld" if known else "rebuilt")
    return None


def _must_learn(run: Run, model: Thing, made: Thing) -> bool:
    """Whether a model certainly is meant to learn, and no optimizer can hold it."""
    if not _has_parameters(model) or model.marks & {"pretrained", "copied", "loaded"}:
        return False
    if any(word in model.name.lower() for word in _GIVEN) or _is_held(run, model, made):
        return False
    given = any(is_or_holds(one.subject, model) for one in run.of("eval", "load"))
    return not given and not run.hands_over(model)


def _is_held(run: Run, model: Thing, made: Thing) -> bool:
    """Whether another optimizer holds a model or something around it, or may."""
    for build in run.of("build"):
        other = build.result
        if other is None or other.kind != "optimizer" or other is made:
            continue
        if not other.modules or any(is_or_holds(held, model) for held in other.modules):
            return True
    return any(step.subject.kind != "optimizer" for step in run.of("step"))


def _is_rebuilt(run: Run, replace: Event) -> bool:
    """Whether an optimizer is built after a replacement."""
    return any(
        build.index > replace.index and build.result is not None
        and build.result.kind == "optimizer"
        for build in run.of("build")
    )  # fmt: skip


def _has_parameters(model: Thing, depth: int = 0) -> bool:
    """Whether a module certainly has parameters."""
    made = model.type
    if model.kind != "module" or depth > 4:
        return False
    if isinstance(made, ClassDefinition):
        module = made.module
        return module is not None and any(
            layer.is_torch and not _is_empty(layer.class_name) for layer in module.all_layers()
        )
    if not isinstance(made, str) or made in WRAPPERS or not made.startswith("torch.nn."):
        return False
    name = made.rpartition(".")[2]
    if name in ("Sequential", "ModuleList", "ModuleDict"):
        return any(_has_parameters(item, depth + 1) for item in model.items)
    return not _is_empty(name)


def _is_empty(name: str) -> bool:
    return any(word in name for word in _EMPTY) or name in ("Sequential", "ModuleList")
