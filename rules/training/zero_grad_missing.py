"""A training loop never clears the gradients.

What it does
------------
Looks for loops in which `loss.backward()` and the step of one of torch's optimizers run again and
again, and nothing in the loop clears gradients: no `zero_grad()` of an optimizer or a model, no
`parameter.grad = None`, and no function that is handed the optimizer and might. Clearing every few
steps is gradient accumulation, and fine.

Why it is bad
-------------
`backward` adds to the gradients that are there. Each step then follows the sum of the gradients of
all steps before it: the loss may fall at first, and then diverges.

Example
-------
    for x, y in loader:
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()

Use instead
-----------
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from archcheck.analysis.edits.syntax_edits import line_after
from archcheck.analysis.source.elision import is_elided
from archcheck.core.finding import Finding, Fix, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import UNKNOWN, Call, Function, SourceFile
from archcheck.python.modules.writes import attribute_writes

from ._optimizers import is_optimizer
from ._scripts import (
    LoopStatement,
    calls_in,
    enclosing_loops,
    functions_called,
    text_of,
    values_of,
)

rule = Rule("AC502", "zero-grad-missing", Severity.ERROR, fix="safe")

# What an optimizer or a model may be handed to without its gradients being cleared.
_HARMLESS = frozenset({
    "step", "unscale_", "clip_grad_norm_", "clip_grad_value_", "print", "len", "isinstance",
    "update", "scale", "backward", "next", "iter", "tqdm",
})  # fmt: skip


@rule.on_source
def gradients_pile_up(file: SourceFile) -> Iterator[Finding]:
    for call in file.calls_named("step"):
        optimizer = _stepped(file, call)
        loops = enclosing_loops(call.statement)
        if optimizer is None or not loops:
            continue
        loop = _training_loop(optimizer, call, loops)
        if loop is None:
            continue
        backward = _backward(call, loop)
        if backward is None or _may_clear(call, loops[-1], optimizer):
            continue
        if is_elided(file, loops[-1]):
            continue
        name = text_of(optimizer) or "optimizer"
        yield Finding(
            f"the loop never clears the gradients: each `{name}.step()` follows the sum of all "
            "gradients so far",
            file.location(call.node),
            label="steps along the sum",
            related=(Related(file.location(backward.node), "adds to the gradients"),),
            help=f"call {name}.zero_grad() before backward()",
            fix=_cleared_after(file, call, optimizer),
        )


def _cleared_after(file: SourceFile, call: Call, optimizer: ast.expr) -> Fix | None:
    """The fix that clears the gradients right after the step, wherever they were summed up."""
    statement, name = call.statement.node, text_of(optimizer)
    if not isinstance(statement, ast.Expr) or statement.value is not call.node or name is None:
        return None
    edit = line_after(file, statement, f"{name}.zero_grad()")
    return Fix("safe", (edit,)) if edit is not None else None


def _stepped(file: SourceFile, call: Call) -> ast.expr | None:
    """The optimizer of `optimizer.step()` or `scaler.step(optimizer)`."""
    if call.node.keywords or call.receiver is None:
        return None
    if not call.node.args:
        return call.receiver if is_optimizer(file, call.receiver, call.statement) else None
    only = call.node.args[0]
    if len(call.node.args) == 1 and is_optimizer(file, only, call.statement):
        return None if is_optimizer(file, call.receiver, call.statement) else only
    return None


def _training_loop(
    optimizer: ast.expr, call: Call, loops: tuple[LoopStatement, ...]
) -> LoopStatement | None:
    """The outermost loop that goes on with one and the same optimizer."""
    made = [statement for _, statement in values_of(optimizer, call.statement)]
    kept = [
        loop
        for loop in loops
        if not any(place.scope is call.scope and place.is_in(loop) for place in made)
    ]
    return kept[-1] if kept else None


def _backward(call: Call, loop: LoopStatement) -> Call | None:
    for other in calls_in(call.scope, loop):
        # `engine.backward(loss)` belongs to an engine, which may clear by itself.
        if other.name == "backward" and not other.node.args:
            return other
    return None


def _may_clear(call: Call, loop: LoopStatement, optimizer: ast.expr) -> bool:
    """Whether anything in the loop clears gradients, or might."""
    scope = call.scope
    names = {text_of(optimizer)}
    for reference in scope.references:
        if reference.statement.is_in(loop) and "grad" in reference.parts[1:]:
            return True
    inside = calls_in(scope, loop)
    for other in inside:
        if other.name in ("zero_grad", "requires_grad_"):
            return True
        if other.name in _HARMLESS or (other.dotted or "").startswith("torch."):
            continue
        given = [*other.node.args, *(keyword.value for keyword in other.node.keywords)]
        if any(text_of(item) in names for item in given):
            return True
        if _is_unknown_method(other):
            return True
    if any("zero_grad" in {c.name for c in f.calls} for f in functions_called(inside)):
        return True
    nested = scope.functions
    return any("zero_grad" in {c.name for c in function.calls} for function in nested)


def _is_unknown_method(call: Call) -> bool:
    """Whether a method of `self` is called that cannot be looked into."""
    function = call.scope.function
    owner = function.owner if isinstance(function, Function) else None
    if owner is None or function is None or len(call.parts) != 2:
        return False
    if call.parts[0] != function.self_name or owner.find_method(call.name) is not None:
        return False
    if any(base is UNKNOWN for base in owner.outside_bases):
        return True
    return not any(
        write.name == call.name
        for ancestor in owner.lineage
        for write in attribute_writes(ancestor)
    )
