"""An initialisation of the whole model also visits a part that came in trained.

What it does
------------
Looks for `self.apply(init)`, or a loop of `init` over `self.modules()`, in the constructor of a
module which holds a part that was made with trained weights, had them loaded, or that every caller
hands over as pretrained; and in scripts, for `model.apply(init)` after the weights came in. Silent
where weights are loaded afterwards, where the initialisation asks what it visits, and below an
`if`.

Why it is bad
-------------
`apply` and `modules()` visit every submodule. The trained weights are overwritten with random ones,
and the model trains from scratch, which only shows in worse results.

Example
-------
    self.encoder = AutoModel.from_pretrained(name)
    self.head = nn.Linear(768, classes)
    self.apply(init)

Use instead
-----------
    self.encoder = AutoModel.from_pretrained(name)
    self.head = nn.Linear(768, classes)
    self.head.apply(init)
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from archcheck.core.finding import Finding, Location, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import SourceFile, Statement

from ._pretrained import Reset, resets_in_constructors, resets_in_scripts

rule = Rule("AC514", "pretrained-reset", Severity.ERROR)


@rule.on_source
def overwritten_in_the_constructor(file: SourceFile) -> Iterator[Finding]:
    yield from map(_finding, resets_in_constructors(file))


@rule.on_source
def overwritten_in_the_script(file: SourceFile) -> Iterator[Finding]:
    yield from map(_finding, {one.node: one for one in resets_in_scripts(file)}.values())


def _finding(reset: Reset) -> Finding:
    return Finding(
        f"this initialises `{reset.part}` as well, whose weights came in trained: they are lost",
        _place(reset.node, reset.statement),
        label="draws new weights for every part",
        related=(Related(_place(reset.origin, reset.at), "comes with trained weights"),),
        help="initialise the new parts alone, or before the trained ones come in",
    )


def _place(node: ast.AST, statement: Statement) -> Location:
    """The line that opens a loop, or all of a call."""
    file = statement.scope.file
    place = file.location(node)
    if not isinstance(node, ast.For):
        return place
    end = len(file.lines[place.line - 1].rstrip()) + 1
    return Location(place.path, place.line, place.column, place.line, end)
