"""Numbers that nobody gave: what the pass makes of inputs' values, which archcheck made up.

Indices, lengths and masks are real even where all else has a shape only, since code reads them.
What it reads decides sizes, and the way that it takes: that holds for those values alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import FrameType
from typing import Any

import torch

from archcheck.evidence.records import ValueIndex

# Questions whose answer is what a tensor holds, as `functions.describe` names them.
READS_VALUES = frozenset(
    {"item", "tolist", "numpy", "bool", "int", "index", "float", "complex", "array", "contains",
     "is_nonzero", "equal", "allclose"}
)  # fmt: skip
# Functions whose results have sizes that the values decide.
_SIZED = frozenset(
    {"nonzero", "nonzero_static", "argwhere", "masked_select", "unique", "unique_impl", "unique2",
     "return_inverse", "unique_consecutive", "unique_consecutive_impl", "return_output",
     "unique_dim", "bincount"}
)  # fmt: skip
_TRUTH = ("bool", "uint8")


class InventedValues:
    """Follows the values of inputs through a pass, as long as they are known.

    Attributes:
        decided: The inputs whose values decided a size, or were read by the code.
        read_at: The files and lines that read them.
    """

    def __init__(self) -> None:
        self.decided: dict[str, None] = {}
        self.read_at: set[tuple[str, int]] = set()
        self._inputs: dict[int, frozenset[str]] = {}  # value -> the inputs that it comes of

    def given(self, index: int, name: str) -> None:
        """Note an input whose values are made up."""
        self._inputs[index] = frozenset({name})

    def read(self, index: int | None, caller: FrameType) -> None:
        """Note that the code asked what a tensor holds."""
        if index is not None and index in self._inputs:
            self.read_at.add((caller.f_code.co_filename, caller.f_lineno))
            self._decide(self._inputs[index])

    def computed(
        self,
        name: str,
        arguments: Mapping[str, Any],
        inputs: Iterable[int],
        dtypes: Iterable[str],
        outputs: Iterable[tuple[int, torch.Tensor]],
    ) -> None:
        """Note what a function gave.

        Args:
            dtypes: Those of its inputs.
            outputs: With their values' indices; one without memory holds nothing.
        """
        if not self._inputs:
            return
        sources = [self._inputs.get(index, frozenset[str]()) for index in inputs]
        names = frozenset[str]().union(*sources)
        if not names:
            return
        for index, tensor in outputs:
            if not tensor.is_meta:
                self._inputs[index] = names
        if name in ("getitem", "setitem"):
            chosen = zip(list(dtypes)[1:], sources[1:], strict=False)
            self._decide(one for dtype, source in chosen if dtype in _TRUTH for one in source)
        elif _is_sized_by_values(name, arguments):
            self._decide(names)

    def _decide(self, names: Iterable[str]) -> None:
        self.decided.update(dict.fromkeys(sorted(names)))


def _is_sized_by_values(name: str, arguments: Mapping[str, Any]) -> bool:
    if name == "one_hot":
        return bool(arguments.get("num_classes", -1) == -1)
    if name == "repeat_interleave":
        return isinstance(arguments.get("repeats"), ValueIndex) or len(arguments) < 2
    if name == "where":
        return "other" not in arguments and "2" not in arguments
    if name == "tensor_split":
        return any(
            isinstance(value, ValueIndex) for key, value in arguments.items() if key != "input"
        )
    return name in _SIZED
