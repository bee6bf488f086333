"""Layers that are built where they are applied, and are gone after the pass."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.shapes.failures import node_at, source_file
from archcheck.analysis.source.weights import has_weights
from archcheck.core.finding import Location
from archcheck.python import Call, Function, ModuleClass, Project, Statement
from archcheck.python.modules.classes import is_torch_module

if TYPE_CHECKING:
    from archcheck.evidence.records import ModuleCall
    from archcheck.evidence.trace import Trace

_WITHOUT_WEIGHTS = frozenset({
    "AvgPool1d", "AvgPool2d", "Dropout", "Dropout2d", "ELU", "Flatten", "GELU", "Hardswish",
    "LeakyReLU", "LogSigmoid", "LogSoftmax", "MaxPool1d", "MaxPool2d", "Mish", "ReLU", "ReLU6",
    "SELU", "SiLU", "Sigmoid", "Softmax", "Softplus", "Tanh",
})  # fmt: skip
_GIVE_TENSORS = frozenset({
    "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d",
    "ConvTranspose2d", "ConvTranspose3d", "Embedding", "GroupNorm", "LayerNorm", "Linear",
})  # fmt: skip
# What may stand between a constructor and the call of what it built.
_MOVES = frozenset({"to", "cuda", "cpu", "half", "float", "double", "eval", "train", "type"})


def layers_built_in(module: ModuleClass) -> Iterator[Call]:
    """The constructors of layers with weights that forward, or a method that it calls, runs each
    time."""
    for method in module.own_methods:
        if (
            method.name == "__init__"
            or method not in module.computing
            or not any(map(_constructs, method.calls))
            or method in module.initializing
        ):
            continue
        calls = [call for call in method.calls if _constructs(call)]
        inner = {part for call in calls for part in ast.walk(call.node) if part is not call.node}
        for call in calls:
            if call.node in inner or not _is_used_at_once(module, method, call):
                continue
            layers = module.file.layers(call.node, call.statement)
            if layers and all(has_weights(layer) for layer in layers):
                yield call


def built_from_tensors(module: ModuleClass) -> Iterator[tuple[Function, Call]]:
    """The constructors of layers without weights that are given what a layer of the module
    certainly gave: `nn.ReLU(self.conv(x))`. With the method that each stands in."""
    for method in module.own_methods:
        if method not in module.computing or method in module.initializing:
            continue
        for call in method.calls:
            dotted = call.dotted or ""
            if not dotted.startswith("torch.nn.") or dotted.count(".") != 2:
                continue
            if call.name not in _WITHOUT_WEIGHTS or not call.node.args:
                continue
            if _is_of_a_layer(module, method, call.node.args[0], call.statement):
                yield method, call


def _is_of_a_layer(
    module: ModuleClass, method: Function, node: ast.expr, at: Statement, depth: int = 0
) -> bool:
    """Whether an expression certainly is the tensor that a layer with weights gave."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=name)):
            layer = module.layer(name) if owner == method.self_name else None
            return layer is not None and layer.class_name in _GIVE_TENSORS and layer.is_torch
        case ast.Name() if depth < 4:
            bindings = method.reaching(node.id, at)
            return bool(bindings) and all(
                binding.kind == "assign"
                and not binding.path
                and binding.value is not None
                and _is_of_a_layer(module, method, binding.value, binding.statement, depth + 1)
                for binding in bindings
            )
    return False


def layers_built_in_the_pass(trace: Trace, project: Project) -> Iterator[tuple[str, Location]]:
    """The classes of layers that drew their weights in the pass itself, with where they did."""
    seen: set[Location] = set()
    for call in trace.calls:
        # The trace names a module that no attribute leads to by its class.
        if not call.path.startswith("<"):
            continue
        maker = _maker_of_weights(trace, call)
        if maker is None or maker in seen:
            continue
        seen.add(maker)
        file = source_file(project, maker)
        node = node_at(file, maker) if file is not None else None
        if file is None or not isinstance(node, ast.Call):
            continue
        at = file.statement_at(node)
        function = at.scope.function
        if function is not None and _is_applied(function, node, at):
            yield call.path.strip("<>"), maker


def _maker_of_weights(trace: Trace, call: ModuleCall) -> Location | None:
    """Where the pass itself drew the weights that the ops of a call use."""
    for op in trace.ops[call.first_op : call.end_op]:
        for index in op.inputs:
            made = trace.dataflow.producer(index)
            if made is not None and made.function.startswith("torch.nn.init."):
                return made.location
    return None


def _is_applied(function: Function, node: ast.Call, at: Statement) -> bool:
    """Whether what is built in a statement is called there, or under a local name."""
    if any(call.node.func is node for call in function.calls):
        return True
    statement = at.node
    return (
        isinstance(statement, ast.Assign)
        and statement.value is node
        and len(statement.targets) == 1
        and isinstance(statement.targets[0], ast.Name)
        and _only_called(function, statement.targets[0].id)
    )


def _constructs(call: Call) -> bool:
    if call.module_class is not None:
        return True
    dotted = call.dotted
    return dotted is not None and is_torch_module(dotted)


def _is_used_at_once(module: ModuleClass, method: Function, call: Call) -> bool:
    """Whether what is built is applied right here, each time that the code runs."""
    node: ast.expr = call.node
    around = {
        other.node.func.value: other.node
        for other in method.calls
        if isinstance(other.node.func, ast.Attribute) and other.node.func.attr in _MOVES
    }
    while node in around:
        node = around[node]
    if any(other.node.func is node for other in method.calls):
        return True
    statement = call.statement.node
    if not (isinstance(statement, ast.Assign) and statement.value is node):
        return False
    if len(statement.targets) != 1:
        return False
    target = statement.targets[0]
    if isinstance(target, ast.Name):
        return _only_called(method, target.id)
    return (
        isinstance(target, ast.Attribute)
        and isinstance(target.value, ast.Name)
        and target.value.id == method.self_name
        and method is module.forward
        and _runs_each_time(method, call)
    )


def _only_called(method: Function, name: str) -> bool:
    """Whether a local name is called, and nothing else is done with what it holds."""
    if method.functions or len(method.bindings.get(name, ())) != 1:
        return False
    applied = sum(call.parts == (name,) for call in method.calls)
    moved = sum(
        reference.parts[0] == name and reference.parts[1:] in {(move,) for move in _MOVES}
        for reference in method.references
    )
    reads = len(method.name_reads.get(name, ()))
    return applied > 0 and reads == applied + moved


def _runs_each_time(method: Function, call: Call) -> bool:
    if call.conditional:
        return False
    first_return = min((node.lineno for node in method.returns), default=1 << 60)
    return call.node.lineno < first_return
