"""A loss gets its arguments in the wrong order, or of ranks that it takes otherwise than meant.

What it does
------------
Follows the run of a script and looks for cross entropy, NLL and binary cross entropy that get the
target of the batch first and what the model answers second; and for regression losses, and
differences, of a column (B, 1) and a row of numbers (B,).

Why it is bad
-------------
The first argument is taken for the scores: with the two swapped the loss raises, or trains on a
formula that means nothing. A column and a row broadcast to a table of B x B: every prediction is
pulled to every target, and the model learns the mean.

Example
-------
    loss = F.mse_loss(model(x), y.squeeze(1))

Use instead
-----------
    loss = F.mse_loss(model(x).squeeze(1), y.squeeze(1))
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from archcheck.analysis.edits.syntax_edits import replacement
from archcheck.core.finding import Finding, Fix, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import SourceFile

from ._loss_arguments import mixed_ranks, swapped_arguments

rule = Rule("AC410", "loss-arguments", Severity.ERROR, fix="safe")


@rule.on_source
def target_first(file: SourceFile) -> Iterator[Finding]:
    found = {call.node: (call, first, second) for call, first, second in swapped_arguments(file)}
    for call, first, second in found.values():
        at = call.file
        yield Finding(
            f"the loss gets the target `{at.text(first)}` first: it takes the prediction first",
            call.location,
            label="the target before the prediction",
            help=f"({at.text(second)}, {at.text(first)})",
            fix=Fix(
                "safe",
                (
                    replacement(at, first, at.text(second)),
                    replacement(at, second, at.text(first)),
                ),
            ),
        )


@rule.on_source
def column_against_row(file: SourceFile) -> Iterator[Finding]:
    for mixed in {mixed.event.node: mixed for mixed in mixed_ranks(file)}.values():
        at = mixed.event.file
        what = "difference" if isinstance(mixed.event.node, ast.BinOp) else "loss"
        yield Finding(
            f"the {what} broadcasts (B, 1) and (B,) to (B, B): every prediction meets every target",
            mixed.event.location,
            label="a table of B x B",
            related=(
                Related(at.location(mixed.column), "a column: (B, 1)"),
                Related(at.location(mixed.flat), "a row: (B,)"),
            ),
            help="bring both to one rank, such as (B,) by .squeeze(-1)",
        )
