"""What a forward computes last and does not return."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from archcheck.analysis.module_classes import class_called
from archcheck.python import UNKNOWN, Function, Layer, ModuleClass, Project, SourceFile, Statement
from archcheck.python.names.control import falls_through

if TYPE_CHECKING:
    from archcheck.evidence.records import Failure
    from archcheck.evidence.trace import Trace

# Layers that are called for what they keep, too.
_STATEFUL = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm", "InstanceNorm1d",
             "InstanceNorm2d", "InstanceNorm3d")  # fmt: skip


def may_return_nothing(forward: Function) -> bool:
    """Whether the end of a function can be reached, although it is there to return something."""
    return not (
        forward.is_abstract
        or forward.is_overload
        or forward.is_generator
        or not forward.can_fall_off_end
        or any(True for _ in forward.nodes(ast.Global, ast.Nonlocal))
    )


def last_statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """What may run last before the end of a suite is reached."""
    if not body or not falls_through(body):
        return
    last = body[-1]
    match last:
        case ast.If():
            yield from last_statements(last.body)
            yield from last_statements(last.orelse)
        case ast.With() | ast.AsyncWith():
            yield from last_statements(last.body)
        case ast.For() | ast.AsyncFor():
            if not last.orelse:
                yield from last_statements(last.body)
        case ast.Try():
            if not last.finalbody:
                yield from last_statements([*last.body, *last.orelse])
        case ast.Match():
            for case in last.cases:
                yield from last_statements(case.body)
        case _:
            yield last


def lost_statements(module: ModuleClass, forward: Function) -> Iterator[ast.stmt]:
    """The last statements of a forward that compute tensors, and leave them where nothing can
    read them."""
    for last in last_statements(forward.node.body):
        if _is_lost(module.file, module, forward, last):
            yield last


def forwards_that_gave_none(
    trace: Trace, project: Project
) -> Iterator[tuple[ModuleClass, Function, ast.stmt, Failure | None]]:
    """The forwards that returned None in a pass and lose a value, with the statement that computes
    it, and with the failure that the None led to, if any."""
    seen: set[ModuleClass] = set()
    for call in trace.calls:
        if call.outputs is not None or call.failure is not None or call.first_op == call.end_op:
            continue
        then = next((f for f in trace.failures if "NoneType" in f.message), None)
        if (call.path or not trace.complete) and then is None:
            continue
        module = class_called(call, trace, project)
        forward = module.forward if module is not None else None
        if module is None or forward is None or module in seen or _returns_values(forward):
            continue
        lost = [
            last
            for last in last_statements(forward.node.body)
            if isinstance(last, ast.Assign | ast.AnnAssign)
            or _is_lost(module.file, module, forward, last)
        ]
        # A bare `return`, or a forward that keeps what it computes, is meant.
        if lost and may_return_nothing(forward) and not _writes_elsewhere(module, forward):
            seen.add(module)
            yield module, forward, lost[0], then


def _writes_elsewhere(module: ModuleClass, forward: Function) -> bool:
    """Whether something else than a local name may hold what it computes."""
    return any(use.kind == "store" for use in module.uses_in(forward)) or any(
        not isinstance(node.ctx, ast.Load)
        for node, _ in forward.nodes(ast.Subscript)
        if isinstance(node, ast.Subscript)
    )


def _is_lost(file: SourceFile, module: ModuleClass, forward: Function, last: ast.stmt) -> bool:
    """Whether a statement computes tensors and leaves them where nothing can read them."""
    statement = next((s for s in forward.statements if s.node is last), None)
    if statement is None:
        return False
    if isinstance(last, ast.Expr):
        return not _returns_values(forward) and _is_pure(file, module, last.value, statement)
    if isinstance(last, ast.Assign):
        targets = last.targets
    elif isinstance(last, ast.AnnAssign) and last.value is not None:
        targets = [last.target]
    else:
        return False
    names: list[str] = []
    for target in targets:
        for element in target.elts if isinstance(target, ast.Tuple | ast.List) else (target,):
            if not isinstance(element, ast.Name):
                return False
            names.append(element.id)
    if any(name in nested.name_reads for nested in forward.functions for name in names):
        return False
    assert last.value is not None
    return _computes(file, module, last.value, statement)


def _returns_values(forward: Function) -> bool:
    return any(node.value is not None for node in forward.returns)


def _is_pure(file: SourceFile, module: ModuleClass, value: ast.expr, at: Statement) -> bool:
    """Whether an expression on a line of its own does nothing but name or compute a tensor."""
    if isinstance(value, ast.Name):
        return True
    if isinstance(value, ast.BinOp):
        return _is_pure(file, module, value.left, at) or _is_pure(file, module, value.right, at)
    if not isinstance(value, ast.Call):
        return False
    dotted = file.dotted(value.func, at)
    if dotted is not None:
        return dotted.startswith("torch.nn.functional.") and not dotted.endswith("_")
    layers = _own_layers(module, value)
    return bool(layers) and all(
        layer.is_torch
        and not layer.is_a("Sequential", "ModuleList", "ModuleDict", *_STATEFUL)
        and layer.argument("inplace") is not True
        for layer in layers
    )


def _own_layers(module: ModuleClass, call: ast.Call) -> tuple[Layer, ...]:
    function = call.func
    if not (isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)):
        return ()
    layers = module.layers_of(function.attr)
    return () if layers is UNKNOWN else layers


def _computes(file: SourceFile, module: ModuleClass, value: ast.expr, at: Statement) -> bool:
    """Whether an expression calls a layer of the module or a function of torch."""
    for node in ast.walk(value):
        if not isinstance(node, ast.Call):
            continue
        dotted = file.dotted(node.func, at)
        if dotted is not None and dotted.startswith("torch."):
            return True
        if _own_layers(module, node):
            return True
    return False
