"""A layer with weights is constructed inside `forward`.

What it does
------------
Looks for layers with parameters that `forward`, or a method that it calls, builds and applies at
once, or assigns to `self` on every call. Layers without parameters, layers that are built once
under a condition, and layers whose weights the code sets itself are left alone.

Why it is bad
-------------
Each call starts with new random weights: the output changes from call to call, and nothing of
the layer is ever trained or saved.

Example
-------
    def forward(self, x):
        x = self.body(x).flatten(1)
        return nn.Linear(x.shape[1], 10)(x)

Use instead
-----------
    def __init__(self, width):
        super().__init__()
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        x = self.body(x).flatten(1)
        return self.head(x)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.core.finding import Finding, Location, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project, SourceFile

from ._layers_built_in_forward import layers_built_in, layers_built_in_the_pass

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC113", "layer-built-in-forward", Severity.ERROR)


@rule.on_source
def new_weights_each_time(file: SourceFile) -> Iterator[Finding]:
    for module in file.modules:
        for call in layers_built_in(module):
            name = f"nn.{call.name}" if call.module_class is None else call.name
            yield _finding(name, f" of `{module.name}`", file.location(call.node))


@rule.on_trace
def weights_made_in_the_pass(trace: Trace, project: Project) -> Iterator[Finding]:
    for name, maker in layers_built_in_the_pass(trace, project):
        yield _finding(name, "", maker)


def _finding(name: str, owner: str, location: Location) -> Finding:
    return Finding(
        f"`{name}` is built anew in every forward pass{owner}: its weights are random each time "
        "and never trained",
        location,
        label="new weights at every call",
        help="build it once, in __init__",
    )
