"""A bias that the next normalisation cancels.

What it does
------------
Looks for linear layers and convolutions with a bias whose result goes straight into a batch norm or
an instance norm, and for those that reach one through pooling and another convolution.

Why it is bad
-------------
The norm subtracts the mean of each channel, the bias included, and adds a bias of its own. The
parameters are stored, loaded and updated for nothing.

Example
-------
    features = nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.ReLU())

Use instead
-----------
    features = nn.Sequential(nn.Conv2d(3, 64, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU())
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.shapes.failures import node_at, source_file
from archcheck.core.finding import Finding, Fix, Location, Severity
from archcheck.core.rule import Rule
from archcheck.python import Link, Project, SourceFile

from ._cancelled_bias import NORM_LAYERS, cancelled_biases, is_biased, without_bias

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC306", "bias-before-norm", Severity.NOTE, fix="safe")


@rule.on_source
def next_to_each_other(file: SourceFile) -> Iterator[Finding]:
    for chain in file.chains:
        for layer, norm in chain.pairs():
            if layer.layer is None or not norm.is_a(*NORM_LAYERS):
                continue
            if is_biased(layer.layer) and _is_only_read_by(layer, norm):
                own = _is_built_for(layer, norm)
                fix = without_bias(layer.layer.file, layer.layer.node) if own else None
                yield _finding(layer.name, norm.name, layer.layer.location, fix)


def _is_built_for(layer: Link, norm: Link) -> bool:
    """Whether what is built there always comes before this norm: in one container with it, or in
    a constructor."""
    if layer.layer is None or norm.layer is None:
        return False
    around = layer.layer.statement.scope.function
    together = layer.contained and layer.layer.statement is norm.layer.statement
    return together or around is None or around.name == "__init__"


def _is_only_read_by(layer: Link, norm: Link) -> bool:
    inside = layer.step is None or layer.step is norm.step
    return inside or (layer.step is not None and len(set(layer.step.readers)) == 1)


@rule.on_trace
def on_the_way_to_a_norm(trace: Trace, project: Project) -> Iterator[Finding]:
    found = list(cancelled_biases(trace))
    cancelled = {trace.calls[op.call].path for op, _, _ in found if op.call is not None}
    for op, norm, exact in found:
        module, other = trace.module_of(op), trace.module_of(norm)
        at = module.constructed if module is not None else None
        if at is None or module is None or other is None:
            continue
        file = source_file(project, at)
        node = node_at(file, at) if file is not None else None
        alike = all(one.path in cancelled for one in trace.modules if one.constructed == at)
        fix = without_bias(file, node) if file and node and exact and alike else None
        but = "" if exact else ", all but at the borders"
        yield _finding(module.path, other.path, at, fix, but)


def _finding(name: str, norm: str, at: Location, fix: Fix | None, but: str = "") -> Finding:
    return Finding(
        f"`{name}` has a bias that `{norm}` cancels{but}",
        at,
        label="bias=True",
        module=name,
        help="bias=False",
        fix=fix,
    )
