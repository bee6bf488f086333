"""Tensors that hold the same in another form: fused, split, transposed, with sides of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from archcheck.analysis.state_dicts.compare import Comparison, Signature, Table
from archcheck.analysis.state_dicts.steps import Step, quoted
from archcheck.evidence.checkpoint import Tensor

# Names of the three projections, and what they are called in one.
_SPLIT = (
    ("q_proj.", "k_proj.", "v_proj."),
    ("query.", "key.", "value."),
    ("to_q.", "to_k.", "to_v."),
    ("q.", "k.", "v."),
    ("wq.", "wk.", "wv."),
    ("q_proj_", "k_proj_", "v_proj_"),
)
_FUSED = ("qkv.", "in_proj.", "qkv_proj.", "in_proj_", "c_attn.", "Wqkv.", "query_key_value.")


def fused_to_split(signature: Signature, table: Table, now: Comparison) -> Iterator[Step]:
    """Split the file's query, key and value into the model's three."""
    pairs = list(_projections(set(now.missing), set(now.unexpected)))
    new, lines, done = dict(table), [], 0
    for names, fused in pairs:
        shape = table[fused].shape
        if shape is None or shape[0] % 3:
            continue
        part = (shape[0] // 3, *shape[1:])
        if any(signature.entries[name].shape != part for name in names):
            continue
        tensor = new.pop(fused)
        new.update({name: replace(tensor, name="", shape=part) for name in names})
        targets = ", ".join(f"state[{quoted(name)}]" for name in names)
        lines.append(f"{targets} = state.pop({quoted(fused)}).chunk(3)")
        done += 1
    if lines:
        yield Step(
            f"the file has query, key and value in one tensor, the model in three ({done:,} times; "
            "their order in it cannot be seen from shapes)",
            new,
            "\n".join(lines),
            guess=True,
        )


def split_to_fused(signature: Signature, table: Table, now: Comparison) -> Iterator[Step]:
    """Join the file's query, key and value into the model's one."""
    new, lines = dict(table), []
    for names, fused in _projections(set(now.unexpected), set(now.missing)):
        shapes = [table[name].shape for name in names]
        rows = [shape[0] for shape in shapes if shape]
        entry = signature.entries[fused]
        if len(rows) != 3 or entry.shape != (sum(rows), *(shapes[0] or ())[1:]):
            continue
        new[fused] = Tensor("", entry.shape, table[names[0]].dtype)
        for name in names:
            del new[name]
        parts = ", ".join(f"state.pop({quoted(name)})" for name in names)
        lines.append(f"state[{quoted(fused)}] = torch.cat([{parts}])")
    if lines:
        yield Step(
            f"the file has query, key and value apart, the model in one tensor ({len(lines):,} "
            "times; the order in it cannot be seen from shapes)",
            new,
            "\n".join(lines),
            guess=True,
        )


def _projections(split: set[str], fused: set[str]) -> Iterator[tuple[list[str], str]]:
    """Yield the three names on one side and the one on the other."""
    for first in sorted(split):
        for words in _SPLIT:
            at = first.rfind(words[0])
            if at < 0 or (at and first[at - 1] not in "._"):
                continue
            names = [first[:at] + word + first[at + len(words[0]) :] for word in words]
            if not all(name in split for name in names):
                continue
            tail = first[at + len(words[0]) :]
            whole = next((n for f in _FUSED if (n := first[:at] + f + tail) in fused), None)
            if whole is not None:
                yield names, whole
                break


def transposed(signature: Signature, table: Table, now: Comparison) -> Iterator[Step]:
    """Transpose the matrices whose sizes are those of the model the other way round."""
    names = [
        name
        for name in now.mismatched
        if len(table[name].shape or ()) == 2
        and (table[name].shape or ())[::-1] == signature.entries[name].shape
    ]
    if not names:
        return
    new = {
        name: replace(tensor, name="", shape=signature.entries[name].shape)
        if name in names
        else tensor
        for name, tensor in table.items()
    }
    kinds = list(dict.fromkeys(name.split(".")[-2] if "." in name else name for name in names))
    yield Step(
        f"{len(names):,} matrices are transposed, as Conv1D keeps them "
        f"({', '.join(f'`{kind}`' for kind in kinds[:4])}); square ones may be too, which shapes "
        "cannot show",
        new,
        _for_names(names, "state[k] = state[k].T"),
    )


def sides_of_one(signature: Signature, table: Table, now: Comparison) -> Iterator[Step]:
    """Put in or take out sizes of one: a Linear as a convolution of one pixel."""
    names = [
        name
        for name in now.mismatched
        if [s for s in table[name].shape or () if s != 1]
        == [s for s in signature.entries[name].shape or () if s != 1]
    ]
    if not names:
        return
    new = {
        name: replace(tensor, name="", shape=signature.entries[name].shape)
        if name in names
        else tensor
        for name, tensor in table.items()
    }
    first = names[0]
    was, shape = list(table[first].shape or ()), list(signature.entries[first].shape or ())
    yield Step(
        f"{len(names):,} tensors differ by sizes of one: `{first}` is {was} in the file, {shape} "
        "in the model",
        new,
        _for_names(names, "state[k] = state[k].reshape(model.state_dict()[k].shape)"),
    )


def _for_names(names: list[str], action: str) -> str:
    listed = ", ".join(quoted(name) for name in names)
    return f"for k in ({listed},):\n    {action}"
