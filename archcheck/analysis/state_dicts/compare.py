"""What `load_state_dict` would say to a table of names and shapes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from archcheck.evidence.checkpoint import StateDict, Tensor
from archcheck.evidence.records import StateEntry

# The file's tensors by the names that they are loaded under; `Tensor.name` stays the file's own.
Table = Mapping[str, Tensor]

_WEIGHT_NORM = re.compile(r"^(.*)parametrizations\.(\w+)\.original([01])$")


@dataclass(frozen=True)
class Signature:
    """The entries of a model's state dict, by name and by what is tied."""

    entries: Mapping[str, StateEntry]
    hooks: tuple[str, ...] = ()
    unsaved: frozenset[str] = frozenset()

    @classmethod
    def of(cls, entries: Iterable[StateEntry], hooks: Sequence[str] = ()) -> Signature:
        """Return the signature of a trace's `state_dict`."""
        listed = list(entries)
        return cls(
            {entry.name: entry for entry in listed if entry.kind != "unsaved"},
            tuple(hooks),
            frozenset(entry.name for entry in listed if entry.kind == "unsaved"),
        )

    def partners(self, name: str) -> list[str]:
        """Return the other names of a tied entry."""
        entry = self.entries[name]
        if not entry.tie:
            return []
        return [n for n, other in self.entries.items() if other.tie == entry.tie and n != name]

    def renames_itself(self, name: str) -> bool:
        """Tell whether a module above a name has a hook of its own that renames keys."""
        return any(not path or name.startswith(f"{path}.") for path in self.hooks)


def table_of(state: StateDict) -> Table:
    """Return what a load is given: also what is no tensor counts as a key."""
    values = (Tensor(name, None, "", "nested") for name in state.values)
    return {tensor.name: tensor for tensor in (*state.tensors, *values)}


@dataclass(frozen=True)
class Comparison:
    """The verdict on every name.

    Attributes:
        matched: Names that load.
        mismatched: Names of both sides whose shapes differ.
        tied: Missing names whose tied partner loads.
        allowed: Missing names that the user expects to be missing.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    tied: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()

    @property
    def loads(self) -> bool:
        """Whether a strict load would take it, ties and expected gaps aside."""
        return not (self.missing or self.unexpected or self.mismatched)

    @property
    def score(self) -> tuple[int, int, int]:
        """What a better mapping has more of: equal shapes, equal names, fewer names too many."""
        return (
            2 * len(self.matched) + len(self.tied),
            len(self.mismatched),
            -len(self.unexpected),
        )


def compare(signature: Signature, table: Table, allow_missing: Sequence[str] = ()) -> Comparison:
    """Compare as `load_state_dict` does, with torch's own renaming of weight norm."""
    taken = _renamed_by_torch(signature, table)
    matched: list[str] = []
    mismatched: list[str] = []
    missing: list[str] = []
    tied: list[str] = []
    allowed: list[str] = []
    for name, entry in signature.entries.items():
        tensor = table.get(taken.get(name, name))
        if tensor is not None:
            (matched if loads(entry, tensor) else mismatched).append(name)
        elif any(partner in table for partner in signature.partners(name)):
            tied.append(name)
        elif any(fnmatchcase(name, pattern) for pattern in allow_missing):
            allowed.append(name)
        elif not (entry.optional and not _versioned(table)):
            missing.append(name)
    known = {*signature.entries, *taken.values()}
    return Comparison(
        tuple(matched),
        tuple(missing),
        tuple(name for name in table if name not in known),
        tuple(mismatched),
        tuple(tied),
        tuple(allowed),
    )


def loads(entry: StateEntry, tensor: Tensor) -> bool:
    """Tell whether a tensor of this shape goes into an entry: one element goes into none."""
    if entry.shape is None or entry.kind == "extra":
        return True
    if tensor.shape is None or not copies(entry, tensor):
        return False
    return tensor.shape == entry.shape or (tensor.shape == (1,) and entry.shape == ())


def copies(entry: StateEntry, tensor: Tensor) -> bool:
    """Tell whether torch can copy a tensor of this layout and dtype into an ordinary one."""
    if tensor.layout != "strided":
        return entry.dtype.startswith(("qint", "quint")) and tensor.layout == "quantized"
    return tensor.dtype == entry.dtype or not tensor.dtype.startswith("float4")


def _versioned(table: Table) -> bool:
    """Whether the file must hold the counters of batch norms: newer ones always do."""
    return any(name.endswith("num_batches_tracked") for name in table)


def _renamed_by_torch(signature: Signature, table: Table) -> Mapping[str, str]:
    """Return the entries of new weight norms that torch fills from the old one's names."""
    found: dict[str, str] = {}
    for name in signature.entries:
        parts = _WEIGHT_NORM.match(name) if name not in table else None
        if parts is not None:
            prefix, weight, number = parts.groups()
            pair = [f"{prefix}{weight}_g", f"{prefix}{weight}_v"]
            if all(old in table for old in pair):
                found[name] = pair[int(number)]
    return found
