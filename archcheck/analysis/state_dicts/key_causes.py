"""Why keys are missing or too many, where no renaming helps."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from archcheck.analysis.state_dicts.causes import Cause, listed
from archcheck.analysis.state_dicts.diagnose import Diagnosis
from archcheck.analysis.state_dicts.family import another_size, blocks_of

_QUANTIZED = re.compile(
    r"\.(SCB|weight_format|absmax|quant_map|nested_absmax|quant_state\.\S+|qweight|qzeros|g_idx|"
    r"_packed_params\.\S+|zero_point|scales)$"
)
_ADAPTER = re.compile(r"lora_|ia3_l|hada_w|oft_|adapter")
# More parts than these are told in one sentence.
MOST_PARTS = 3
# Buffers that older versions of libraries saved and newer ones compute.
_RECOMPUTED = (
    "position_ids",
    "inv_freq",
    "masked_bias",
    "total_ops",
    "total_params",
    "num_batches_tracked",
    "relative_position_index",
    "attn_mask",
)


def key_causes(diagnosis: Diagnosis) -> Iterator[Cause]:
    """Yield a cause for every missing and every unexpected name, each name in one of them."""
    missing, unexpected = list(diagnosis.after.missing), list(diagnosis.after.unexpected)
    if not missing and not unexpected:
        return
    for find in (_flat, _quantized, _adapter, _recomputed, _recurrent, _depth):
        for cause in find(diagnosis, missing, unexpected):
            missing = [name for name in missing if name not in cause.names]
            unexpected = [name for name in unexpected if name not in cause.names]
            # Of a model of another size, what is said of its shapes says this too.
            if find is not _depth or another_size(diagnosis) is None:
                yield cause
    yield from _parts(diagnosis, missing, unexpected)


def _flat(d: Diagnosis, missing: list[str], unexpected: list[str]) -> Iterator[Cause]:
    flat = [name for name in unexpected if name.rpartition(".")[2].startswith("_flat_param")]
    flat += [name for name in unexpected if "flat_param" in name and name not in flat]
    if flat:
        yield Cause(
            f"the file has flattened parameters of FSDP ({listed(flat, 1)}): no renaming helps",
            (*flat, *missing),
            "save a full state dict (StateDictType.FULL_STATE_DICT, or get_model_state_dict with "
            "full_state_dict=True) where the training runs",
        )


def _quantized(d: Diagnosis, missing: list[str], unexpected: list[str]) -> Iterator[Cause]:
    found = [name for name in unexpected if _QUANTIZED.search(name)]
    if found:
        owners = {_QUANTIZED.sub("", name).removesuffix(".weight") for name in found}
        lacking = [n for n in missing if n.rpartition(".")[0] in owners]
        yield Cause(
            f"the file is quantized: {listed(found, 2)} stand beside packed weights",
            (*found, *lacking),
            "build the quantized model, or save the weights dequantized",
        )


def _adapter(d: Diagnosis, missing: list[str], unexpected: list[str]) -> Iterator[Cause]:
    found = [name for name in d.table if _ADAPTER.search(name)]
    if 2 * len(found) <= len(d.state.tensors):
        return
    base = [name for name in missing if not _ADAPTER.search(name)]
    if base or unexpected:
        yield Cause(
            f"the file is an adapter without its base: {listed(found, 2)}",
            (*base, *unexpected),
            "load the base model first and the adapter into it (PeftModel.from_pretrained)",
            # A model that has the adapter takes it, and has its base from elsewhere.
            harmless=not unexpected,
        )


def _recomputed(d: Diagnosis, missing: list[str], unexpected: list[str]) -> Iterator[Cause]:
    found = [
        name
        for name in unexpected
        if name in d.signature.unsaved or name.rpartition(".")[2] in _RECOMPUTED
    ]
    if found:
        yield Cause(
            f"the file has {listed(found)}, which the model computes and doesn't save",
            tuple(found),
            "harmless: drop them, "
            "`state = {k: v for k, v in state.items() if k in model.state_dict()}`",
            harmless=True,
        )


def _recurrent(d: Diagnosis, missing: list[str], unexpected: list[str]) -> Iterator[Cause]:
    for names, whose, lacks in (
        (unexpected, "file", "model"),
        (missing, "model", "file"),
    ):
        cells = [n for n in names if re.search(r"(weight|bias)_[ih]h_l\d", n)]
        back = [n for n in cells if n.endswith("_reverse")]
        if back and len(back) == len(cells):
            message = f"the {whose}'s recurrent layer is bidirectional, the {lacks}'s is not"
            yield Cause(message, tuple(back), f"bidirectional={whose == 'file'}")
        elif cells:
            message = f"the {whose}'s recurrent layer has more layers than the {lacks}'s"
            yield Cause(message, tuple(cells), "another num_layers")


def _depth(d: Diagnosis, missing: list[str], unexpected: list[str]) -> Iterator[Cause]:
    """Blocks of a numbered container that one side has more of, at its end."""
    wanted = blocks_of(d.signature.entries)
    given = blocks_of(d.table)
    for container in sorted({*wanted, *given}):
        ours, theirs = wanted.get(container, set()), given.get(container, set())
        if not ours or not theirs or len(ours) == len(theirs):
            continue
        extra = (ours - theirs) or (theirs - ours)
        names = [
            name
            for name in (*missing, *unexpected)
            if any(name.startswith(f"{container}{number}.") for number in extra)
        ]
        if not names:
            continue
        yield Cause(
            f"another depth: `{container}…` has {len(theirs):,} blocks in the file, "
            f"{len(ours):,} in the model",
            tuple(names),
            f"build the model with {len(theirs):,} of them, or load the file of the other size",
        )


def _parts(d: Diagnosis, missing: Sequence[str], unexpected: Sequence[str]) -> Iterator[Cause]:
    """Whole parts that one side lacks, then single names."""
    if missing and not d.after.matched and not d.after.mismatched:
        yield Cause(
            f"no name of the file is one of the model's: it has {listed([*d.table], 2)}, the model "
            f"{listed(missing, 2)}",
            (*missing, *unexpected),
            "is this the file of another model?",
        )
        return
    yield from _lacking(_topmost(missing, d.table))
    yield from _surplus(_topmost(unexpected, d.signature.entries))


def _lacking(groups: Sequence[tuple[str, list[str]]]) -> Iterator[Cause]:
    if len(groups) > MOST_PARTS:
        names = tuple(name for _, group in groups for name in group)
        parts = listed([parent or group[0] for parent, group in groups])
        yield Cause(f"the file lacks {len(names):,} keys, of {parts}", names)
        return
    for parent, group in groups:
        pattern = f"{parent}*" if parent else group[0]
        yield Cause(
            f"the file has nothing of `{parent}` ({_keys(group)})"
            if parent
            else f"the file lacks {listed(group)}",
            tuple(group),
            f"if it is meant to start untrained: --allow-missing '{pattern}'",
        )


def _surplus(groups: Sequence[tuple[str, list[str]]]) -> Iterator[Cause]:
    drop = "drop them: `state = {k: v for k, v in state.items() if k in model.state_dict()}`"
    if len(groups) > MOST_PARTS:
        names = tuple(name for _, group in groups for name in group)
        parts = listed([parent or group[0] for parent, group in groups])
        yield Cause(f"the file has {len(names):,} keys too many, of {parts}", names, drop)
        return
    for parent, group in groups:
        yield Cause(
            f"the file has `{parent}`, of which the model has nothing ({_keys(group)})"
            if parent
            else f"the model doesn't want {listed(group)}",
            tuple(group),
            drop,
        )


def _keys(names: Sequence[str]) -> str:
    return "1 key" if len(names) == 1 else f"{len(names):,} keys"


def _topmost(names: Sequence[str], others: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Group names by the shortest prefix that the other side has nothing of; "" has the rest."""
    known = {
        ".".join(parts[:end])
        for name in others
        for parts in (name.split("."),)
        for end in range(1, len(parts))
    }
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        parts = name.split(".")
        prefixes = (".".join(parts[:end]) for end in range(1, len(parts)))
        parent = next((prefix for prefix in prefixes if prefix not in known), "")
        groups[f"{parent}." if parent else ""].append(name)
    return sorted(groups.items(), key=lambda group: (not group[0], group[0]))
