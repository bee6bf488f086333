"""Optimizers: what certainly is one, and where one is built again and again."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from archcheck.python import Call, SourceFile, Statement
from archcheck.python.program.events import Event, Region, Run
from archcheck.python.program.things import Thing

from ._scripts import (
    LoopStatement,
    calls_in,
    enclosing_loops,
    name_of,
    names_of,
    text_of,
    values_of,
)
from ._things import learns, statement_loops

_STEPS = r"(?i)^(_+|i|it|iters?|t|e|ep|idx|index|n|step.*|.*epoch.*|.*iter.*|.*batch.*)$"
_LOADER = r"(?i)loader|batches|train|iter|epoch|data"
# Words of loops that train something new in each turn.
_AFRESH = (
    r"(?i)fold|task|stage|phase|round|client|trial|seed|repeat|restart|cycle|experiment|config|image|"
    r"img|layer|model|net\b|lr|rate|split|group|domain|session|run|worker|agent|member|freeze"
)
# Functions and methods after which the parameters are others, or the training is another one.
_RENEWS = (
    r"(?i)fold|task|client|federat|reset|re_?init|init_w|freez|prun|grow|add_|expand|extend|load|"
    r"augment_model|new_"
)
_RESETS = frozenset({"apply", "load_state_dict", "reset_parameters", "reset", "deepcopy"})


class Rebuild(NamedTuple):
    """A construction of an optimizer that throws the state of an earlier one away.

    Attributes:
        name: What the optimizer is bound to: `optimizer`, `self.optimizer`.
        loop: The loop around the call, which goes on training the same parameters.
        first: The earlier construction, if it is another one than this in an earlier turn.
    """

    call: Call
    name: str
    loop: LoopStatement
    first: Call | None


def is_optimizer_class(dotted: object) -> bool:
    """Whether a dotted name is one of torch's optimizers: `torch.optim.Adam`."""
    if not isinstance(dotted, str) or not dotted.startswith("torch.optim."):
        return False
    name = dotted.removeprefix("torch.optim.")
    return "." not in name and name[:1].isupper() and name != "Optimizer"


def is_optimizer(file: SourceFile, node: ast.expr | None, at: Statement) -> bool:
    """Whether an expression certainly is one of torch's optimizers."""
    if node is None:
        return False
    if is_optimizer_class(file.instance_of(node, at)):
        return True
    values = values_of(node, at)
    return bool(values) and all(
        isinstance(value, ast.Call)
        and is_optimizer_class(place.scope.file.dotted(value.func, place))
        for value, place in values
        if not (isinstance(value, ast.Constant) and value.value is None)
    )


def rebuilds(file: SourceFile) -> Iterator[Rebuild]:
    """The optimizers with state that are constructed in the loop which trains with them."""
    if not file.calls_named("backward"):
        return
    for call in file.calls:
        if not isinstance(call.loop, ast.For | ast.AsyncFor | ast.While):
            continue
        if not is_optimizer_class(call.dotted) or not call.node.args:
            continue
        name = name_of(call)
        if name is None or not _has_state(file, call):
            continue
        loop = enclosing_loops(call.statement)[0]
        if not _goes_on_training(call, loop, name) or _is_a_fresh_start(call, loop):
            continue
        first = _built_before(file, call, name)
        if _is_a_rebuild(call, loop, first):
            yield Rebuild(call, name, loop, first)


def _has_state(file: SourceFile, call: Call) -> bool:
    if call.dotted != "torch.optim.SGD":
        return True
    momentum = call.argument("momentum", 2)
    return momentum is not None and file.value(momentum, call.statement) != 0


def _goes_on_training(call: Call, loop: LoopStatement, target: str) -> bool:
    """Whether this loop itself, or a loop over batches in it, steps the optimizer."""
    inside = calls_in(call.scope, loop)
    if not any(other.name == "backward" for other in inside):
        return False
    for other in inside:
        stepped = other.receiver if not other.node.args else other.node.args[0]
        if other.name == "step" and text_of(stepped) == target:
            return enclosing_loops(other.statement).index(loop) <= 1
    return False


def _is_a_fresh_start(call: Call, loop: LoopStatement) -> bool:
    """Whether each turn of the loop trains something new."""
    scope = call.scope
    if isinstance(loop, ast.For | ast.AsyncFor):
        names = [*names_of(loop.target)]
        sources = [*names_of(loop.iter)]
        counts = isinstance(loop.iter, ast.Call) and sources[:1] == ["range"]
        if any(re.search(_AFRESH, name) for name in names):
            return True
        if not (counts and any(re.match(_STEPS, name) for name in names)) and not any(
            re.search(_LOADER, source) for source in sources
        ):
            return True
    given = call.node.args[0]
    for name in names_of(given):
        for binding in scope.bindings.get(name, []):
            if binding.statement.is_in(loop) or binding.statement.node is loop:
                return True
    roots = {text for part in ast.walk(given) if (text := text_of(part)) is not None}  # type: ignore[arg-type]
    for reference in scope.references:
        if not reference.statement.is_in(loop):
            continue
        if reference.kind == "store" and ".".join(reference.parts) in roots - {name_of(call)}:
            return True
        if "requires_grad" in reference.parts or "requires_grad_" in reference.parts:
            return True
    return any(
        other.name in _RESETS or re.search(r"freez|init|reset", other.name)
        for other in calls_in(scope, loop)
    )


