"""What rules on checkpoints share: the diagnosis, where a finding stands, the coverage line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.module_classes import model_location

if TYPE_CHECKING:
    from archcheck.analysis.state_dicts.compare import Comparison
    from archcheck.analysis.state_dicts.diagnose import Diagnosis
    from archcheck.core.finding import Location
    from archcheck.evidence.checkpoint import Checkpoint, LoadInSource
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


def layer_location(trace: Trace, name: str, project: Project) -> Location:
    """Return where the module of a key was built, else the model's place."""
    module = trace.module(name.rpartition(".")[0])
    place = module.constructed if module is not None else None
    return place or model_location(trace, project)


def poor_loads(trace: Trace) -> Iterator[tuple[LoadInSource, Diagnosis, Comparison]]:
    """Yield the loads in the code of which less than half is taken, and the model lacks the rest.

    Names alone are asked for: the code may build the model in another size than was traced.
    """
    if not trace.state_dict or trace.renaming_modules:
        return
    for load in trace.request.loads:
        if load.checkpoint is None or load.checkpoint.problems:
            continue
        # Only a file that is loaded so is compared.
        from archcheck.analysis.state_dicts.compare import Signature, compare, table_of
        from archcheck.analysis.state_dicts.diagnose import diagnose

        signature = Signature.of(trace.state_dict)
        states = load.checkpoint.state_dicts
        taken = next((one for one in states if one.keys == load.keys), None)
        table = {} if taken is None else table_of(taken)
        now = compare(signature, table)
        known = len(now.matched) + len(now.mismatched)
        # A file of a part of the model, all of which is taken, may well be meant.
        if 2 * known < len(signature.entries) and 2 * known < max(1, len(table)):
            yield load, diagnose(signature, load.checkpoint), now


def mapping_help(diagnosis: Diagnosis, trace: Trace) -> str:
    """Return the code that loads the file of `--weights`, behind a sentence."""
    assert trace.request.checkpoint is not None, "there is no diagnosis without a checkpoint"
    return load_help(diagnosis, trace.request.checkpoint)


def load_help(diagnosis: Diagnosis, checkpoint: Checkpoint) -> str:
    """Return the code that loads a file, behind a sentence."""
    lines = diagnosis.mapping.splitlines()
    more = [] if len(lines) <= MOST_LINES else [f"…  # {len(lines) - MOST_LINES:,} lines more"]
    # Only what is shown needs it.
    from archcheck.analysis.state_dicts.loading_code import loading_code

    # Whoever reads the JSON gets the whole of it there.
    code = [*loading_code(checkpoint), *lines[:MOST_LINES], *more, "model.load_state_dict(state)"]
    return "\n".join(["load it by this mapping:", *code])


def coverage(diagnosis: Diagnosis) -> str:
    """Return how much of the model the file fills as it is: the first thing to know."""
    total = len(diagnosis.signature.entries)
    return f"as it is, {len(diagnosis.before.matched):,} of the model's {total:,} keys load"
