"""A load that raises nothing, and leaves the model other than was meant.

What it does
------------
Where `--weights` names a file: tells what `load_state_dict` takes in silence and yet changes, such
as complex numbers into real ones, fractions into whole ones, one element into a scalar parameter.
In the code: `load_state_dict(…, strict=False)` with a file that is there, of which the model takes
nothing, or less than half of its keys.

Why it is bad
-------------
`strict=False` skips every name that it doesn't know. With one prefix too many that is all of them:
the model "loads", and is random.

Example
-------
    model.load_state_dict(torch.load("last.ckpt"), strict=False)  # keys: epoch, state_dict, …

Use instead
-----------
    model.load_state_dict(torch.load("last.ckpt")["state_dict"])
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

from ._checkpoint import diagnosis_of, layer_location, load_help, poor_loads

if TYPE_CHECKING:
    from archcheck.evidence.checkpoint import Tensor
    from archcheck.evidence.records import StateEntry
    from archcheck.evidence.trace import Trace

rule = Rule("AC803", "silent-load", Severity.WARNING)

MOST = 3


@rule.on_trace
def changed_on_the_way(trace: Trace, project: Project) -> Iterator[Finding]:
    diagnosis = diagnosis_of(trace)
    if diagnosis is None:
        return
    found: dict[str, list[str]] = {}
    for name in diagnosis.after.matched:
        tensor = diagnosis.table.get(name)
        change = tensor and _change(diagnosis.signature.entries[name], tensor)
        if change:
            found.setdefault(change, []).append(name)
    for change, names in found.items():
        more = f" and {len(names) - MOST:,} more" if len(names) > MOST else ""
        yield Finding(
            f"{', '.join(f'`{name}`' for name in names[:MOST])}{more}: {change}",
            layer_location(trace, names[0], project),
            help="load_state_dict copies without a word; convert the file, or build the model "
            "with the file's dtype",
        )


@rule.on_trace
def little_is_loaded(trace: Trace, project: Project) -> Iterator[Finding]:
    for load, diagnosis, now in poor_loads(trace):
        if load.strict is not False or load.checkpoint is None:
            continue
        known, total = len(now.matched) + len(now.mismatched), len(diagnosis.signature.entries)
        better = len(diagnosis.after.matched) > len(now.matched)
        yield Finding(
            f"{load.checkpoint.path} has {known:,} of the model's {total:,} keys, and strict=False "
            "keeps quiet about the rest",
            load.location,
            notes=tuple(step.cause for step in diagnosis.steps) if better else (),
            help=load_help(diagnosis, load.checkpoint) if better else None,
        )


def _change(entry: StateEntry, tensor: Tensor) -> str | None:
    """Return what loading changes, beyond the precision of real numbers."""
    theirs, ours = tensor.dtype, entry.dtype
    if entry.shape == () and tensor.shape == (1,) and entry.kind == "parameter":
        return "the file's tensor has the shape [1], the model's parameter none"
    if theirs.startswith("complex") and not ours.startswith("complex"):
        return f"the imaginary part is lost, {theirs} becomes {ours}"
    if _is_real(theirs) and ("int" in ours or ours == "bool"):
        return f"fractions are lost, {theirs} becomes {ours}"
    if theirs == "float64" and ours in ("float16", "bfloat16"):
        return f"{theirs} becomes {ours}"
    return None


def _is_real(dtype: str) -> bool:
    return dtype.startswith(("float", "bfloat", "complex"))
