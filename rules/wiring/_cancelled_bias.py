"""Biases that the next normalisation takes out again."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from archcheck.analysis.edits.syntax_edits import after, replacement
from archcheck.core.finding import Fix
from archcheck.evidence.dataflow import AFFINE, MOVES
from archcheck.python.names.scope import argument_of, has_star

if TYPE_CHECKING:
    from archcheck.evidence.records import Op
    from archcheck.evidence.trace import Trace
    from archcheck.python import Layer, SourceFile

# Norms that take the mean of each channel on its own.
NORMS: Final = frozenset("batch_norm instance_norm".split())
NORM_LAYERS: Final = (
    "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm", "InstanceNorm1d",
    "InstanceNorm2d", "InstanceNorm3d",
)  # fmt: skip
BIASED: Final = (
    "Linear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d",
    "ConvTranspose3d",
)  # fmt: skip
# What keeps a number that is added to a whole channel such a number.
_KEEPING: Final = MOVES | frozenset(
    "max_pool1d max_pool2d max_pool3d adaptive_max_pool2d adaptive_avg_pool2d avg_pool2d".split()
)


def cancelled_biases(trace: Trace) -> Iterator[tuple[Op, Op, bool]]:
    """The layers whose bias a norm cancels, with the norm, and whether that is exact: behind
    another convolution, only where no zero padding is read."""
    for op in trace.ops:
        bias = op.arguments.get("bias") if op.name in AFFINE and len(op.inputs) == 3 else None
        if bias is None or trace.values[op.inputs[2]].kind != "parameter":
            continue
        exact, now = True, op
        while now.name not in NORMS:
            users = [trace.ops[i] for value in now.outputs for i in trace.values[value].users]
            returned = not set(now.outputs).isdisjoint(trace.dataflow.outputs)
            if returned or len(users) != 1 or users[0].inputs[0] not in now.outputs:
                break
            now = users[0]
            exact = exact and now.name not in AFFINE
            if now.name not in _KEEPING | NORMS | AFFINE:
                break
        if now.name in NORMS:
            yield op, now, exact


def without_bias(file: SourceFile, node: ast.AST) -> Fix | None:
    """The fix that builds a layer without a bias."""
    if not isinstance(node, ast.Call) or has_star(node):
        return None
    given = argument_of(node, "bias")
    if given is not None:
        return Fix("safe", (replacement(file, given, "False"),))
    arguments = (*node.args, *node.keywords)
    return Fix("safe", (after(file, arguments[-1], ", bias=False"),)) if arguments else None


def is_biased(layer: Layer | None) -> bool:
    """Whether a layer surely has a bias."""
    return layer is not None and layer.is_a(*BIASED) and layer.argument("bias") is True
