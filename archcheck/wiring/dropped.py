"""Values that the code makes and drops: what the source does with what a call gave."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archcheck.source import Flow, SourceFile, Step

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
