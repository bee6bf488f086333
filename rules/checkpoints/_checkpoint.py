"""What rules on checkpoints share: the diagnosis, where a finding stands, the coverage line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archcheck.analysis.module_classes import class_of
from archcheck.core.finding import Location

if TYPE_CHECKING:
    from archcheck.analysis.state_dicts.diagnose import Diagnosis
    from archcheck.evidence.trace import Trace
    from archcheck.python import Project


MOST_LINES = 30


def diagnosis_of(trace: Trace) -> Diagnosis | None:
    """Return what the checkpoint is to the model, where there is one and the model is known."""
    checkpoint = trace.request.checkpoint
    if checkpoint is None or not checkpoint.state_dicts or not trace.state_dict:
        return None
    # Only a check with a checkpoint compares.
    from archcheck.analysis.state_dicts.compare import Signature
    from archcheck.analysis.state_dicts.diagnose import diagnose

    signature = Signature.of(trace.state_dict, trace.renaming_modules)
    return diagnose(signature, checkpoint, trace.request.allow_missing)


def model_location(trace: Trace, project: Project) -> Location:
    """Return the name of the model's class, or the expression that built it."""
    root = trace.module("")
    found = class_of(root, project)
    if found is not None:
        return found.file.name_location(found.node)
    return (root.constructed if root is not None else None) or Location(trace.path, 1)


def layer_location(trace: Trace, name: str, project: Project) -> Location:
    """Return where the module of a key was built, else the model's place."""
    module = trace.module(name.rpartition(".")[0])
    place = module.constructed if module is not None else None
    return place or model_location(trace, project)


def mapping_help(diagnosis: Diagnosis, trace: Trace) -> str:
    """Return the code that loads the file, behind a sentence."""
    checkpoint = trace.request.checkpoint
    lines = diagnosis.mapping.splitlines()
    more = [] if len(lines) <= MOST_LINES else [f"…  # {len(lines) - MOST_LINES:,} lines more"]
    path = checkpoint.path if checkpoint is not None else ""
    safe = checkpoint is not None and checkpoint.form == "safetensors"
    load = f"load_file({path!r})" if safe else f"torch.load({path!r})"
    # Whoever reads the JSON gets the whole of it there.
    code = [f"checkpoint = {load}", *lines[:MOST_LINES], *more, "model.load_state_dict(state)"]
    return "\n".join(["load it by this mapping:", *code])


def coverage(diagnosis: Diagnosis) -> str:
    """Return how much of the model the file fills as it is: the first thing to know."""
    total = len(diagnosis.signature.entries)
    return f"as it is, {len(diagnosis.before.matched):,} of the model's {total:,} keys load"
