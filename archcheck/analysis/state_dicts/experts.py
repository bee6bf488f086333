"""Experts of a mixture: one tensor for each in the file or the model, all in one at the other."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from archcheck.analysis.state_dicts.compare import Comparison, Signature, Table
from archcheck.analysis.state_dicts.steps import Step, quoted
from archcheck.evidence.checkpoint import Tensor

Shape = tuple[int, ...]

_EXPERT = re.compile(r"^(.*\bexperts\.)(\d{1,6})\.(\w+)(?:\.weight)?$")
# What the matrices of an expert are called, and what the two that read are called in one.
_ALIKE = (("gate_proj", "w1"), ("up_proj", "w3"), ("down_proj", "w2"))
_READING = (("gate_proj", "up_proj"), ("w1", "w3"))
_FUSED = "gate_up_proj"


class _Experts(NamedTuple):
    """The same matrix of all experts of one layer: `names` in order, and the shape of each."""

    names: Sequence[str]
    shape: Shape


def split_to_stacked(signature: Signature, table: Table, now: Comparison) -> Iterator[Step]:
    """Stack the file's experts into the model's tensors."""
    shapes = {name: table[name].shape for name in now.unexpected}
    new, lines, square = dict(table), [], False
    for name, parts in _pairs(shapes, now.missing):
        wanted = signature.entries[name].shape
        turned = _turned(parts, wanted)
        if turned is None:
            continue
        square |= parts[0].shape[0] == parts[0].shape[1]
        new[name] = Tensor("", wanted, table[parts[0].names[0]].dtype)
        for part in parts:
            for old in part.names:
                new.pop(old, None)
        lines.append(f"state[{quoted(name)}] = {_stacked(parts, turned=turned)}")
    if lines:
        yield _step("one by one in the file, stacked in the model", new, lines, square)


def stacked_to_split(signature: Signature, table: Table, now: Comparison) -> Iterator[Step]:
    """Take the file's stacked experts apart."""
    shapes = {name: signature.entries[name].shape for name in now.missing}
    new, lines, square = dict(table), [], False
    for name, parts in _pairs(shapes, now.unexpected):
        turned = _turned(parts, table[name].shape)
        if turned is None:
            continue
        square |= parts[0].shape[0] == parts[0].shape[1]
        tensor = new.pop(name)
        for part in parts:
            new.update({one: replace(tensor, name="", shape=part.shape) for one in part.names})
        lines.append(_apart(name, parts, turned=turned))
    if lines:
        yield _step("stacked in the file, one by one in the model", new, lines, square)


def _step(how: str, table: Table, lines: Sequence[str], square: bool) -> Step:
    more = "; square ones may be transposed, which shapes cannot show" if square else ""
    cause = f"the experts are {how} ({len(lines):,} tensors{more})"
    return Step(cause, table, "\n".join(lines), guess=True)


def _pairs(
    apart: Mapping[str, Shape | None], stacked: Iterable[str]
) -> Iterator[tuple[str, list[_Experts]]]:
    """Yield each stacked name with the experts that belong into it, or are to come out of it."""
    groups = _groups(apart)
    for name in stacked:
        prefix, _, last = name.removesuffix(".weight").rpartition(".")
        prefix += "."
        options = [[last], *([word] for alike in _ALIKE if last in alike for word in alike)]
        if last == _FUSED:
            options = [list(words) for words in _READING]
        for words in options:
            parts = [groups[prefix, word] for word in words if (prefix, word) in groups]
            if len(parts) == len(words) and all(
                part == parts[0]._replace(names=part.names) for part in parts
            ):
                yield name, parts
                break


def _groups(names: Mapping[str, Shape | None]) -> dict[tuple[str, str], _Experts]:
    """Return the experts by what stands before their number and behind it, all of one shape."""
    found: dict[tuple[str, str], dict[int, tuple[str, Shape]]] = defaultdict(dict)
    for name, shape in names.items():
        match = _EXPERT.match(name)
        if match is not None and shape is not None and len(shape) == 2:
            found[match[1], match[3]][int(match[2])] = (name, shape)
    return {
        key: _Experts([experts[number][0] for number in range(len(experts))], first)
        for key, experts in found.items()
        if sorted(experts) == [*range(len(experts))]
        for first in (experts[0][1],)
        if all(shape == first for _, shape in experts.values())
    }


def _turned(parts: Sequence[_Experts], stacked: Shape | None) -> bool | None:
    """Return whether the stacked tensor has rows and columns changed; None if it doesn't fit."""
    rows, columns = parts[0].shape
    count, rows = len(parts[0].names), rows * len(parts)
    if any(len(part.names) != count for part in parts):
        return None
    if stacked == (count, rows, columns):
        return False
    return True if stacked == (count, columns, rows) else None


def _stacked(parts: Sequence[_Experts], *, turned: bool) -> str:
    """Return the expression that makes one tensor of experts."""
    count = len(parts[0].names)
    popped = ", ".join(f"state.pop({_numbered(part)})" for part in parts)
    one = popped if len(parts) == 1 else f"torch.cat([{popped}])"
    return f"torch.stack([{one}{'.T' if turned else ''} for i in range({count})])"


def _apart(name: str, parts: Sequence[_Experts], *, turned: bool) -> str:
    """Return the statement that takes one tensor apart."""
    targets = ", ".join(f"state[{_numbered(part)}]" for part in parts)
    one = f"t{'.T' if turned else ''}"
    value = one if len(parts) == 1 else f"{one}.chunk({len(parts)})"
    return f"for i, t in enumerate(state.pop({quoted(name)})):\n    {targets} = {value}"


def _numbered(part: _Experts) -> str:
    """Return the names of experts as one expression of `i`."""
    match = _EXPERT.match(part.names[0])
    assert match is not None, "the names were grouped by this pattern"
    before, behind = part.names[0][: match.end(1)], part.names[0][match.end(2) :]
    return f'{quoted(before)} + f"{{i}}{behind}"' if "{" not in behind else quoted(behind)
