"""A softmax that does not say over which dimension it normalises.

What it does
------------
Looks for `F.softmax`, `F.log_softmax`, `F.softmin` and their modules without `dim`.

Why it is bad
-------------
torch picks the dimension by the rank of what arrives: the first one for vectors and for
`[N, L, C]`, the second one otherwise. The same line that normalises over the classes of a batch of
logits normalises over the samples once a sequence dimension is added, without a word but a
deprecation warning.

Example
-------
    class Net(nn.Module):
        def forward(self, x):
            return F.softmax(self.classifier(x))

Use instead
-----------
    class Net(nn.Module):
        def forward(self, x):
            return F.softmax(self.classifier(x), dim=-1)
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.dataflow.final_op_in_source import link_before
from archcheck.analysis.dataflow.final_op_in_trace import (
    SOFTMAXES,
    resolved_dim,
    softmax_call,
    with_dim,
)
from archcheck.analysis.shapes.arithmetic import text
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project, SourceFile

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC402", "softmax-without-dim", Severity.WARNING, fix="safe")

FUNCTIONS = tuple(f"torch.nn.functional.{name}" for name in ("softmax", "log_softmax", "softmin"))
MODULES = tuple(f"torch.nn.{name}" for name in ("Softmax", "LogSoftmax", "Softmin"))

# Where the classes are in what an operation gives.
CLASSES = {"linear": -1, "conv1d": 1, "conv2d": 1, "conv3d": 1}


@rule.on_source
def written_without(file: SourceFile) -> Iterator[Finding]:
    for position, names in ((1, FUNCTIONS), (0, MODULES)):
        for call in file.calls_to(*names):
            given = call.argument("dim", position)
            said = given is not None and file.value(given, call.statement) is not None
            if said or call.has_star:
                continue
            before = link_before(file, call.node)
            dim = CLASSES.get(before.operation) if before is not None else None
            yield _finding(file, call.node, position, dim, "it picks one by the rank of its input")


@rule.on_trace
def picked_by_rank(trace: Trace, project: Project) -> Iterator[Finding]:
    for op in trace.ops:
        if op.name in SOFTMAXES and op.inputs and op.arguments.get("dim", 0) is None:
            call = softmax_call(trace, project, op)
            if call is not None:
                picked = resolved_dim(trace, op)
                what = f"for {text(trace.shape(op.inputs[0]))} it picks dimension {picked}"
                yield _finding(*call, picked or -1, what)


def _finding(
    file: SourceFile, node: ast.Call, position: int, dim: int | None, what: str
) -> Finding:
    known = "say it: dim=-1 where the classes come last, dim=1 for [N, C, H, W]"
    return Finding(
        f"`{file.text(node.func)}` has no `dim`: {what}",
        file.location(node),
        label="over which dimension?",
        help=known if dim is None else f"say it: dim={dim}",
        fix=with_dim(file, node, position, dim) if dim is not None else None,
    )
