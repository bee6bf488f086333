"""What the free sizes of a pass are called, and how its shapes are written with them.

A letter of `--input` names a size; else the code that unpacks it (`b, c, h, w = x.shape`); else
the custom of the field: B first, H and W of images, T of sequences, L of signals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from archcheck.evidence.size_text import SizeNames, assumed
from archcheck.evidence.sizes import Size
from archcheck.evidence.symbolic import FreeSize, SymbolicShapes

if TYPE_CHECKING:
    from archcheck.evidence.records import Value
    from archcheck.evidence.trace import Trace

_LONGEST = 14


class NamedShapes:
    """The symbolic shapes of a trace, in the names that its readers know.

    Get it as `trace.analysed(NamedShapes)`, which makes it once.
    """

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._symbolic = trace.symbolic or SymbolicShapes()
        free = self._symbolic.free
        self.names: SizeNames = assumed(
            [size for shape in self._shown() for size in shape if size is not None],
            free,
            {one.key: name for one, name in zip(free, _names(trace, free), strict=True)},
        )

    def __bool__(self) -> bool:
        return bool(self._symbolic.free)

    def _shown(self) -> Iterator[tuple[Size | None, ...]]:
        return iter(self._symbolic.shapes.values())

    def shape(self, value: int, exact: bool = False) -> tuple[int | str, ...]:
        """The shape of a value: names and expressions where it depends on the input's sizes."""
        shape = self._trace.values[value].shape
        known = self._symbolic.shapes.get(value)
        if known is None:
            return shape
        write = self.names.exact if exact else self.names.short
        return tuple(
            number if size is None or size.constant is not None else write(size)
            for number, size in zip(shape, known, strict=True)
        )

    def is_untold(self, value: int) -> bool:
        """Whether a size of it varies, and no expression tells how."""
        return None in self._symbolic.shapes.get(value, ())

    def legend(self) -> Iterator[str]:
        """Sentences that say what the names stand for, and what was assumed."""
        free = self._symbolic.free
        if not free:
            yield f"no symbols: {self._symbolic.reason or 'they were not asked for'}"
            return
        names = self.names.names
        yield ", ".join(f"{names[one.key]} = {one.traced}" for one in free) + " in this pass"
        for multiple, keys in self._assumptions().items():
            kind = "is taken to be a multiple" if len(keys) == 1 else "are taken to be multiples"
            yield f"{' and '.join(names[key] for key in keys)} {kind} of {multiple}"
        untold = sum(size is None for shape in self._shown() for size in shape)
        if untold:
            yield (
                f"{untold} size{'s' if untold > 1 else ''} of other values vary with the input in "
                "a way that no expression tells: the numbers are those of this pass"
            )

    def _assumptions(self) -> Mapping[int, list[str]]:
        found: dict[int, list[str]] = {}
        for one in self._symbolic.free:
            multiple = max(self.names.multiples[one.key], one.multiple_of)
            if multiple > 1:
                found.setdefault(multiple, []).append(one.key)
        return found


def _names(trace: Trace, free: Sequence[FreeSize]) -> list[str]:
    """A name for each free size, no two alike."""
    in_code = _names_in_code(trace)
    found: list[str] = [""] * len(free)
    taken: set[str] = set()
    wishes = (
        lambda one: one.key if one.letter else None,
        lambda one: in_code.get(one.key),
        lambda one: _customary(trace, one, free),
    )
    for wish in wishes:
        for place, one in enumerate(free):
            name = None if found[place] else wish(one)
            if name is not None and (name not in taken or wish is wishes[-1]):
                found[place] = _unlike(name, taken)
                taken.add(found[place])
    return found


def _unlike(name: str, taken: set[str]) -> str:
    number = 2
    unlike = name
    while unlike in taken:
        unlike, number = f"{name}{number}", number + 1
    return unlike


def _names_in_code(trace: Trace) -> Mapping[str, str]:
    """What the code called each free size where it read it, by key."""
    found: dict[str, str] = {}
    shapes = trace.symbolic.shapes if trace.symbolic is not None else {}
    for read in trace.size_names:
        shape = shapes.get(read.value, ())
        size = shape[read.dimension] if read.dimension < len(shape) else None
        key = size.symbol if size is not None else None
        if key is None or key in found or read.name.startswith("_") or len(read.name) > _LONGEST:
            continue
        found[key] = read.name.upper() if len(read.name) == 1 else read.name
    return found


def _customary(trace: Trace, one: FreeSize, free: Sequence[FreeSize]) -> str:
    value, dim = one.axes[0]
    varying = {d for each in free for v, d in each.axes if v == value}
    return _letters(trace.values[value], varying).get(dim, "N")


def _letters(value: Value, varying: set[int]) -> Mapping[int, str]:
    """The custom for a tensor of which these dimensions vary."""
    rank = len(value.shape)
    is_number = value.dtype.startswith(("float", "bfloat", "complex"))
    if rank == 2:
        return {0: "B", 1: "L" if is_number else "T"}
    if rank == 3:
        return {0: "B", 1: "T", 2: "L" if is_number else "K"}
    if rank == 4 and 1 in varying and 3 not in varying:
        return {0: "B", 1: "H", 2: "W"}
    if rank == 4:
        return {0: "B", 1: "C", 2: "H", 3: "W"}
    if rank == 5 and 1 in varying and 2 not in varying:
        return {0: "B", 1: "T", 3: "H", 4: "W"}
    if rank == 5:
        return {0: "B", 1: "C", 2: "D", 3: "H", 4: "W"}
    return {0: "B"}
