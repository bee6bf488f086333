"""How symbolic sizes are written: short where the given sizes divide, exact in the detail.

A size of 224 that is halved five times is `H/32`, for heights that are multiples of 32; of 225 it
stays `(H + 31)//32`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any, TypeAlias

from archcheck.evidence.sizes import Atom, Size
from archcheck.evidence.symbolic import FreeSize

# A sum of rational multiples of products; each factor by its text, with what it is a multiple of.
_Factor: TypeAlias = "tuple[str, int]"
_Sum: TypeAlias = "dict[tuple[_Factor, ...], Fraction]"


@dataclass(frozen=True, slots=True)
class SizeNames:
    """What free sizes are called, and what they are taken to be multiples of.

    Attributes:
        names: By the key of the free size.
        multiples: By the same; 1 where nothing is taken for granted.
    """

    names: Mapping[str, str]
    multiples: Mapping[str, int]

    def short(self, size: Size) -> str:
        """The size under the assumptions: `H/2`."""
        return _text(_reduced(size, self))

    def exact(self, size: Size) -> str:
        """The size without any: `(H - 1)//2 + 1`."""
        return _text(_reduced(size, SizeNames(self.names, dict.fromkeys(self.multiples, 1))))


def assumed(sizes: Iterable[Size], free: Sequence[FreeSize], names: Mapping[str, str]) -> SizeNames:
    """The least multiples of the traced sizes that leave the fewest floors to be written."""
    distinct = list(dict.fromkeys(sizes))
    multiples = {one.key: one.traced for one in free}

    def floors(key: str, multiple: int) -> int:
        tried = SizeNames(names, {**multiples, key: multiple})
        return sum("//" in text or "(" in text for text in map(tried.short, distinct))

    for one in free:
        divisors = [n for n in range(1, one.traced + 1) if one.traced % n == 0]
        least = floors(one.key, one.traced)
        multiples[one.key] = next(n for n in divisors if floors(one.key, n) <= least)
    return SizeNames(names, multiples)


def _reduced(size: Size, names: SizeNames) -> _Sum:
    total: _Sum = {}
    for atoms, factor in size.terms:
        product: _Sum = {(): Fraction(factor)}
        for atom in atoms:
            product = _times(product, _atom(atom, names))
        total = _plus(total, product)
    return total


def _plus(left: _Sum, right: _Sum) -> _Sum:
    total = dict(left)
    for factors, number in right.items():
        total[factors] = total.get(factors, Fraction()) + number
    return {factors: number for factors, number in total.items() if number}


def _times(left: _Sum, right: _Sum) -> _Sum:
    total: _Sum = {}
    for one, number in left.items():
        for other, times in right.items():
            total = _plus(total, {tuple(sorted((*one, *other))): number * times})
    return total


def _atom(atom: Atom, names: SizeNames) -> _Sum:
    if atom.kind == "symbol":
        key = atom.parts[0]
        return {((names.names.get(key, key), names.multiples.get(key, 1)),): Fraction(1)}
    reduced = _evenly(atom, names)
    if reduced is not None:
        return reduced
    return {((_written(atom, names), 1),): Fraction(1)}


def _evenly(atom: Atom, names: SizeNames) -> _Sum | None:
    """A floor division or its like without the floor, where what is divided is a multiple."""
    size: Size = atom.parts[0]
    numbers: tuple[Any, ...] = atom.parts[1:]
    if atom.kind == "floor":
        return _divided(
            size, Fraction(1, numbers[0]), names, lambda shift: floor(shift / numbers[0])
        )
    if atom.kind == "scaled":
        factor = Fraction(numbers[0]).limit_denominator(64)
        if abs(float(factor) - numbers[0]) > 1e-9:
            return None
        return _divided(size, factor, names, lambda shift: floor(shift * factor))
    if atom.kind == "pooled_up":
        kernel, stride, padding, dilation = numbers

        def windows(shift: Fraction) -> int:
            last: int = -((floor(shift) + 2 * padding - dilation * (kernel - 1) - 1) // -stride)
            return last if last * stride >= shift + padding else last + 1

        return _divided(size, Fraction(1, stride), names, windows)
    return None


def _divided(
    size: Size, factor: Fraction, names: SizeNames, rest: Callable[[Fraction], int]
) -> _Sum | None:
    """A multiple of a size whose varying part it leaves whole; `rest` tells what becomes of the
    constant one."""
    parts = _reduced(size, names)
    shift = parts.pop((), Fraction())
    if shift.denominator != 1 or not all(
        _is_whole(number * factor, factors) for factors, number in parts.items()
    ):
        return None
    result = {factors: number * factor for factors, number in parts.items()}
    return _plus(result, {(): Fraction(rest(shift))})


def _is_whole(number: Fraction, factors: tuple[_Factor, ...]) -> bool:
    for _, multiple in factors:
        number *= multiple
    return number.denominator == 1


def _written(atom: Atom, names: SizeNames) -> str:
    parts = [
        _text(_reduced(part, names)) if isinstance(part, Size) else str(part) for part in atom.parts
    ]
    if atom.kind in ("floor", "quotient"):
        return f"{_bracketed(parts[0])}//{_bracketed(parts[1])}"
    if atom.kind == "scaled":
        return f"floor({_bracketed(parts[0])}*{parts[1]})"
    if atom.kind == "pooled_up":
        return _pooled(parts[0], *atom.parts[1:])
    return f"{atom.kind}({', '.join(parts)})"


def _pooled(size: str, kernel: int, stride: int, padding: int, dilation: int) -> str:
    """The windows of a pooling in ceil mode, of which none begins in the padding."""
    span = dilation * (kernel - 1) + 1
    windows = f"{_bracketed(size + _signed(2 * padding - span + 2 * stride - 1))}//{stride}"
    if padding == 0 and stride <= span:
        return windows
    return f"min({windows}, {_bracketed(size + _signed(padding + stride - 1))}//{stride})"


def _bracketed(text: str) -> str:
    return f"({text})" if set(text) & set(" */") else text


def _signed(number: int) -> str:
    return "" if number == 0 else f" {'-' if number < 0 else '+'} {abs(number)}"


def _text(total: _Sum) -> str:
    ordered = sorted(total.items(), key=lambda term: (-len(term[0]), term[0]))
    text = ""
    for factors, number in ordered:
        term = _term([name for name, _ in factors], abs(number))
        if not text:
            text = f"-{term}" if number < 0 else term
        else:
            text += f" {'-' if number < 0 else '+'} {term}"
    return text or "0"


def _term(names: list[str], number: Fraction) -> str:
    alone = len(names) == 1 and number == 1
    factors = [name if alone or "//" not in name else f"({name})" for name in names]
    above = [str(number.numerator)] if number.numerator != 1 or not names else []
    above += sorted(factors, key=lambda name: ("(" in name, name))
    return "*".join(above) + (f"/{number.denominator}" if number.denominator != 1 else "")
