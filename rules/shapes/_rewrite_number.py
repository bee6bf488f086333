"""Another number in the place of one that the source has, in the form that its author chose."""

from __future__ import annotations

import ast
from math import isqrt, prod

from archcheck.core.finding import Edit
from archcheck.python import SourceFile


def rewritten(file: SourceFile, expression: ast.expr, old: int, new: int) -> tuple[Edit, ...]:
    """The edits that make an expression of the value `old` one of the value `new`.

    A product stays one where it can: `16 * 4 * 4` becomes `16 * 5 * 5`, and `channels * 7 * 7`
    becomes `channels * 6 * 6`. Empty where that cannot be said.
    """
    if new <= 0:
        return ()
    if isinstance(expression, ast.Constant):
        is_it = type(expression.value) is int and expression.value == old
        return (Edit(file.location(expression), str(new)),) if is_it else ()
    numbers = _factors(expression)
    if numbers is None:
        return ()
    values = [value for _, value in numbers]
    known = prod(values)
    # What the names in the product stand for.
    rest = old // known if known and old % known == 0 else 0
    changed = _refactored(values, new // rest) if rest and new % rest == 0 else None
    if changed is not None:
        return tuple(
            Edit(file.location(number), str(value))
            for (number, was), value in zip(numbers, changed, strict=True)
            if was != value
        )
    if any(isinstance(node, ast.Name | ast.Attribute) for node in ast.walk(expression)):
        return ()
    return (Edit(file.location(expression), str(new)),)


def _factors(expression: ast.expr) -> list[tuple[ast.expr, int]] | None:
    """The numbers in a product, in order; None where it is anything else."""
    if isinstance(expression, ast.Constant):
        return [(expression, expression.value)] if type(expression.value) is int else None
    if isinstance(expression, ast.BinOp) and isinstance(expression.op, ast.Mult):
        first, second = _factors(expression.left), _factors(expression.right)
        return None if first is None or second is None else first + second
    return [] if isinstance(expression, ast.Name | ast.Attribute) else None


def _refactored(factors: list[int], product: int) -> list[int] | None:
    """Other factors, for another product: of two equal ones at the end both change, or else the
    last one alone."""
    if not factors:
        return None
    *before, last = factors
    if before and before[-1] == last:
        square, odd = divmod(product, prod(before[:-1]))
        if not odd and isqrt(square) ** 2 == square:
            return [*before[:-1], isqrt(square), isqrt(square)]
    quotient, odd = divmod(product, prod(before))
    return None if odd else [*before, quotient]
