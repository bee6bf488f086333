"""Why a key has another shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isqrt

from archcheck.analysis.state_dicts.causes import Cause, listed, sizes
from archcheck.analysis.state_dicts.compare import copies
from archcheck.analysis.state_dicts.diagnose import Diagnosis
from archcheck.analysis.state_dicts.family import another_size, blocks_of
from archcheck.evidence.checkpoint import Tensor
from archcheck.evidence.records import StateEntry

_POSITIONS = ("pos_embed", "position_embed", "positional_embedding", "pos_emb", "wpe", "pe")
_GATES = {3: "GRU", 4: "LSTM", 1: "RNN"}

Pair = tuple[str, tuple[int, ...], tuple[int, ...]]


def shape_causes(diagnosis: Diagnosis) -> Iterator[Cause]:
    """Yield a cause for every mismatched name, each name in one of them."""
    pairs = [
        (name, diagnosis.table[name].shape or (), diagnosis.signature.entries[name].shape or ())
        for name in diagnosis.after.mismatched
    ]
    if not pairs:
        return
    claimed: set[str] = set()
    for find in (
        _packed,
        _uncopyable,
        _family,
        _positions,
        _recurrent,
        _vocabulary,
        _stem,
        _classes,
    ):
        left = [pair for pair in pairs if pair[0] not in claimed]
        for cause in find(diagnosis, left) if left else ():
            claimed |= set(cause.names)
            yield cause
    for name, theirs, ours in pairs:
        if name not in claimed:
            yield Cause(
                f"`{name}` is {sizes(theirs)} in the file, {sizes(ours)} in the model", (name,)
            )


def _packed(d: Diagnosis, pairs: Sequence[Pair]) -> Iterator[Cause]:
    names = [
        name
        for name, _, _ in pairs
        if d.table[name].layout == "quantized"
        or (_is_integer(d.table[name]) and not _is_integer(d.signature.entries[name]))
    ]
    if names:
        first = d.table[names[0]]
        yield Cause(
            f"the file's weights are quantized: `{names[0]}` is {sizes(first.shape)} of "
            f"{first.dtype}",
            tuple(names),
            "build the quantized model, or save the weights dequantized",
        )


def _uncopyable(d: Diagnosis, pairs: Sequence[Pair]) -> Iterator[Cause]:
    names = [name for name, _, _ in pairs if not copies(d.signature.entries[name], d.table[name])]
    if names:
        first = d.table[names[0]]
        kind = first.dtype if first.layout == "strided" else f"{first.layout} {first.dtype}"
        yield Cause(
            f"torch cannot copy {kind} tensors into the model's: {listed(names)}",
            tuple(names),
            "convert them before loading (`.to_dense()`, `.to(torch.float32)`)",
        )


def _is_integer(value: Tensor | StateEntry) -> bool:
    return "int" in value.dtype


def _family(d: Diagnosis, pairs: Sequence[Pair]) -> Iterator[Cause]:
    """Many widths that all differ in one way."""
    widths = another_size(d)
    if widths is None:
        return
    given, wanted = widths
    total = len(d.after.matched) + len(d.after.mismatched)
    yield Cause(
        f"another member of the family: {len(pairs):,} of {total:,} keys are of width {given:,} "
        f"in the file and {wanted:,} in the model{_depths(d)}",
        tuple(pair[0] for pair in pairs),
        f"build the model with width {given:,}, or take the file of this size",
    )


def _depths(d: Diagnosis) -> str:
    theirs, ours = blocks_of(d.table), blocks_of(d.signature.entries)
    deepest = max(ours, key=lambda container: len(ours[container]), default=None)
    if deepest is None or deepest not in theirs or len(theirs[deepest]) == len(ours[deepest]):
        return ""
    return (
        f"; `{deepest}…` has {len(theirs[deepest]):,} blocks in the file and "
        f"{len(ours[deepest]):,} in the model"
    )


def _positions(d: Diagnosis, pairs: Sequence[Pair]) -> Iterator[Cause]:
    for name, theirs, ours in pairs:
        parts = name.removesuffix(".weight").split(".")
        if not any(parts[-1].startswith(word) for word in _POSITIONS) or len(theirs) != len(ours):
            continue
        if len(theirs) < 2 or theirs[-1] != ours[-1]:
            continue
        yield Cause(
            f"a table of positions of another size: `{name}` has {theirs[-2]:,} in the file, "
            f"{ours[-2]:,} in the model{_grids(theirs[-2], ours[-2])}",
            (name,),
            "build the model for the file's image or sequence size, or interpolate the table; "
            "strict=False does not skip a shape",
        )


def _grids(theirs: int, ours: int) -> str:
    """Return what the counts are squares of, with as few extra tokens as will do for both."""
    for extra in (0, 1, 2, 5):
        a, b = isqrt(max(theirs - extra, 0)), isqrt(max(ours - extra, 0))
        if a > 1 and b > 1 and a * a == theirs - extra and b * b == ours - extra:
            tokens = f" + {extra}" if extra else ""
            return f": {a} × {a}{tokens} against {b} × {b}{tokens} patches"
    return ""


def _recurrent(d: Diagnosis, pairs: Sequence[Pair]) -> Iterator[Cause]:
    cells = [pair for pair in pairs if "_hh_l" in pair[0] and len(pair[1]) == 2]
    for name, theirs, ours in cells:
        hidden = theirs[1]
        gates = _GATES.get(theirs[0] // hidden if hidden else 0)
        wanted = _GATES.get(ours[0] // ours[1] if ours[1] else 0)
        if gates and wanted and gates != wanted and hidden == ours[1]:
            prefix = name.rpartition("weight_hh")[0]
            yield Cause(
                f"`{prefix.rstrip('.') or name}` is of {gates} in the file ({theirs[0]:,} rows), "
                f"{wanted} in the model ({ours[0]:,})",
                tuple(pair[0] for pair in pairs if pair[0].startswith(prefix)),
                f"build it with nn.{gates}",
            )
            return


def _vocabulary(d: Diagnosis, pairs: Sequence[Pair]) -> Iterator[Cause]:
    tables = [
        pair
        for pair in pairs
        if d.signature.entries[pair[0]].module == "Embedding" and _first_differs(pair)
    ]
    if not tables:
        return
    name, theirs, ours = tables[0]
    same = [pair for pair in pairs if _first_differs(pair) and pair[1][0] == theirs[0]]
    change = theirs[0] - ours[0]
    how = f"{abs(change):,} {'more' if change > 0 else 'fewer'}"
    padded = next((m for m in (128, 64) if max(theirs[0], ours[0]) % m == 0), None)
    pad = (
        f"; {max(theirs[0], ours[0]):,} is padded to {padded}"
        if padded and abs(change) < padded
        else ""
    )
    yield Cause(
        f"another vocabulary: `{name}` has {theirs[0]:,} entries in the file, {ours[0]:,} in the "
        f"model ({how} in the file{pad})",
        tuple(pair[0] for pair in same),
        "build the model with the file's vocabulary, load, and resize it then",
    )


def _first_differs(pair: Pair) -> bool:
    """Whether only the first size differs."""
    _, theirs, ours = pair
    return bool(theirs and ours) and theirs[1:] == ours[1:] and theirs[0] != ours[0]


def _stem(d: Diagnosis, pairs: Sequence[Pair]) -> Iterator[Cause]:
    for name, theirs, ours in pairs:
        if len(theirs) < 3 or not d.signature.entries[name].module.startswith("Conv"):
            continue
        if len(theirs) == len(ours) and theirs[0] == ours[0] and theirs[2:] == ours[2:]:
            yield Cause(
                f"`{name}` takes {theirs[1]:,} channels in the file, {ours[1]:,} in the model",
                (name,),
                "build the model for the file's channels, and fit the first layer after loading",
            )
        elif theirs[:2] == ours[:2]:
            yield Cause(
                f"`{name}` has a kernel of {_by(theirs[2:])} in the file, {_by(ours[2:])} in the "
                f"model{_stem_kind(theirs[2:], ours[2:])}",
                (name,),
            )


def _by(kernel: tuple[int, ...]) -> str:
    return " × ".join(map(str, kernel))


def _stem_kind(theirs: tuple[int, ...], ours: tuple[int, ...]) -> str:
    names: Mapping[tuple[int, ...], str] = {(7, 7): "ImageNet", (3, 3): "small images (CIFAR)"}
    if theirs in names and ours in names:
        return f": a stem for {names[theirs]} against one for {names[ours]}"
    return ""


def _classes(d: Diagnosis, pairs: Sequence[Pair]) -> Iterator[Cause]:
    """Heads: only the first size differs, of a weight and its bias."""
    groups: dict[tuple[int, int], list[str]] = {}
    for pair in pairs:
        if _first_differs(pair):
            groups.setdefault((pair[1][0], pair[2][0]), []).append(pair[0])
    for (theirs, ours), names in groups.items():
        owner = names[0].rpartition(".")[0] or names[0]
        yield Cause(
            f"another number of outputs: `{owner}` has {theirs:,} in the file, {ours:,} in the "
            f"model ({listed(names)})",
            tuple(names),
            f"build the model with {theirs:,} classes, load, and replace `{owner}` then; "
            "strict=False does not skip a shape",
        )
