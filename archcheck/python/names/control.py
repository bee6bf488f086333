"""Where control flow can end up."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING

from archcheck.python.syntax.catching import handles

if TYPE_CHECKING:
    from archcheck.python.names.sites import Statement

_LEAVES = frozenset({"sys.exit", "os._exit", "exit", "quit", "os.abort"})


def falls_through(body: Sequence[ast.stmt]) -> bool:
    """Whether control can reach the end of a suite, as far as the statements alone tell.

    A call that never returns and a condition that never holds are not recognised, `while True`,
    `assert False` and `sys.exit()` are.
    """
    return all(_passes(statement) for statement in body)


def is_caught(statement: Statement, error: str) -> bool:
    """Whether a `try` around a statement of its scope catches a built-in exception of this name,
    or a `with` waits for one: `pytest.raises(TypeError)`, `self.assertRaises(TypeError)`."""
    return any(
        suite.kind in ("try", "with") and handles(suite.owner, error)
        for suite in statement.suite.outward()
    )


def _passes(node: ast.stmt) -> bool:
    match node:
        case ast.Return() | ast.Raise() | ast.Continue() | ast.Break():
            return False
        case ast.If():
            if isinstance(node.test, ast.Constant):
                return falls_through(node.body if node.test.value else node.orelse)
            return falls_through(node.body) or falls_through(node.orelse)
        case ast.With() | ast.AsyncWith():
            # A context manager may swallow the exception that a suite ends with.
            return falls_through(node.body) or (
                any(_suppresses(item) for item in node.items) and not _always_returns(node.body)
            )
        case ast.While():
            endless = isinstance(node.test, ast.Constant) and bool(node.test.value)
            if endless:
                return _breaks(node.body)
            return falls_through(node.orelse) or _breaks(node.body)
        case ast.For() | ast.AsyncFor():
            return falls_through(node.orelse) or _breaks(node.body)
        case ast.Try() | ast.TryStar():
            if node.finalbody and not falls_through(node.finalbody):
                return False
            through = falls_through([*node.body, *node.orelse])
            return through or any(falls_through(handler.body) for handler in node.handlers)
        case ast.Match():
            covered = any(
                case.guard is None
                and isinstance(case.pattern, ast.MatchAs)
                and case.pattern.pattern is None
                for case in node.cases
            )
            return not covered or any(falls_through(case.body) for case in node.cases)
        case ast.Assert(test=ast.Constant(value=value)):
            return bool(value)
        case ast.Expr(value=ast.Call(func=function)):
            return ast.unparse(function) not in _LEAVES if _may_leave(function) else True
    return True


def _may_leave(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("exit", "quit", "_exit", "abort")


def _suppresses(item: ast.withitem) -> bool:
    call = item.context_expr
    function = call.func if isinstance(call, ast.Call) else call
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("suppress", "raises", "assertRaises", "assertRaisesRegex")


def _always_returns(body: Sequence[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], ast.Return)


def _breaks(body: Sequence[ast.stmt]) -> bool:
    """Whether a `break` in this suite leaves the loop that the suite belongs to."""
    for node in body:
        if isinstance(node, ast.Break):
            return True
        if isinstance(node, ast.For | ast.AsyncFor | ast.While):
            if _breaks(node.orelse):
                return True
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        suites = [getattr(node, field, []) for field in ("body", "orelse", "finalbody")]
        suites += [handler.body for handler in getattr(node, "handlers", [])]
        suites += [case.body for case in getattr(node, "cases", [])]
        if any(_breaks(suite) for suite in suites):
            return True
    return False