def _built_before(file: SourceFile, call: Call, target: str) -> Call | None:
    """An earlier construction of the same optimizer for the same parameters."""
    node = call.statement.node
    assert isinstance(node, ast.Assign)
    given = ast.dump(call.node.args[0])
    values = values_of(node.targets[0], call.statement)
    if isinstance(node.targets[0], ast.Name):
        values = [
            (binding.value, binding.statement)
            for scope in (call.scope, file.scope)
            for binding in scope.bindings.get(target, [])
            if binding.value is not None
        ]
    for value, _ in values:
        if value is call.node or not isinstance(value, ast.Call) or not value.args:
            continue
        for other in file.calls:
            same = other.node is value and other.dotted == call.dotted
            if same and (ast.dump(value.args[0]) == given or "." in target):
                return other
    return None


def _is_a_rebuild(call: Call, loop: LoopStatement, before: Call | None) -> bool:
    """Whether the loop certainly comes by with an optimizer that has state already."""
    tests: list[ast.expr] = []
    for suite in call.statement.suite.outward():
        if suite.owner is loop:
            break
        if isinstance(suite.owner, ast.If):
            tests.append(suite.owner.test)
        elif suite.kind not in ("with", "try", "finally"):
            return False
    if not tests:
        return True
    periodic = any(
        isinstance(part, ast.BinOp) and isinstance(part.op, ast.Mod)
        for test in tests
        for part in ast.walk(test)
    )
    return periodic or before is not None


def rebuilds_by_calls(file: SourceFile) -> Iterator[tuple[Event, Event, Region]]:
    """The optimizers with state that a function builds which the training loop calls: where one is
    built, where it steps, and the loop."""
    for run in file.runs:
        for build in run.of("build"):
            made = build.result
            if made is None or made.kind != "optimizer" or not isinstance(made.type, str):
                continue
            found = _thrown_away(run, build, made) if _keeps_state(build) else None
            if found is not None:
                yield build, *found


def _keeps_state(build: Event) -> bool:
    node = build.node
    if build.subject.dotted != "torch.optim.SGD" or not isinstance(node, ast.Call):
        return is_optimizer_class(build.subject.dotted)
    momentum = next((one.value for one in node.keywords if one.arg == "momentum"), None)
    return momentum is not None and build.file.value(momentum, build.statement) != 0


def _thrown_away(run: Run, build: Event, made: Thing) -> tuple[Event, Region] | None:
    """The step and the loop that comes by again with a new optimizer for the same parameters."""
    loops = statement_loops(build)
    around = build.around[build.around.index(loops[0]) :] if loops else ()
    if not loops or any(region.kind in ("branch", "try") for region in around):
        return None
    loop = loops[0]
    if not any(region.kind == "call" for region in around) or _trains_afresh(run, loop, made):
        return None
    for step in run.inside(loop, "step"):
        inner = [other for other in statement_loops(step) if other is not loop]
        between = [other for other in inner if loop in step.around[: step.around.index(other)]]
        if step.subject is made and len(between) < 2 and learns(run, loop):
            return step, loop
    return None


def _trains_afresh(run: Run, loop: Region, made: Thing) -> bool:
    """Whether each turn of a loop trains something new, or may."""
    if not made.modules or not run.complete:
        return True
    if any(re.search(_RENEWS, name) for name in _called_in(run, loop)):
        return True
    node = loop.node
    if isinstance(node, ast.For | ast.AsyncFor):
        words = [*names_of(node.target), *names_of(node.iter)]
        counts = any(re.match(_STEPS, name) for name in names_of(node.target))
        if any(re.search(_AFRESH, name) for name in words):
            return True
        if not counts and not any(re.search(_LOADER, name) for name in words):
            return True
    for event in run.inside(loop, "build", "load", "reset", "freeze", "replace", "opaque"):
        told = (event.subject, event.result, *event.arguments)
        # The optimizer and its model are handed to the optimizer's own constructor.
        if event.kind == "build" and (event.result is None or event.result.kind != "module"):
            continue
        if any(one is not None and one.reaches(held) for one in told for held in made.modules):
            return True
    return any(
        "copied" in held.marks or (held.statement is not None and held.statement.is_in(node))
        for held in made.modules
    )


def _called_in(run: Run, loop: Region) -> Iterator[str]:
    """The names of the functions and methods that are called in a loop."""
    inside = list(run.inside(loop))
    nodes = {region.node for event in inside for region in event.around if region.kind == "call"}
    nodes |= {event.node for event in inside if event.kind in ("call", "method", "opaque")}
    for node in nodes:
        if isinstance(node, ast.Call):
            yield (text_of(node.func) or "").rpartition(".")[2]
