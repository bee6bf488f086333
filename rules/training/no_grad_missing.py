"""An evaluation loop builds graphs that nothing differentiates.

What it does
------------
Follows the run of a script and looks for loops that call a model which was put into eval mode, with
gradients switched on: no `torch.no_grad()` or `inference_mode()` around, no `backward()` in the
loop or through its results. Silent where the model is frozen, where code that cannot be looked into
stands around (a context manager, a decorator), and where gradients of the inputs are taken.

Why it is bad
-------------
`eval()` changes dropout and batch norm and switches no gradients off. Each batch keeps its
activations until its results are gone: several times the memory, and slower; results that are
collected keep the graph of every batch.

Example
-------
    model.eval()
    for x, y in val_loader:
        total += criterion(model(x), y).item()

Use instead
-----------
    model.eval()
    with torch.no_grad():
        for x, y in val_loader:
            total += criterion(model(x), y).item()
"""

from __future__ import annotations

from collections.abc import Iterator

from archcheck.analysis.source.elision import is_elided
from archcheck.core.finding import Finding, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import Loop, SourceFile

from ._graphs import graphs_of_evaluations

rule = Rule("AC509", "no-grad-missing", Severity.WARNING)


@rule.on_source
def graphs_for_nothing(file: SourceFile) -> Iterator[Finding]:
    for found in {found.loop.node: found for found in graphs_of_evaluations(file)}.values():
        loop = Loop(found.loop.statement)
        if is_elided(loop.scope.file, loop.node):
            continue
        yield Finding(
            "this evaluation loop builds graphs, and nothing differentiates them",
            loop.location,
            label="no torch.no_grad() around it",
            related=(
                Related(found.call.location, "builds a graph"),
                Related(found.switch.location, "switches to eval mode, and no gradients off"),
            ),
            help="put the loop under `with torch.no_grad():`",
        )
