"""A difference for programs, version 1: every entry with both layers and its effect."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from archcheck.analysis.architectures.difference import Difference, ModelDifference
from archcheck.evidence.architecture import Architecture
from archcheck.output import Options


def render(difference: Difference, _options: Options) -> str:
    """The same difference gives the same bytes."""
    document = {
        "version": 1,
        "before": difference.before,
        "after": difference.after,
        "models": [_model(model) for model in difference.models],
        "unknown": [*difference.unknown, *difference.usage_errors],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _model(model: ModelDifference) -> dict[str, Any]:
    return {
        "target": model.target,
        "state": model.state,
        "before": _totals(model.before),
        "after": _totals(model.after),
        "changes": [asdict(change) for change in model.changes],
    }


def _totals(architecture: Architecture | None) -> dict[str, Any] | None:
    if architecture is None:
        return None
    totals = asdict(architecture)
    del totals["target"]
    return {**totals, "layers": len(architecture.layers)}
