"""A running total of losses keeps the graph of every step alive.

What it does
------------
Looks for `total += loss` in a training loop, where `loss` is the tensor that `backward()` runs
through in that loop and `total` is only added up. Totals that `backward()` runs through
themselves are left alone, and so is everything under `torch.no_grad()`.

Why it is bad
-------------
The total is a tensor with a history: the graph of each step hangs on it until the epoch ends, and
memory grows with every step.

Example
-------
    for x, y in loader:
        loss = criterion(model(x), y)
        loss.backward()
        total += loss

Use instead
-----------
    for x, y in loader:
        loss = criterion(model(x), y)
        loss.backward()
        total += loss.item()
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from archcheck.analysis.edits.syntax_edits import after, replacement
from archcheck.core.finding import Finding, Fix, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import SourceFile

from ._totals import totals_with_history

rule = Rule("AC503", "loss-keeps-graph", Severity.WARNING, fix="safe")


@rule.on_source
def total_with_a_history(file: SourceFile) -> Iterator[Finding]:
    for total in totals_with_history(file):
        yield Finding(
            f"`{total.name}` keeps the graph of every step: `{total.loss}` is added with its "
            "history",
            file.location(total.statement.node),
            label="a tensor with its graph",
            related=(Related(file.location(total.backward.node), "its graph is used here"),),
            help=f"add {total.loss}.item()",
            fix=_detached(file, total.added),
        )


def _detached(file: SourceFile, added: ast.expr) -> Fix:
    """The fix that leaves the history behind. What is added is a tensor still: the total may be
    asked for what a number does not have."""
    if isinstance(added, ast.Name):
        return Fix("safe", (after(file, added, ".detach()"),))
    return Fix("safe", (replacement(file, added, f"({file.text(added)}).detach()"),))
