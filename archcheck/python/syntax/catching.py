"""What a `try` catches, and what a `with` waits for, as far as the names tell."""

from __future__ import annotations

import ast
import builtins
from functools import cache

# `contextlib.suppress(E)`, and how tests expect an exception.
_EXPECTING = frozenset({"suppress", "raises", "assertRaises", "assertRaisesRegex"})


def handles(node: ast.AST, error: str) -> bool:
    """Whether a `try` or `with` lets no exception of this built-in class out of its body."""
    if isinstance(node, ast.Try | ast.TryStar):
        return any(catches(handler.type, error) for handler in node.handlers)
    if isinstance(node, ast.With | ast.AsyncWith):
        return any(expects(item.context_expr, error) for item in node.items)
    return False


def catches(handled: ast.expr | None, error: str) -> bool:
    """Whether the type of an `except` clause covers a built-in exception.

    A type that is computed may be any; a name that is not one of the exception's classes is taken
    for another exception.
    """
    if handled is None:
        return True
    if isinstance(handled, ast.Tuple):
        return any(catches(element, error) for element in handled.elts)
    if isinstance(handled, ast.Attribute):
        return handled.attr in _classes_of(error)
    if isinstance(handled, ast.Name):
        return handled.id in _classes_of(error)
    return True


def expects(entered: ast.expr, error: str) -> bool:
    """Whether a context manager swallows a built-in exception."""
    if not isinstance(entered, ast.Call) or not entered.args:
        return False
    name = getattr(entered.func, "attr", getattr(entered.func, "id", ""))
    return name in _EXPECTING and any(catches(argument, error) for argument in entered.args)


@cache
def _classes_of(error: str) -> frozenset[str]:
    return frozenset(cls.__name__ for cls in getattr(builtins, error).__mro__[:-1])
