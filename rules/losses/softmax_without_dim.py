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

from archcheck.edits import after, insertion, replacement
from archcheck.endings import link_before
from archcheck.evidence import Trace
from archcheck.faults import node_at, source_file
from archcheck.finding import Finding, Fix, Severity
from archcheck.rule import Rule
from archcheck.shapes import text
from archcheck.source import Project, SourceFile
from archcheck.source.scope import argument_of, has_star

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
        if op.name not in ("softmax", "log_softmax", "softmin") or op.location is None:
            continue
        if op.arguments.get("dim", 0) is not None or not op.inputs:
            continue
        module = trace.module_of(op)
        layer = module if module is not None and module.type in ("Softmax", "LogSoftmax") else None
        at = (layer.constructed if layer is not None else None) or op.location
        file = source_file(project, at)
        node = node_at(file, at) if file is not None else None
        if file is None or not isinstance(node, ast.Call):
            continue
        shape = trace.shape(op.inputs[0])
        picked = 0 if len(shape) in (0, 1, 3) else 1
        yield _finding(
            file, node, 0 if layer else 1, picked or -1,
            f"for {text(shape)} it picks dimension {picked}",
        )  # fmt: skip


def _finding(
    file: SourceFile, node: ast.Call, position: int, dim: int | None, what: str
) -> Finding:
    name = file.text(node.func)
    return Finding(
        f"`{name}` has no `dim`: {what}",
        file.location(node),
        label="over which dimension?",
        help=f"say it: dim={-1 if dim is None else dim}"
        + ("" if dim is not None else " where the classes come last, dim=1 for [N, C, H, W]"),
        fix=_fix(file, node, position, dim),
    )


def _fix(file: SourceFile, node: ast.Call, position: int, dim: int | None) -> Fix | None:
    if dim is None or has_star(node):
        return None
    given = argument_of(node, "dim", position)
    if given is not None:
        return Fix("safe", (replacement(file, given, str(dim)),))
    if node.args or node.keywords:
        last = (*node.args, *node.keywords)[-1]
        return Fix("safe", (after(file, last, f", dim={dim}"),))
    at = file.location(node)
    return Fix("safe", (insertion(at.path, at.end_line, at.end_column - 1, f"dim={dim}"),))
