"""Tensors that are changed in place while something still needs them as they were."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from archcheck.analysis.dataflow.dropped_values import flow_around, is_thrown_away
from archcheck.analysis.dataflow.final_op_in_trace import written_at
from archcheck.analysis.edits.syntax_edits import before, replacement
from archcheck.analysis.shapes.failures import node_at, source_file
from archcheck.analysis.source.gradient_mode import is_without_gradients
from archcheck.core.finding import Edit, Fix, Location
from archcheck.evidence.dataflow import JOINS, MOVES, indices
from archcheck.python.names.scope import argument_of
from archcheck.python.names.unknown import UNKNOWN

from ._saved import saved_before, saved_before_step

if TYPE_CHECKING:
    from archcheck.evidence.records import ModuleCall, Op
    from archcheck.evidence.trace import Trace
    from archcheck.python import Flow, Layer, Project, SourceFile, Step

# Rearrangements that keep all of a tensor.
_WHOLE: Final = frozenset(
    "view reshape flatten unflatten permute transpose squeeze unsqueeze contiguous alias".split()
)
# What these give has no negative entries: a ReLU changes nothing in it.
_POSITIVE: Final = frozenset("relu relu6 sigmoid softmax softplus square exp abs".split())
_KEEP_SIGN: Final = MOVES | frozenset("max_pool2d avg_pool2d adaptive_avg_pool2d dropout".split())
_DELIBERATE: Final = frozenset("setitem fill zero copy index_put index_copy index_add".split())
_ARITHMETIC: Final = frozenset("+ - * / add sub mul div".split())
_JOINING: Final = frozenset("+ - * add sub mul cat concat concatenate stack".split())

_SECOND: Final = ("torch.nn.functional.relu", "torch.nn.functional.silu")


class Overwrite(NamedTuple):
    """An in-place operation on a value that is joined later.

    Attributes:
        at: Where the operation is written.
        node: The expression there.
        joined: Where the changed value is read, or was saved for the backward pass.
        name: What the code calls it there.
        spoils: Whether the backward pass raises: it needs the value as it was.
    """

    at: Location
    node: ast.AST
    file: SourceFile
    joined: Location
    name: str
    spoils: bool = False


def overwrites(flow: Flow) -> Iterator[Overwrite]:
    """The in-place operations of a function on a value that a later sum, product or concatenation
    reads together with what was made of the operation's result."""
    file, own = flow.scope.file, flow.derived
    for position, write in enumerate(flow.steps):
        kept = write.inputs[0] if write.inputs else None
        layer = _changing(write)
        if kept is None or kept not in own or kept.operation in _POSITIVE:
            continue
        if not (write.in_place or layer is not None) or is_thrown_away(file, write.node):
            continue
        for join in flow.steps[position + 1 :]:
            given = _operands(join) if join.operation in _JOINING else ()
            runs = not write.conditional or join.statement.suite.is_within(write.statement.suite)
            if kept in given and runs and any(_comes_from(other, write) for other in given):
                node = layer.node if layer is not None else write.node
                at = layer.location if layer is not None else write.location
                yield Overwrite(at, node, file, join.location, _called(kept, join))
                break


def _changing(step: Step) -> Layer | None:
    """The first layer of a Sequential, where it changes its input."""
    layer = step.layer
    while layer is not None and layer.is_sequential:
        children = layer.children
        layer = children[0] if children is not UNKNOWN and children else None
    if layer is None or layer is step.layer or not layer.is_torch or not layer.is_known:
        return None
    return layer if layer.argument("inplace") is True else None


def _operands(join: Step) -> tuple[Step, ...]:
    return tuple(
        inner
        for step in join.inputs
        for inner in (step.inputs if step.kind == "tuple" else (step,))
    )


def _comes_from(step: Step, write: Step) -> bool:
    return step is write or any(earlier is write for earlier in step.before())


def _called(kept: Step, join: Step) -> str:
    read = {node.id for node in ast.walk(join.node) if isinstance(node, ast.Name)}
    names = [name for name in (*reversed(kept.names), kept.name) if name in read]
    return names[0] if names else "it"


def spoils(flow: Flow) -> Iterator[Overwrite]:
    """The in-place arithmetic of a function on what an earlier step has saved for its gradient."""
    file, own = flow.scope.file, flow.derived
    for write in flow.steps:
        kept = write.inputs[0] if write.inputs and write.in_place else None
        if kept is None or kept not in own or write.operation not in _ARITHMETIC:
            continue
        if is_without_gradients(write.statement):
            continue
        saver = saved_before_step(flow, write)
        if saver is not None and not is_without_gradients(saver.statement):
            name = kept.names[-1] if kept.names else kept.name or "it"
            yield Overwrite(write.location, write.node, file, saver.location, name, spoils=True)


# On the trace ---------------------------------------------------------------------------------


def traced_overwrites(trace: Trace, project: Project) -> Iterator[Overwrite]:
    """The same, seen in a pass: an operator changes a tensor that a name bound before stands for,
    and a later operator of the same forward reads it by that name."""
    for write in trace.ops:
        if not write.in_place or not write.inputs or write.name in _DELIBERATE:
            continue
        kept = trace.dataflow.origin(write.inputs[0], _WHOLE)
        if not trace.values[kept].kind.startswith(("computed", "input")) or _same(trace, write):
            continue
        place = write.call
        while place is not None:
            found = _read_again(trace, project, write, kept, trace.calls[place])
            if found is not None:
                yield found
                break
            place = trace.calls[place].parent


