"""Optimizers: what certainly is one, and where one is built again and again."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from archcheck.python import Call, SourceFile, Statement

from ._scripts import (
    LoopStatement,
    calls_in,
    enclosing_loops,
    name_of,
    names_of,
    text_of,
    values_of,
)

_STEPS = r"(?i)^(_+|i|it|iters?|t|e|ep|idx|index|n|step.*|.*epoch.*|.*iter.*|.*batch.*)$"
_LOADER = r"(?i)loader|batches|train|iter|epoch|data"
# Words of loops that train something new in each turn.
_AFRESH = (
    r"(?i)fold|task|stage|phase|round|client|trial|seed|repeat|restart|cycle|experiment|config|image|"
    r"img|layer|model|net\b|lr|rate|split|group|domain|session|run|worker|agent|member|freeze"
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
