"""What a checkpoint is to a traced model, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace


def weights_json(trace: Trace) -> dict[str, Any] | None:
    """Return the names that match and those that don't, with the mapping's steps taken."""
    checkpoint = trace.request.checkpoint
    if checkpoint is None or not trace.state_dict:
        return None
    # Imported only now: few checks have a checkpoint.
    from archcheck.analysis.state_dicts.compare import Signature
    from archcheck.analysis.state_dicts.diagnose import diagnose

    signature = Signature.of(trace.state_dict, trace.renaming_modules)
    diagnosis = diagnose(signature, checkpoint, trace.request.allow_missing)
    return {
        "file": checkpoint.path,
        "matched": len(diagnosis.after.matched),
        "missing": list(diagnosis.after.missing),
        "unexpected": list(diagnosis.after.unexpected),
        "mismatched": list(diagnosis.after.mismatched),
        "mapping": diagnosis.mapping.splitlines(),
    }
