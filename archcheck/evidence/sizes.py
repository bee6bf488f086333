"""Sizes as integer functions of an input's sizes: what a shape would be had the input another.

A `Size` is a polynomial over atoms. An atom is a free dimension of an input, or a function that a
polynomial cannot say (a floor division, a minimum). Equal functions mostly get equal keys (a
stride-1 convolution that keeps its size gives back the very same one), so that a network of a
hundred layers has a handful of different sizes, and each is evaluated once for all candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import floor
from typing import Any, TypeAlias

# A size that takes more letters to write down is nobody's intention; it was misread.
LONGEST = 400

Monomial: TypeAlias = "tuple[Atom, ...]"


@dataclass(frozen=True, slots=True, eq=False)
class Atom:
    """A free dimension ("symbol", name), or a function of sizes ("floor", size, divisor)."""

    kind: str
    parts: tuple[Any, ...]
    key: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Atom) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@dataclass(frozen=True, slots=True, eq=False)
class Size:
    """A sum of `coefficient x product of atoms`; the empty product is the constant term.

    Its arithmetic raises `ValueError` where the result would take too many words to say.
    """

    terms: tuple[tuple[Monomial, int], ...]
    key: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Size) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def constant(self) -> int | None:
        """The number that it is, if it does not depend on anything."""
        terms = self.terms
        if not terms:
            return 0
        if not terms[0][0] and len(terms) == 1:
            return terms[0][1]
        return None

    @property
    def symbol(self) -> str | None:
        """The free dimension that it is itself, if it is one."""
        if len(self.terms) == 1 and self.terms[0][1] == 1 and len(self.terms[0][0]) == 1:
            atom = self.terms[0][0][0]
            return str(atom.parts[0]) if atom.kind == "symbol" else None
        return None

    def __add__(self, other: Size | int) -> Size:
        if other == 0:
            return self
        return _summed((*self.terms, *number(other).terms))

    def __radd__(self, other: int) -> Size:
        return self + other

    def __neg__(self) -> Size:
        return self * -1

    def __sub__(self, other: Size | int) -> Size:
        return self + -number(other)

    def __rsub__(self, other: int) -> Size:
        return number(other) - self

    def __mul__(self, other: Size | int) -> Size:
        if other == 1:
            return self
        return _summed(
            (tuple(sorted(left + right, key=_key)), factor * times)
            for left, factor in self.terms
            for right, times in number(other).terms
        )

    def __rmul__(self, other: int) -> Size:
        return self * other

    def __floordiv__(self, divisor: int) -> Size:
        """Floor division. What divides evenly leaves the floor, nested floors merge."""
        if divisor == 1:
            return self
        if divisor < 1:
            raise ValueError("sizes are divided by positive numbers")
        whole: list[tuple[Monomial, int]] = []
        rest: list[tuple[Monomial, int]] = []
        for atoms, factor in self.terms:
            quotient, remainder = divmod(factor, divisor)
            if remainder and atoms:
                rest.append((atoms, factor))
                continue
            whole.append((atoms, quotient))
            if remainder:
                rest.append((atoms, remainder))
        inside = _summed(rest)
        if inside.constant is not None:
            return _summed(whole)
        symbolic = [term for term in inside.terms if term[0]]
        if len(symbolic) == 1 and symbolic[0][1] == 1 and len(symbolic[0][0]) == 1:
            atom = symbolic[0][0][0]
            if atom.kind == "floor":
                inner, inner_divisor = atom.parts
                shift = sum(factor for atoms, factor in inside.terms if not atoms)
                merged: Size = (inner + shift * inner_divisor) // (inner_divisor * divisor)
                return _summed(whole) + merged
        return _summed(whole) + function("floor", inside, divisor)


def _key(atom: Atom) -> str:
    return atom.key


def _summed(terms: Iterable[tuple[Monomial, int]]) -> Size:
    total: dict[Monomial, int] = {}
    for atoms, factor in terms:
        total[atoms] = total.get(atoms, 0) + factor
    named = sorted(
        ("*".join([str(factor), *map(_key, atoms)]), atoms, factor)
        for atoms, factor in total.items()
        if factor
    )
    key = "+".join(name for name, _, _ in named) or "0"
    if len(key) > LONGEST:
        raise ValueError("a size in too many words")
    return Size(tuple((atoms, factor) for _, atoms, factor in named), key)


def number(value: Size | int) -> Size:
    """A size that depends on nothing."""
    if isinstance(value, Size):
        return value
    return Size((((), value),), str(value)) if value else Size((), "0")


def free(name: str) -> Size:
    """A dimension of an input."""
    return _summed((((Atom("symbol", (name,), name),), 1),))


def function(kind: str, *parts: Any) -> Size:
    """One of `FUNCTIONS`, applied to sizes and plain numbers."""
    shown = ",".join(part.key if isinstance(part, Size) else repr(part) for part in parts)
    return _summed((((Atom(kind, parts, f"{kind}({shown})"),), 1),))


def product(sizes: Iterable[Size]) -> Size:
    times = 1
    result: Size | None = None
    for size in sizes:
        constant = size.constant
        if constant is not None:
            times *= constant
        else:
            result = size if result is None else result * size
    return number(times) if result is None else result * times


def least(left: Size, right: Size) -> Size:
    return _extreme("min", min, left, right)


def greatest(left: Size, right: Size) -> Size:
    return _extreme("max", max, left, right)


def _extreme(kind: str, choose: Callable[[int, int], int], left: Size, right: Size) -> Size:
    if left == right:
        return left
    if left.constant is not None and right.constant is not None:
        return number(choose(left.constant, right.constant))
    return function(kind, left, right)


def scaled(size: Size, factor: float) -> Size:
    """`floor(size * factor)` in floating point, as interpolation computes it."""
    if float(factor).is_integer():
        return size * int(factor)
    if size.constant is not None:
        return number(floor(size.constant * factor))
    return function("scaled", size, factor)


def computed(operator: str, left: Size, right: Size) -> Size:
    """What the model's code computed from two sizes.

    Raises:
        ValueError: The operator is none of Python's on whole numbers that can be said here.
    """
    if operator == "add":
        return left + right
    if operator == "sub":
        return left - right
    if operator == "mul":
        return left * right
    if operator not in ("floordiv", "mod"):
        raise ValueError(operator)
    divisor = right.constant
    if divisor is not None and divisor > 0:
        quotient = left // divisor
    elif left == right:
        quotient = number(1)
    else:
        quotient = function("quotient", left, right)
    return quotient if operator == "floordiv" else left - quotient * right


def ceiling(size: Size, divisor: int) -> Size:
    return (size + (divisor - 1)) // divisor


def pooled_up(size: Size, kernel: int, stride: int, padding: int, dilation: int) -> Size:
    """The output of a pooling in ceil mode: no window starts in the padding on the right."""
    if size.constant is not None:
        return number(_pooled_up(size.constant, kernel, stride, padding, dilation))
    return function("pooled_up", size, kernel, stride, padding, dilation)


def _pooled_up(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    windows = -((size + 2 * padding - dilation * (kernel - 1) - 1) // -stride) + 1
    return windows - 1 if (windows - 1) * stride >= size + padding else windows


FUNCTIONS: Mapping[str, Callable[..., int]] = {
    "floor": lambda size, divisor: size // divisor,
    "min": min,
    "max": max,
    "scaled": lambda size, factor: floor(size * factor),
    "pooled_up": _pooled_up,
    "quotient": lambda size, divisor: size // divisor if divisor else 0,
}


class Tables:
    """Values of sizes over a list of candidates, each size evaluated once.

    Args:
        columns: For each free dimension its value at every candidate; all of one length.
    """

    def __init__(self, columns: Mapping[str, list[int]]) -> None:
        self._columns = columns
        self._length = len(next(iter(columns.values())))
        self._known: dict[str, list[int]] = {}

    def of(self, size: Size) -> list[int]:
        known = self._known.get(size.key)
        if known is None:
            known = self._known[size.key] = self._evaluate(size)
        return known

    def _evaluate(self, size: Size) -> list[int]:
        total = [0] * self._length
        for atoms, factor in size.terms:
            column = [factor] * self._length
            for atom in atoms:
                column = [a * b for a, b in zip(column, self._atom(atom), strict=True)]
            total = [a + b for a, b in zip(total, column, strict=True)]
        return total

    def _atom(self, atom: Atom) -> list[int]:
        if atom.kind == "symbol":
            return self._columns[atom.parts[0]]
        known = self._known.get(atom.key)
        if known is None:
            parts = [
                self.of(part) if isinstance(part, Size) else [part] * self._length
                for part in atom.parts
            ]
            apply = FUNCTIONS[atom.kind]
            known = [apply(*row) for row in zip(*parts, strict=True)]
            self._known[atom.key] = known
        return known
