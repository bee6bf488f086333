"""A `forward` computes something and does not return it.

What it does
------------
Looks for a `forward` that can reach its end without a `return`, where the last thing that it does
on the way is to compute a value that nothing reads. A forward that keeps its result (in an
attribute, a list, a tensor that it was given), that is abstract, or that simply does nothing on
some path is left alone. From a trace, for a model whose forward returned None.

Why it is bad
-------------
The caller gets None, and fails somewhere else: "'NoneType' object has no attribute 'backward'".

Example
-------
    class Net(nn.Module):
        def forward(self, x):
            x = self.hidden(x)
            x = self.out(x)

Use instead
-----------
    class Net(nn.Module):
        def forward(self, x):
            x = self.hidden(x)
            return self.out(x)
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from archcheck.analysis.edits.syntax_edits import before, line_after
from archcheck.analysis.source.elision import is_elided
from archcheck.analysis.source.templates import is_template
from archcheck.core.finding import Finding, Fix, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import Function, ModuleClass, Project, SourceFile

from ._unreturned_values import (
    forwards_that_gave_none,
    last_statements,
    lost_statements,
    may_return_nothing,
)

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC105", "forward-returns-nothing", Severity.ERROR, fix="unsafe")


@rule.on_source
def last_value_is_lost(file: SourceFile) -> Iterator[Finding]:
    for module in () if is_template(file) else file.modules:
        forward = module.forward
        if forward is None or not may_return_nothing(forward) or is_elided(file, forward.node):
            continue
        lost = next(lost_statements(module, forward), None)
        if lost is not None:
            yield _finding(file, module, forward, lost)


@rule.on_trace
def returned_none(trace: Trace, project: Project) -> Iterator[Finding]:
    for module, forward, lost, then in forwards_that_gave_none(trace, project):
        found = _finding(module.file, module, forward, lost)
        yield replace(found, explains=then.location) if then is not None else found


def _finding(file: SourceFile, module: ModuleClass, forward: Function, last: ast.stmt) -> Finding:
    path = " on one path" if any(node.value is not None for node in forward.returns) else ""
    return Finding(
        f"`{module.name}.forward` returns nothing{path}: what it computes last is lost",
        file.name_location(forward.node),
        label=f"gives None{path}",
        related=(Related(file.location(last), "computed last, and never returned"),),
        help="return the value that it computes last",
        fix=_returned(file, forward),
        explains=file.location(forward.node),
    )


def _returned(file: SourceFile, forward: Function) -> Fix | None:
    """The fix that returns what every path computes last. What becomes of it then, no rule has
    seen so far."""
    body = forward.node.body
    lasts = list(last_statements(body))
    if lasts == body[-1:] and isinstance(lasts[0], ast.Expr):
        return Fix("unsafe", (before(file, lasts[0], "return "),), reveals=True)
    name, *others = {_name_bound(last) for last in lasts}
    edit = line_after(file, body[-1], f"return {name}") if name and not others else None
    return Fix("unsafe", (edit,), reveals=True) if edit is not None else None


def _name_bound(statement: ast.stmt) -> str | None:
    """The one name that a plain assignment binds."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name
    return None
