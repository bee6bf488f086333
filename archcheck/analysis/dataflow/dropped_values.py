"""Values that the code makes and drops: what the source does with what a call gave."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import TYPE_CHECKING

from archcheck.analysis.module_classes import class_called

if TYPE_CHECKING:
    from archcheck.evidence.records import Op
    from archcheck.evidence.trace import Trace
    from archcheck.python import Flow, Function, ModuleClass, Project, SourceFile, Step

# Steps that hand a value on without doing anything with it.
_PASSING = frozenset({"merge", "tuple", "item"})


def is_thrown_away(file: SourceFile, node: ast.AST) -> bool:
    """Whether an expression is a statement of its own, its value going nowhere."""
    statement = file.statement_at(node).node
    return isinstance(statement, ast.Expr) and statement.value is node


def is_dropped(file: SourceFile, node: ast.AST) -> bool:
    """Whether no path through its function reads the value of an expression."""
    if is_thrown_away(file, node):
        return True
    flow = flow_around(file, node)
    step = flow.step_of(node)
    returned = {step for step, _ in flow.returns}
    return step is not None and not _is_read(step, returned)


def flow_around(file: SourceFile, node: ast.AST) -> Flow:
    """The flow of the function that an expression stands in."""
    scope = file.statement_at(node).scope
    owner = scope.function.owner if scope.function is not None else None
    module = owner.module if owner is not None else None
    flow = module.flow(scope.function) if module is not None else None
    return flow or file.flow(scope)


def _is_read(step: Step, returned: set[Step]) -> bool:
    if step in returned or not (step.names or step.users):
        return True  # it stands in an expression that is not followed
    return any(user.kind not in _PASSING or _is_read_on(user, returned) for user in step.users)


def _is_read_on(step: Step, returned: set[Step]) -> bool:
    return step in returned or any(
        user.kind not in _PASSING or _is_read_on(user, returned) for user in step.users
    )


def leaves_something_behind(trace: Trace, project: Project, ops: Iterable[Op]) -> bool:
    """Whether a module that these ops ran all of keeps more of its call than the result: it sets
    an attribute, writes into a container, or calls something for no value. Auxiliary losses do."""
    ran = {op.index for op in ops}
    called = [call for call in trace.calls if ran.issuperset((call.first_op, call.end_op - 1))]
    classes = {class_called(call, trace, project) for call in called}
    return any(
        _writes_elsewhere(definition.module, method)
        for known in classes
        for definition in (known.lineage if known is not None else ())
        if definition.module is not None
        for method in definition.module.computing
    )


def _writes_elsewhere(module: ModuleClass, method: Function) -> bool:
    if any(use.kind == "store" for use in module.uses_in(method)):
        return True
    for statement in method.statements:
        match statement.node:
            case ast.Expr(value=ast.Call()) | ast.Global() | ast.Nonlocal():
                return True
            case ast.Assign(targets=[*_, ast.Subscript()]):
                return True
    return False
