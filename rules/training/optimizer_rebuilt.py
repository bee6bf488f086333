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
rebuild; a learning-rate scheduler keeps adjusting the old one.

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
from collections.abc import Iterator

from archcheck.analysis.edits.syntax_edits import is_alone, line_before, replacement, without_line
from archcheck.core.finding import Finding, Fix, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import Call, SourceFile

from ._optimizers import Rebuild, rebuilds, rebuilds_by_calls
from ._scripts import names_of

rule = Rule("AC505", "optimizer-rebuilt", Severity.WARNING, fix="unsafe")


@rule.on_source
def state_is_lost(file: SourceFile) -> Iterator[Finding]:
    for rebuild in rebuilds(file):
        name, first = rebuild.name, rebuild.first
        yield Finding(
            f"`{name}` is built again inside the training loop: its state so far is lost",
            file.location(rebuild.call.node),
            label="a new optimizer, without state",
            related=(Related(file.location(first.node), "first built here"),) if first else (),
            help="build it once before the loop; change the learning rate with a scheduler, or in "
            f"{name}.param_groups",
            fix=_before_the_loop(file, rebuild)
            if first is None
            else _with_another_rate(file, rebuild, first),
        )


@rule.on_source
def state_is_lost_in_a_helper(file: SourceFile) -> Iterator[Finding]:
    for build, step, loop in rebuilds_by_calls(file):
        yield Finding(
            "the training loop calls a function that builds this optimizer again each time: its "
            "state so far is lost",
            build.location,
            label="a new optimizer, without state",
            related=(
                Related(loop.statement.scope.file.location(loop.node), "the loop"),
                Related(step.location, "steps with it"),
            ),
            help="build it once before the loop, and hand it to the function",
        )


def _with_another_rate(file: SourceFile, rebuild: Rebuild, first: Call) -> Fix | None:
    """The fix that sets the learning rate, where that is all that can differ."""
    call = rebuild.call
    rate = call.argument("lr", 1)
    is_one_group = isinstance(call.node.args[0], ast.Call)
    if not isinstance(rate, ast.Name | ast.Attribute) or not is_one_group:
        return None
    if ast.dump(call.node) != ast.dump(first.node):
        return None
    new = f'{rebuild.name}.param_groups[0]["lr"] = {file.text(rate)}'
    return Fix("unsafe", (replacement(file, call.statement.node, new),))


def _before_the_loop(file: SourceFile, rebuild: Rebuild) -> Fix | None:
    """The fix that moves the construction, where it needs nothing that the loop makes."""
    call, loop = rebuild.call, rebuild.loop
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
