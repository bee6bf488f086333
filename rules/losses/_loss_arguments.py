"""What a loss is given: which of its arguments is the model's answer, and of what rank each is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from archcheck.python import UNKNOWN, ClassDefinition, SourceFile
from archcheck.python.flow.script import LOSSES
from archcheck.python.program.events import Event
from archcheck.python.program.things import Thing

# Losses whose two arguments mean different things.
_ORDERED = frozenset({
    "cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits",
})  # fmt: skip
_REGRESSION = frozenset({
    "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "mse_loss", "l1_loss", "smooth_l1_loss",
    "huber_loss",
})  # fmt: skip
_TARGET = re.compile(r"^(y|y_true|gt)$|label|target|truth", re.IGNORECASE)
_FLAT_OR_COLUMN = frozenset({"flat", "column"})


class Mixed(NamedTuple):
    """A loss, or a difference, of a column (B, 1) and a row of numbers (B,).

    Attributes:
        event: The loss, or the difference.
        column, flat: The expressions of the two.
    """

    event: Event
    column: ast.expr
    flat: ast.expr


def swapped_arguments(file: SourceFile) -> Iterator[tuple[Event, ast.expr, ast.expr]]:
    """The losses that get the target first and the model's answer second."""
    for run in file.runs:
        for call in run.of("call"):
            given = _given(call)
            if given is None or LOSSES.get(call.subject.dotted) not in _ORDERED:
                continue
            first, second = call.arguments[:2]
            answers = second.kind == "tensor" and second.graph and bool(second.modules)
            if (
                answers
                and not first.graph
                and not first.modules
                and _is_data(call, first, given[0])
            ):
                yield call, *given


def mixed_ranks(file: SourceFile) -> Iterator[Mixed]:
    """The regression losses of a column and a row of numbers."""
    for run in file.runs:
        for event in run.of("call", "difference"):
            regresses = event.subject.dotted.rpartition(".")[2] in _REGRESSION
            if event.kind == "call" and not regresses:
                continue
            given = _given(event)
            things = event.arguments[:2]
            if given is None or len(things) < 2:
                continue
            ranks = [_rank(thing) for thing in things]
            one_answers = bool(things[0].modules) != bool(things[1].modules)
            if set(ranks) == _FLAT_OR_COLUMN and one_answers:
                column = ranks.index("column")
                yield Mixed(event, given[column], given[1 - column])


def _given(event: Event) -> tuple[ast.expr, ast.expr] | None:
    """The expressions of the first two arguments, where both are given by their places."""
    node = event.node
    if isinstance(node, ast.BinOp):
        return node.left, node.right
    if not isinstance(node, ast.Call) or len(node.args) < 2 or len(event.arguments) < 2:
        return None
    if any(isinstance(one, ast.Starred) for one in node.args[:2]):
        return None
    return node.args[0], node.args[1]


def _is_data(call: Event, thing: Thing, node: ast.expr) -> bool:
    """Whether a thing certainly comes with the batch, or is called a target."""
    if thing.kind not in ("unknown", "tensor"):
        return False
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    if _TARGET.search(name):
        return True
    loops = [region.over for region in call.around if region.kind == "loop"]
    sources = {one for over in loops if over is not None for one in over.roots()}
    return thing.kind == "unknown" and any(root in sources for root in thing.roots())


def _rank(thing: Thing) -> str:
    """`column` of a (B, 1), `flat` of a (B,), "" of anything else."""
    for rank in ("flat", "column"):
        if rank in thing.marks:
            return rank
    if thing.kind != "tensor" or len(thing.modules) != 1 or thing.holder is not None:
        return ""
    (model,) = thing.modules
    # Only what the model itself returned, and not what was computed of it.
    called = thing.node.func if isinstance(thing.node, ast.Call) else None
    if called is None or model.node is None or "answer" not in thing.marks:
        return ""
    return "column" if _ends_in_one(model) else ""


def _ends_in_one(model: Thing) -> bool:
    """Whether a model certainly ends with a linear layer of one output."""
    if isinstance(model.type, ClassDefinition):
        return _returns_one(model.type)
    if model.dotted == "torch.nn.Sequential" and model.items:
        return _ends_in_one(model.items[-1])
    width = model.fields.get("out_features") or (model.items[1:2] or (None,))[0]
    return model.dotted == "torch.nn.Linear" and width is not None and width.value == 1


def _returns_one(definition: ClassDefinition) -> bool:
    module = definition.module
    forward = definition.methods.get("forward")
    if module is None or forward is None:
        return False
    returns = [node.value for node, _ in forward.nodes(ast.Return) if isinstance(node, ast.Return)]
    if len(returns) != 1 or not isinstance(returns[0], ast.Call):
        return False
    called = returns[0].func
    if not (isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name)):
        return False
    layer = module.layer(called.attr) if called.value.id == forward.self_name else None
    children = layer.children if layer is not None and layer.is_a("Sequential") else UNKNOWN
    if children is not UNKNOWN and children:
        layer = children[-1]
    return layer is not None and layer.is_a("Linear") and layer.argument("out_features") == 1