def traced_spoils(trace: Trace, project: Project) -> Iterator[Overwrite]:
    """The same, seen in a pass."""
    for write in trace.ops:
        if not write.in_place or not write.inputs or trace.mode != "train":
            continue
        # What is written through `.data` is written behind autograd's back.
        source = trace.dataflow.producer(write.inputs[0])
        if source is not None and source.name == "data":
            continue
        saver = next(saved_before(trace, write), None)
        at = written_at(trace, write)
        file = source_file(project, at) if saver is not None and at is not None else None
        node = node_at(file, at) if file is not None and at is not None else None
        joined = written_at(trace, saver) if saver is not None else None
        if at is None or file is None or node is None or joined is None:
            continue
        name = _written_name(node) or "it"
        yield Overwrite(at, node, file, joined, name, spoils=True)


def _written_name(node: ast.AST) -> str | None:
    target = node.target if isinstance(node, ast.AugAssign) else node
    if isinstance(target, ast.Call) and isinstance(target.func, ast.Attribute):
        target = target.func.value
    return target.id if isinstance(target, ast.Name) else None


def _same(trace: Trace, write: Op) -> bool:
    """Whether the operator changes nothing: a ReLU of what has no negative entries."""
    if write.name != "relu":
        return False
    source = trace.dataflow.last_nonlinear(write.inputs[0], _KEEP_SIGN)
    return source is not None and source.name in _POSITIVE


def _read_again(
    trace: Trace, project: Project, write: Op, kept: int, call: ModuleCall
) -> Overwrite | None:
    names = _names_of(trace, kept, call)
    later = trace.ops[write.index + 1 : call.end_op] if names else ()
    made = trace.dataflow.after(write.outputs, later)
    storage = trace.values[kept].storage
    for join in later:
        if join.call != call.index or join.name not in JOINS or join.location is None:
            continue
        changed = [v for v in join.inputs if trace.values[v].storage == storage]
        others = [v for v in join.inputs if trace.values[v].storage != storage]
        if not changed or made.isdisjoint(others):
            continue
        name = _read_at(project, join.location) & names
        at = written_at(trace, write)
        file = source_file(project, at) if at is not None else None
        node = node_at(file, at) if file is not None and at is not None else None
        if not name or at is None or file is None or node is None:
            continue
        if not is_thrown_away(file, node):
            return Overwrite(at, node, file, join.location, min(name))
    return None


def _names_of(trace: Trace, value: int, call: ModuleCall) -> set[str]:
    """The names that stand for one value in a call, all the while."""
    bound: dict[str, set[int]] = {name: set(indices(given)) for name, given in call.inputs.items()}
    for line in trace.lines:
        if line.call == call.index:
            bound.setdefault(line.name, set()).update(indices(line.value))
    return {name for name, values in bound.items() if values == {value}}


def _read_at(project: Project, at: Location) -> set[str]:
    file = source_file(project, at)
    node = node_at(file, at) if file is not None else None
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)} if node else set()


# The fix --------------------------------------------------------------------------------------


def out_of_place(overwrite: Overwrite) -> Fix | None:
    """The fix that makes a new tensor in the place of changing the old one."""
    file, node = overwrite.file, overwrite.node
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        sign = file.text(node)[len(node.target.id) :].lstrip()[:1]
        if sign in "+-*/" and isinstance(node.value, ast.Name | ast.Call | ast.Attribute):
            name, value = node.target.id, file.text(node.value)
            return Fix("safe", (replacement(file, node, f"{name} = {name} {sign} {value}"),))
    if not isinstance(node, ast.Call):
        return None
    statement = file.statement_at(node).node
    dropped = isinstance(statement, ast.Expr) and statement.value is node
    given = _inplace_argument(file, node)
    if given is not None:
        return None if dropped else Fix("safe", (replacement(file, given, "False"),))
    if isinstance(node.func, ast.Attribute) and node.func.attr.endswith("_"):
        at = file.location(node.func)
        mark = replace(at, line=at.end_line, column=at.end_column - 1)
        without_mark = Edit(mark, "")
        if not dropped:
            return Fix("safe", (without_mark,))
        if isinstance(node.func.value, ast.Name):
            # What the call gives is all that is left of the change.
            assigned = before(file, node, f"{node.func.value.id} = ")
            return Fix("safe", (assigned, without_mark))
    return None


def _inplace_argument(file: SourceFile, node: ast.Call) -> ast.expr | None:
    """What says `inplace`: in a constructor, in that of the layer that is called, in a call."""
    built = file.layers(node)
    if len(built) == 1 and built[0].node is node:
        return built[0].expression("inplace")
    function = node.func
    flow = flow_around(file, node)
    own = flow.function.self_name if flow.function is not None else None
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        of_self = flow.module is not None and function.value.id == own
        layer = flow.module.layer(function.attr) if flow.module is not None and of_self else None
        if layer is not None and layer.file is file:
            return layer.expression("inplace")
    return argument_of(node, "inplace", 1 if file.dotted(function) in _SECOND else None)
