"""Where code runs without gradients: below `torch.no_grad()` and the like."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from archcheck.python import Statement

NO_GRAD: Final = frozenset({
    "torch.no_grad", "torch.inference_mode", "torch.autograd.no_grad", "torch.set_grad_enabled",
    "torch.autograd.inference_mode", "torch.autograd.grad_mode.no_grad",
})  # fmt: skip


def is_without_gradients(statement: Statement) -> bool:
    """Whether a statement runs under `torch.no_grad()` or the like."""
    file = statement.scope.file
    if any(file.dotted(manager, statement) in NO_GRAD for manager in managers_of(statement)):
        return True
    around = statement.scope.function
    return around is not None and any(name in NO_GRAD for name in around.decorators)


def managers_of(statement: Statement) -> Iterator[ast.expr]:
    """What the `with` statements around a statement enter, without its arguments."""
    for suite in statement.suite.outward():
        if isinstance(suite.owner, ast.With | ast.AsyncWith):
            for item in suite.owner.items:
                entered = item.context_expr
                yield entered.func if isinstance(entered, ast.Call) else entered
