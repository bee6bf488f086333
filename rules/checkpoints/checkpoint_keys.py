"""The checkpoint has other keys than the model's state dict.

What it does
------------
Compares the names of the file that `--weights` names with those of the model's `state_dict()`, and
tells the cause in place of two lists: a wrapper's prefix, a nested state dict, renamed layers or
blocks, weight norm in another form, an adapter without its base, another depth. Where a mapping of
names mends it, the mapping was applied to the names and shapes before it is shown.

Why it is bad
-------------
`load_state_dict` raises with hundreds of keys; with `strict=False` it raises nothing, and the model
trains on from random weights.

Example
-------
    model = torch.compile(nn.DataParallel(Net()))
    torch.save(model.state_dict(), "net.pt")  # _orig_mod.module.conv.weight
    Net().load_state_dict(torch.load("net.pt"))

Use instead
-----------
    torch.save(model._orig_mod.module.state_dict(), "net.pt")  # conv.weight
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.module_classes import model_location
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

from ._checkpoint import (
    coverage,
    diagnosis_of,
    layer_location,
    load_help,
    mapping_help,
    poor_loads,
)

if TYPE_CHECKING:
    from archcheck.analysis.state_dicts.diagnose import Diagnosis
    from archcheck.evidence.trace import Trace

rule = Rule("AC801", "checkpoint-keys", Severity.ERROR, against_lock=True)


@rule.on_trace
def other_keys(trace: Trace, project: Project) -> Iterator[Finding]:
    diagnosis = diagnosis_of(trace)
    if diagnosis is None:
        return
    from archcheck.analysis.state_dicts.key_causes import key_causes

    causes = [
        cause
        for cause in key_causes(diagnosis)
        if not all(map(diagnosis.signature.renames_itself, cause.names))
    ]
    if _needs_mapping(diagnosis):
        yield _mapped(diagnosis, trace, project)
    elif diagnosis.ties is not None:
        yield Finding(
            diagnosis.ties.cause,
            model_location(trace, project),
            help=mapping_help(diagnosis, trace),
            severity=Severity.NOTE,
        )
    for cause in causes:
        yield Finding(
            cause.message,
            layer_location(trace, cause.names[0], project),
            notes=(coverage(diagnosis), *_examples(cause.names)),
            help=cause.help or None,
            severity=Severity.NOTE if cause.harmless else None,
        )


@rule.on_trace
def keys_of_the_lock(trace: Trace, project: Project) -> Iterator[Finding]:
    locked = trace.request.architecture
    if locked is None or not locked.keys or not trace.state_dict:
        return
    # Only a model that is locked with a checkpoint is compared with its keys.
    from archcheck.analysis.state_dicts.compare import Signature
    from archcheck.analysis.state_dicts.diagnose import diagnose_state
    from archcheck.analysis.state_dicts.locked_keys import state_of

    signature = Signature.of(trace.state_dict, trace.renaming_modules)
    diagnosis = diagnose_state(signature, state_of(locked.keys), trace.request.allow_missing)
    broken = (*diagnosis.before.missing, *diagnosis.before.mismatched)
    if not broken or "" in signature.hooks:
        return
    steps = [step.cause for step in diagnosis.steps]
    mended = f"with the mapping below, {len(diagnosis.after.matched):,} keys match"
    yield Finding(
        f"this breaks {locked.weights}: {len(broken):,} keys of the model, `{broken[0]}` first, "
        "are not in it any more",
        layer_location(trace, broken[0], project),
        notes=(*steps, *([mended] if steps else [])),
        help="load older files by this mapping, or lock anew:\n"
        + diagnosis.mapping.replace(
            "dict(checkpoint)",
            f"dict(checkpoint)  # {' '.join(locked.weights.split())}, as it loaded until now",
        )
        if steps
        else "keep the old names, or lock anew",
    )


@rule.on_trace
def load_that_raises(trace: Trace, project: Project) -> Iterator[Finding]:
    for load, diagnosis, now in poor_loads(trace):
        if load.strict is not True or load.checkpoint is None or not diagnosis.after.matched:
            continue
        known, total = len(now.matched) + len(now.mismatched), len(diagnosis.signature.entries)
        yield Finding(
            f"{load.checkpoint.path} has {known:,} of the model's {total:,} keys as this call "
            "takes it: it raises",
            load.location,
            notes=tuple(step.cause for step in diagnosis.steps),
            help=load_help(diagnosis, load.checkpoint),
        )


def _needs_mapping(diagnosis: Diagnosis) -> bool:
    """Whether the file's names are others; a module of its own hooks may rename them itself."""
    if not diagnosis.after.matched or "" in diagnosis.signature.hooks:
        return False
    return bool(diagnosis.steps or diagnosis.state.keys)


def _mapped(diagnosis: Diagnosis, trace: Trace, project: Project) -> Finding:
    causes = [step.cause for step in diagnosis.steps]
    if diagnosis.state.module:
        causes.insert(0, f"the file holds a pickled {diagnosis.state.module}, no state dict")
    elif diagnosis.state.keys:
        causes.insert(0, f"the weights stand under `{diagnosis.state.expression}`")
    total = len(diagnosis.signature.entries)
    fitting = len(diagnosis.after.matched) + len(diagnosis.after.tied)
    return Finding(
        f"the checkpoint's keys are not the model's: {'; '.join(causes)}",
        model_location(trace, project),
        notes=(coverage(diagnosis), f"with the mapping below, {fitting:,} of {total:,} match"),
        help=mapping_help(diagnosis, trace),
    )


def _examples(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(names) < 4:
        return ()
    return (f"for example {', '.join(f'`{name}`' for name in names[:3])}",)
