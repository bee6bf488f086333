"""Steps from the file's names to the model's: a cause, the table after it, the code."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from archcheck.analysis.state_dicts.compare import Comparison, Signature, Table, compare

WRAPPERS: Mapping[str, str] = {
    "module": "DataParallel or DDP",
    "_orig_mod": "torch.compile",
    "_fsdp_wrapped_module": "FSDP",
    "_checkpoint_wrapped_module": "activation checkpointing",
    "_forward_module": "a Lightning strategy",
    "base_layer": "an adapter library",
}


@dataclass(frozen=True)
class Step:
    """One change of the names.

    Attributes:
        cause: What happened, as a sentence without a full stop.
        code: The Python that does it, on a variable `state`.
        guess: Shapes fit, and nothing else speaks for it.
    """

    cause: str
    table: Table
    code: str
    guess: bool = False


Proposer = Callable[[Signature, Table, Comparison], Iterator[Step]]


def quoted(text: str) -> str:
    """Return a text as Python writes it, in double quotes."""
    return '"' + repr(text)[1:-1].replace('"', '\\"').replace("\\'", "'") + '"'


def renamed(table: Table, rename: Callable[[str], str]) -> Table | None:
    """Return the table under new names; None where two names become one."""
    new = {rename(name): tensor for name, tensor in table.items()}
    return new if len(new) == len(table) else None


def wrappers_removed(signature: Signature, table: Table, now: Comparison) -> Iterator[Step]:
    """Take the names of wrappers out, wherever in a name they stand."""
    of_model = {part for name in signature.entries for part in name.split(".")}
    found = Counter(
        part
        for name in table
        for part in dict.fromkeys(name.split("."))
        if part in WRAPPERS and part not in of_model
    )
    if not found:
        return
    new = renamed(table, lambda name: ".".join(p for p in name.split(".") if p not in found))
    if new is None:
        return
    kinds = " and ".join(f"`{part}.` ({WRAPPERS[part]})" for part in found)
    first = [part for part in found if all(name.startswith(f"{part}.") for name in table)]
    if len(found) == 1 and first and not any(f".{first[0]}." in name for name in table):
        code = f"state = {{k.removeprefix({quoted(first[0] + '.')}): v for k, v in state.items()}}"
    else:
        parts = ", ".join(quoted(part) for part in found)
        code = (
            f'state = {{".".join(p for p in k.split(".") if p not in ({parts},)): v '
            "for k, v in state.items()}"
        )
    yield Step(f"names were saved from inside {kinds}", new, code)


def prefix_removed(signature: Signature, table: Table, now: Comparison) -> Iterator[Step]:
    """Take away what stands before a name of the model."""
    wanted = signature.entries
    found: Counter[str] = Counter()
    for name in now.unexpected:
        parts = name.split(".")
        for start in range(1, len(parts)):
            if ".".join(parts[start:]) in wanted:
                found[".".join(parts[:start]) + "."] += 1
                break
    for prefix, _ in found.most_common(3):
        inside = [name for name in table if name.startswith(prefix)]
        others = len(table) - len(inside)
        new = {name.removeprefix(prefix): table[name] for name in inside}
        cut = f"k.removeprefix({quoted(prefix)}): v for k, v in state.items()"
        if not others:
            yield Step(f"every name begins with `{prefix}`", new, f"state = {{{cut}}}")
            continue
        parts_of = _first_segments([name for name in table if not name.startswith(prefix)])
        yield Step(
            f"the model's names stand under `{prefix}`; {others:,} others ({parts_of}) belong to "
            "something else",
            new,
            f"state = {{{cut} if k.startswith({quoted(prefix)})}}",
        )
        whole = renamed(table, lambda name, cut=prefix: name.removeprefix(cut))  # type: ignore[misc]
        if whole is not None:
            yield Step(f"{len(inside):,} names begin with `{prefix}`", whole, f"state = {{{cut}}}")


def _first_segments(names: Sequence[str]) -> str:
    segments = list(dict.fromkeys(name.split(".")[0] for name in names))
    shown = ", ".join(f"`{segment}`" for segment in segments[:3])
    return shown if len(segments) <= 3 else f"{shown} and {len(segments) - 3:,} more"


def prefix_added(signature: Signature, table: Table, now: Comparison) -> Iterator[Step]:
    """Put before each name what the model has before it."""
    found: Counter[str] = Counter()
    for name in now.missing:
        parts = name.split(".")
        for start in range(1, len(parts)):
            if ".".join(parts[start:]) in table:
                found[".".join(parts[:start]) + "."] += 1
                break
    for prefix, _ in found.most_common(2):
        inside = prefix.rstrip(".")
        wrapper = WRAPPERS.get(inside.rpartition(".")[2])
        cause = (
            f"the model is wrapped by {wrapper}, the file is of the model inside"
            if wrapper
            else f"the model has these names under `{prefix}`"
        )
        code = f"state = {{{quoted(prefix)} + k: v for k, v in state.items()}}"
        if inside.isidentifier():
            cause += f": load it into `model.{inside}`"
        yield Step(cause, {prefix + name: tensor for name, tensor in table.items()}, code)


# A pattern at the file's side, what the model has in its place, and the cause.
_SPELLINGS: Sequence[tuple[str, str, str]] = (
    (r"(^|\.)gamma$", r"\1weight", "norm layers call `weight` and `bias` by `gamma` and `beta`"),
    (r"(^|\.)beta$", r"\1bias", ""),
    (
        r"parametrizations\.(\w+)\.original0$",
        r"\1_g",
        "the file has weight norm as a parametrization, the model the older one",
    ),
    (r"parametrizations\.(\w+)\.original1$", r"\1_v", ""),
    (
        r"(\w+)_orig$",
        r"parametrizations.\1.original",
        "the file has the older spectral norm, the model the parametrization",
    ),
    (r"(\w+)_(u|v)$", r"parametrizations.\1.0._\2", ""),
    (
        r"parametrizations\.(\w+)\.original$",
        r"\1_orig",
        "the file has spectral norm as a parametrization, the model the older one",
    ),
    (r"parametrizations\.(\w+)\.0\._(u|v)$", r"\1_\2", ""),
    (
        r"\.lora_(A|B)\.weight$",
        r".lora_\1.default.weight",
        "an adapter file leaves out the adapter's name",
    ),
    (r"\.lora_down\.", ".lora_A.", "the file has the LoRA names of another library"),
    (r"\.lora_up\.", ".lora_B.", ""),
    (r"^(.*)_mask$", r"\1_mask", ""),
)


def spellings(signature: Signature, table: Table, now: Comparison) -> Iterator[Step]:
    """Write the last segments as the model's library does."""
    groups: list[list[tuple[str, str, str]]] = []
    for spelling in _SPELLINGS:
        if spelling[2] or not groups:
            groups.append([])
        groups[-1].append(spelling)
    for group in groups:
        used = [
            (pattern, new)
            for pattern, new, _ in group
            if any(re.search(pattern, name) for name in now.unexpected)
        ]

        def rename(name: str, used: Sequence[tuple[str, str]] = used) -> str:
            for pattern, new in used:
                candidate = re.sub(pattern, new, name)
                if name not in signature.entries and candidate in signature.entries:
                    return candidate
            return name

        new = renamed(table, rename) if used else None
        if new is not None:
            lines = ["names = set(model.state_dict())"]
            lines += [
                f"state = {{k if k in names else re.sub({quoted(p)}, {quoted(r)}, k): v "
                "for k, v in state.items()}"
                for p, r in used
            ]
            yield Step(group[0][2], new, "\n".join(lines))


def tied_names(signature: Signature, table: Table, now: Comparison) -> Iterator[Step]:
    """Fill in the names of the model that are tied to ones that the file has."""
    pairs = {
        name: next(partner for partner in signature.partners(name) if partner in table)
        for name in now.tied
    }
    if pairs:
        listed = ", ".join(f"`{name}` to `{kept}`" for name, kept in list(pairs.items())[:3])
        yield Step(
            f"the model ties {listed}; the file has the tensor once",
            {**table, **{name: table[kept] for name, kept in pairs.items()}},
            "\n".join(f"state[{quoted(n)}] = state[{quoted(k)}]" for n, k in pairs.items()),
        )


def improved(
    signature: Signature, step: Step, now: Comparison, allow_missing: Sequence[str]
) -> Comparison | None:
    """Return the comparison after a step; None where it doesn't help."""
    after = compare(signature, step.table, allow_missing)
    return after if after.score > now.score else None
