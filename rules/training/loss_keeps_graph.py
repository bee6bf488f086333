"""What a loop keeps of its losses keeps the graph of every step alive.

What it does
------------
Looks in training loops for losses and outputs that are added to a total, or put into a list, as the
tensors that they are, while `backward()` runs through their graph in the same loop. Totals and
lists that are differentiated themselves, or handed to code that cannot be looked into, are left
alone, and so is everything under `torch.no_grad()`.

Why it is bad
-------------
Such a tensor holds the graph that it was computed by. After `backward()` the graph has lost its
activations, but all of its nodes stay: measured on the CPU, some 2 kB for every linear layer and
step with `total += loss` and with `losses.append(loss)` alike, against nothing with `loss.item()`.
Without a `backward()`, all activations stay as well. Memory grows with every step of the epoch.

Example
-------
    for x, y in loader:
        loss = criterion(model(x), y)
        loss.backward()
        total += loss
        losses.append(loss)

Use instead
-----------
    for x, y in loader:
        loss = criterion(model(x), y)
        loss.backward()
        total += loss.item()
        losses.append(loss.item())
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from archcheck.analysis.edits.syntax_edits import after, replacement
from archcheck.core.finding import Finding, Fix, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import SourceFile

from ._totals import Kept, kept_graphs

rule = Rule("AC503", "loss-keeps-graph", Severity.WARNING, fix="safe")

# Measured by benchmarks/loss_history.py.
MEASURED = (
    "after backward() the nodes of the graph stay, without its activations: some 2 kB for each "
    "layer and step, measured, where a number keeps nothing"
)


@rule.on_source
def history_with_its_graphs(file: SourceFile) -> Iterator[Finding]:
    for kept in {kept.keep.location: kept for kept in kept_graphs(file)}.values():
        adds = not isinstance(kept.keep.node, ast.Call)
        how = "is added" if adds else "is put in"
        yield Finding(
            f"`{kept.container}` keeps the graph of every step: `{kept.value}` {how} with its "
            "history",
            kept.keep.location,
            label="a tensor with its graph",
            related=(Related(kept.backward.location, "its graph is used here"),),
            notes=(MEASURED,),
            help=f"{'add' if adds else 'keep'} {kept.value}.item()"
            if isinstance(kept.added, ast.Name)
            else f"{'add' if adds else 'keep'} ({kept.value}).item()",
            fix=_detached(kept),
        )


def _detached(kept: Kept) -> Fix:
    """The fix that leaves the history behind. What is kept is a tensor still: it may be asked for
    what a number does not have."""
    file = kept.keep.file
    if isinstance(kept.added, ast.Name | ast.Attribute):
        return Fix("safe", (after(file, kept.added, ".detach()"),))
    return Fix("safe", (replacement(file, kept.added, f"({kept.value}).detach()"),))
