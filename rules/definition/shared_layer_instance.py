"""One layer instance stands in a container several times.

What it does
------------
Looks for `[layer] * n`, `[layer for _ in range(n)]` with a layer made outside, the same name
twice among the arguments of a container, and `layers.append(layer)` in a loop with a layer made
before it. Layers without parameters may be repeated; so may layers whose name, or a comment or
docstring nearby, says that they are shared.

Why it is bad
-------------
All places share one set of weights: the network is as deep as it reads, with the parameters of a
single layer. For a batch norm they share their statistics too.

Example
-------
    self.blocks = nn.ModuleList([Block(width)] * depth)

Use instead
-----------
    self.blocks = nn.ModuleList([Block(width) for _ in range(depth)])
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.core.finding import Finding, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project, SourceFile

from ._shared_layers import shared_layers, shared_modules

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC114", "shared-layer-instance", Severity.WARNING)

_HELP = "build a layer for each place, or say in a comment that they are shared"


@rule.on_source
def one_instance_in_many_places(file: SourceFile) -> Iterator[Finding]:
    for layer in shared_layers(file):
        yield Finding(
            f"one `{layer.name}` instance stands in several places of a container: all share its "
            "weights",
            file.location(layer.node),
            label="the same instance again",
            related=(Related(layer.built, "the one instance"),) if layer.built else (),
            help=_HELP,
        )


@rule.on_trace
def one_module_at_several_places(trace: Trace, project: Project) -> Iterator[Finding]:
    for shared in shared_modules(trace, project):
        yield Finding(
            f"`{shared.path}` and {_listed(shared.again)} are one {shared.module.type} instance: "
            "they share its weights",
            shared.container,
            label="the same instance again",
            module=shared.path,
            related=(Related(shared.built, "the one instance"),),
            help=_HELP,
        )


def _listed(paths: list[str]) -> str:
    shown = ", ".join(f"`{path}`" for path in paths[:3])
    return f"{shown} and {len(paths) - 3} more" if len(paths) > 3 else shown
