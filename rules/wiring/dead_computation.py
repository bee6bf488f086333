"""Layers compute something that nothing reads.

What it does
------------
Looks for layers, and for other operators, whose results reach no output of the model and no
buffer, and that the source drops: the value is bound to a name that no branch reads, is
overwritten before it is read, or is not bound at all. A call of a module that keeps something of
its own accord, as those do that collect auxiliary losses, is left alone.

Why it is bad
-------------
A layer that was meant to be part of the network is not. It costs memory and time, and its weights
are never trained. `self.bn(x)` in the place of `x = self.bn(x)` is the shortest form of it.

Example
-------
    class Net(nn.Module):
        def forward(self, x):
            h = torch.relu(self.fc1(x))
            self.norm(h)
            return self.fc2(h)

Use instead
-----------
    class Net(nn.Module):
        def forward(self, x):
            h = torch.relu(self.fc1(x))
            h = self.norm(h)
            return self.fc2(h)
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.dataflow.dropped_values import (
    is_dropped,
    is_thrown_away,
    leaves_something_behind,
)
from archcheck.analysis.shapes.failures import node_at, shortened, source_file
from archcheck.core.finding import Finding, Location, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

if TYPE_CHECKING:
    from archcheck.evidence.records import Op
    from archcheck.evidence.trace import Trace

rule = Rule("AC302", "dead-computation", Severity.WARNING, fades=True)


@rule.on_trace
def read_by_nobody(trace: Trace, project: Project) -> Iterator[Finding]:
    if not trace.complete or trace.failures or not trace.dataflow.outputs:
        return
    for at, ops in trace.dataflow.dead_places().items():
        file = source_file(project, at)
        node = node_at(file, at) if file is not None else None
        if file is None or node is None or not is_dropped(file, node):
            continue
        if leaves_something_behind(trace, project, ops):
            continue
        layers = trace.dataflow.layers_before(ops)
        alone = is_thrown_away(file, node)
        if layers or (alone and _computes(node, ops)):
            yield _finding(at, shortened(file.text(node)), layers, alone)


def _computes(node: ast.AST, ops: list[Op]) -> bool:
    """Whether a statement is a call of a layer or operator itself, not of a check that uses one."""
    function = node.func if isinstance(node, ast.Call) else None
    if not isinstance(function, ast.Attribute):
        return False
    of_self = isinstance(function.value, ast.Name) and function.value.id == "self"
    return of_self or function.attr in {op.function.rpartition(".")[2] for op in ops}


def _finding(at: Location, written: str, layers: list[str], alone: bool) -> Finding:
    names = ", ".join(f"`{name}`" for name in layers[:3])
    more = f" and {len(layers) - 3} more" if len(layers) > 3 else ""
    what = "is thrown away" if alone else "is never read"
    compute = "computes" if len(layers) == 1 else "compute"
    vain = f": {names}{more} {compute} in vain" if names else ""
    return Finding(
        f"the result of `{written}` {what}{vain}",
        at,
        label="goes nowhere",
        module=layers[-1] if layers else None,
        help="bind it and use it: `x = …`" if alone else "use it, or leave it out",
    )
