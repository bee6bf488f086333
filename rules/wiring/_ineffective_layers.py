"""Layers that are the identity: as they are written, or for what they are given."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from archcheck.analysis.dataflow.final_op_in_trace import written_at
from archcheck.evidence.dataflow import MOVES

if TYPE_CHECKING:
    from archcheck.core.finding import Location
    from archcheck.evidence.records import Op
    from archcheck.evidence.trace import Trace
    from archcheck.python import Layer, Link, SourceFile, Step

# What these give has no negative entries.
_NOT_NEGATIVE: Final = frozenset({"relu", "relu6", "sigmoid", "softmax", "softplus", "hardsigmoid"})
# What may stand between and keeps the sign of each entry.
_KEEP_SIGN: Final = frozenset(
    "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d "
    "adaptive_avg_pool2d adaptive_avg_pool3d adaptivemaxpool1d adaptivemaxpool2d "
    "adaptive_max_pool2d dropout dropout1d dropout2d dropout3d flatten view reshape permute "
    "transpose squeeze unsqueeze contiguous identity".split()
)
_RECURRENT: Final = ("RNN", "LSTM", "GRU")
_POOLINGS: Final = ("MaxPool1d", "MaxPool2d", "MaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d")
_DROPOUTS: Final = ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout")
# Padding layers that are the identity where their argument is 0.
_PADDINGS: Final = (
    "ZeroPad1d", "ZeroPad2d", "ZeroPad3d", "ReflectionPad1d", "ReflectionPad2d", "ReplicationPad1d",
    "ReplicationPad2d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d",
)  # fmt: skip


def identities(file: SourceFile) -> Iterator[tuple[Location, str]]:
    """The layers that are the identity by the numbers that stand there, with the reason."""
    for call in file.calls:
        dotted = call.dotted or ""
        if dotted.startswith("torch.nn.functional."):
            reason = _of_function(call.node, dotted.rpartition(".")[2])
        elif dotted.startswith("torch.nn."):
            layers = file.layers(call.node, call.statement)
            reason = _of_layer(layers[0]) if len(layers) == 1 else None
        else:
            continue
        if reason is not None:
            yield file.location(call.node), reason


def _of_layer(layer: Layer) -> str | None:
    if layer.is_a(*_RECURRENT):
        return _of_recurrent(layer)
    name = layer.class_name
    if layer.is_a(*_DROPOUTS) and _is_written(layer, "p", 0):
        return f"{name}(0) drops nothing"
    if layer.is_a(*_POOLINGS) and _is_written(layer, "kernel_size", 1):
        strided = layer.expression("stride") is not None and not _is_written(layer, "stride", 1)
        padded = layer.expression("padding") is not None and not _is_written(layer, "padding", 0)
        return None if strided or padded else f"a {name} of kernel 1 gives what it is given"
    if layer.is_a("Upsample") and _is_written(layer, "scale_factor", 1):
        return "an Upsample by 1 gives what it is given"
    if layer.is_a("PixelShuffle") and _is_written(layer, "upscale_factor", 1):
        return "a PixelShuffle by 1 gives what it is given"
    if layer.is_a(*_PADDINGS) and _is_written(layer, "padding", 0):
        return f"a {name} of 0 pads nothing"
    if layer.is_a("LeakyReLU") and _is_written(layer, "negative_slope", 1):
        return "a LeakyReLU with slope 1 is linear: it gives what it is given"
    return None


def _of_recurrent(layer: Layer) -> str | None:
    """`dropout=` stands between recurrent layers: of one layer it has no place."""
    dropout = layer.expression("dropout")
    if layer.bound is None or not layer.bound.complete or dropout is None:
        return None
    if not isinstance(dropout, ast.Name | ast.Attribute | ast.Constant) or _equals(dropout, 0):
        return None
    layers = layer.expression("num_layers")
    if layers is not None and not _equals(layers, 1):
        return None
    return (
        f"`dropout` of {layer.class_name} acts between its layers, and it has one: nothing is "
        "dropped"
    )


def _of_function(call: ast.Call, name: str) -> str | None:
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    second = call.args[1] if len(call.args) > 1 else None
    if name in ("dropout", "dropout2d", "dropout3d"):
        chance = given.get("p", second)
        return f"F.{name} with p=0 drops nothing" if _equals(chance, 0) else None
    if name == "interpolate" and _equals(given.get("scale_factor"), 1):
        return "F.interpolate by 1 gives what it is given"
    return None


def _is_written(layer: Layer, name: str, number: float) -> bool:
    return _equals(layer.expression(name), number)


def _equals(node: ast.expr | None, number: float) -> bool:
    if isinstance(node, ast.Tuple) and node.elts:
        return all(_equals(item, number) for item in node.elts)
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, int | float)
        and not isinstance(node.value, bool)
        and node.value == number
    )


# ReLU of a ReLU -------------------------------------------------------------------------------


def repeated_rectifiers(
    file: SourceFile,
) -> Iterator[tuple[Location, Location, tuple[str, str]]]:
    """The ReLUs of what has nothing negative in it, each with what gave that."""
    for chain in file.chains:
        positive: Link | None = None
        for link in chain.links:
            operation = link.operation
            if operation == "relu" and positive is not None and not _is_reused(link, positive):
                yield positive.location, link.location, (_shown(link), _shown(positive))
            if operation in _NOT_NEGATIVE:
                positive = link
            elif operation not in _KEEP_SIGN:
                positive = None


def _shown(link: Link) -> str:
    if link.layer is not None:
        return link.layer.class_name
    return {"relu": "ReLU"}.get(link.operation, link.operation)


def _is_reused(link: Link, before: Link) -> bool:
    """Whether a branch decides which of the two is applied."""
    steps: list[Step] = [one.step for one in (link, before) if one.step is not None]
    return any(step.conditional for step in steps)


def repeated_in_trace(
    trace: Trace,
) -> Iterator[tuple[Location, Location, tuple[str, str]]]:
    """The same, seen in a pass: both in one forward, and so at each call of the place."""
    again: dict[Location, tuple[Location, str] | None] = {}
    for op in trace.ops:
        at = written_at(trace, op) if op.name == "relu" and op.inputs else None
        if at is None:
            continue
        first = trace.dataflow.last_nonlinear(op.inputs[0], MOVES | _KEEP_SIGN)
        known = written_at(trace, first) if first is not None else None
        alike = (
            first is not None
            and known is not None
            and known != at
            and first.name in _NOT_NEGATIVE
            and _forward_of(trace, op) == _forward_of(trace, first)
        )
        found = (known, first.name) if alike and known is not None and first is not None else None
        again[at] = found if again.get(at, found) is not None else None
    for at, found in again.items():
        if found is not None:
            yield found[0], at, ("ReLU", {"relu": "ReLU"}.get(found[1], found[1]))


def _forward_of(trace: Trace, op: Op) -> int | None:
    """The call of a class of the user that an op ran in."""
    place = op.call
    while place is not None:
        call = trace.calls[place]
        module = trace.module(call.path)
        if module is not None and module.forward is not None:
            return place
        place = call.parent
    return None
