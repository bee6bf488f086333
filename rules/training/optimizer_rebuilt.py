"""An optimizer is constructed again inside the training loop.

What it does
------------
Looks for `optimizer = torch.optim.Adam(model.parameters(), …)` in a loop over epochs or batches
that goes on training the same parameters. A new optimizer for a new model (per fold, client or
run), for other parameters (a layer that is unfrozen), for a new stage of training, and plain SGD,
which has no state, are left alone.

Why it is bad
-------------
The new optimizer forgets momentum and the running averages of Adam, so that training jolts at each
rebuild; a learning-rate scheduler goes on turning the old one.

Example
-------
    for epoch in range(90):
        train(model, optimizer)
        if epoch % 30 == 29:
            lr /= 10
            optimizer = torch.optim.Adam(model.parameters(), lr=lr)

Use instead
-----------
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=30, gamma=0.1)
    for epoch in range(90):
        train(model, optimizer)
        scheduler.step()
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from archcheck.finding import Finding, Fix, Related, Severity
from archcheck.rule import Rule
from archcheck.source import Call, SourceFile
from archcheck.source.edits import is_alone, line_before, replacement, without_line
from archcheck.source.training import (
    LoopStatement,
    calls_in,
    enclosing_loops,
    is_optimizer_class,
    names_of,
    text_of,
    values_of,
)

rule = Rule("AC505", "optimizer-rebuilt", Severity.WARNING, fix="unsafe")

_STEPS = re.compile(
    r"^(_+|i|it|iters?|t|e|ep|idx|index|n|step.*|.*epoch.*|.*iter.*|.*batch.*)$", re.I
)
_LOADER = re.compile(r"loader|batches|train|iter|epoch|data", re.IGNORECASE)
# Words of loops that train something new in each turn.
_AFRESH = re.compile(
    r"fold|task|stage|phase|round|client|trial|seed|repeat|restart|cycle|experiment|config|image|"
    r"img|layer|model|net\b|lr|rate|split|group|domain|session|run|worker|agent|member|freeze",
    re.IGNORECASE,
)
_RESETS = frozenset({"apply", "load_state_dict", "reset_parameters", "reset", "deepcopy"})


@rule.on_source
def state_is_lost(file: SourceFile) -> Iterator[Finding]:
    if not file.calls_named("backward"):
        return
    for call in file.calls:
        if not isinstance(call.loop, ast.For | ast.AsyncFor | ast.While):
            continue
        if not is_optimizer_class(call.dotted) or not call.node.args:
            continue
        target = _target(call)
        if target is None or not _has_state(file, call):
            continue
        loops = enclosing_loops(call.statement)
        loop = loops[0]
        if not _goes_on_training(call, loop, target) or _is_a_fresh_start(call, loop):
            continue
        before = _built_before(file, call, target)
        if not _is_a_rebuild(call, loop, before):
            continue
        yield Finding(
            f"`{target}` is built again inside the training loop: its state so far is lost",
            file.location(call.node),
            label="a new optimizer, without state",
            related=(Related(file.location(before.node), "first built here"),) if before else (),
            help="build it once before the loop; change the learning rate with a scheduler, or in "
            f"{target}.param_groups",
            fix=_before_the_loop(file, call, loop)
            if before is None
            else _with_another_rate(file, call, before, target),
        )


def _with_another_rate(file: SourceFile, call: Call, before: Call, target: str) -> Fix | None:
    """The fix that sets the learning rate, where that is all that can differ."""
    rate = call.argument("lr", 1)
    is_one_group = isinstance(call.node.args[0], ast.Call)
    if not isinstance(rate, ast.Name | ast.Attribute) or not is_one_group:
        return None
    if ast.dump(call.node) != ast.dump(before.node):
        return None
    new = f'{target}.param_groups[0]["lr"] = {file.text(rate)}'
    return Fix("unsafe", (replacement(file, call.statement.node, new),))


def _before_the_loop(file: SourceFile, call: Call, loop: LoopStatement) -> Fix | None:
    """The fix that moves the construction, where it needs nothing that the loop makes."""
    statement = call.statement.node
    assert isinstance(statement, ast.Assign)
    needed = (
        binding
        for name in names_of(call.node)
        for binding in call.scope.bindings.get(name, [])
        if binding.statement.is_in(loop) or binding.statement.node is loop
    )
    if call.statement.suite.owner is not loop or is_alone(statement, loop) or any(needed):
        return None
    line, gone = line_before(file, loop, file.text(statement)), without_line(file, statement)
    return Fix("unsafe", (line, gone)) if line is not None and gone is not None else None


def _target(call: Call) -> str | None:
    node = call.statement.node
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and node.value is call.node:
        return text_of(node.targets[0])
    return None


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
        if any(_AFRESH.search(name) for name in names):
            return True
        if not (counts and any(_STEPS.match(name) for name in names)) and not any(
            _LOADER.search(source) for source in sources
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
        if reference.kind == "store" and ".".join(reference.parts) in roots - {_target(call)}:
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
