"""What True means in the masks of a pass: this place is kept, or this place is hidden.

A mask is followed from what makes it (a comparison with the padding index or with lengths, a
triangle) through negations, casts and moves. Where its making does not tell, nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, TypeAlias

from archcheck.analysis.shapes.failures import node_at, source_file
from archcheck.evidence.records import ValueIndex

if TYPE_CHECKING:
    from archcheck.core.finding import Location
    from archcheck.evidence.records import Op
    from archcheck.evidence.trace import Trace
    from archcheck.python import Project

Meaning: TypeAlias = Literal["keeps", "hides"]

_OTHER: dict[Meaning, Meaning] = {"keeps": "hides", "hides": "keeps"}
_MOVES = frozenset(
    "to bool unsqueeze squeeze expand expand_as view reshape repeat transpose permute contiguous "
    "clone getitem flatten detach type".split()
)
_BOOLEAN = "bool"


class MaskMeanings:
    """What each mask of a trace says of True; get it as `MaskMeanings(trace, project)`."""

    def __init__(self, trace: Trace, project: Project) -> None:
        self._trace = trace
        self._project = project
        self._known: dict[int, tuple[Meaning, Op]] = {}
        self._padding = set(_padding_indices(trace))
        for op in trace.ops:
            found = self._made_by(op)
            if found is not None:
                self._known.update(dict.fromkeys(op.outputs, found))

    def of(self, value: object) -> tuple[Meaning, Op] | None:
        """What True says in a mask, and the op that it was made by."""
        return self._known.get(value.index) if isinstance(value, ValueIndex) else None

    def _made_by(self, op: Op) -> tuple[Meaning, Op] | None:
        if not op.outputs or op.failure is not None:
            return None
        first = self._known.get(op.inputs[0]) if op.inputs else None
        if first is not None:
            return self._kept_on(op, first)
        if op.name in ("ne", "eq") and self._is_padding_test(op):
            return ("keeps" if op.name == "ne" else "hides"), op
        if op.name in ("tril", "triu") and self._dtype(op.outputs[0]) == _BOOLEAN:
            diagonal = op.arguments.get("diagonal", 0)
            if op.name == "tril" and diagonal == 0:
                return "keeps", op
            if op.name == "triu" and diagonal == 1:
                return "hides", op
        return None

    def _kept_on(self, op: Op, first: tuple[Meaning, Op]) -> tuple[Meaning, Op] | None:
        meaning, made = first
        is_bool = self._dtype(op.outputs[0]) == _BOOLEAN
        if op.name in _MOVES and is_bool:
            return first
        if op.name in ("logical_not", "bitwise_not") and is_bool:
            return _OTHER[meaning], made
        if op.name == "eq" and op.arguments.get("other") in (0, False):
            return _OTHER[meaning], made
        second = self._known.get(op.inputs[1]) if len(op.inputs) > 1 else None
        joins = {"keeps": ("bitwise_and", "logical_and", "mul"), "hides": ("bitwise_or", "add")}
        if second is not None and second[0] == meaning and op.name in joins[meaning]:
            return first
        return None

    def _is_padding_test(self, op: Op) -> bool:
        """Whether ids are compared with the index that an embedding, or the code, calls padding."""
        other = op.arguments.get("other")
        if not isinstance(other, int) or isinstance(other, bool) or len(op.inputs) != 1:
            return False
        if not self._dtype(op.inputs[0]).startswith(("int", "uint")):
            return False
        return (op.inputs[0], other) in self._padding or self._says_padding(op.location)

    def _says_padding(self, at: Location | None) -> bool:
        file = source_file(self._project, at) if at is not None else None
        node = node_at(file, at) if file is not None and at is not None else None
        return file is not None and node is not None and "pad" in file.text(node).lower()

    def _dtype(self, value: int) -> str:
        return self._trace.values[value].dtype


def _padding_indices(trace: Trace) -> Iterator[tuple[int, int]]:
    """The ids that go into an embedding, with its padding index."""
    for op in trace.ops:
        index = op.arguments.get("padding_idx") if op.name == "embedding" else None
        ids = op.arguments.get("input")
        if isinstance(index, int) and index >= 0 and isinstance(ids, ValueIndex):
            yield ids.index, index
