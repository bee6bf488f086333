"""The report as JSON, version 1; null where nothing is known."""

from __future__ import annotations

import json
import re
from typing import Any

from archcheck._version import __version__
from archcheck.analysis.axes.names import NamedShapes
from archcheck.analysis.costs.movement import module_bytes
from archcheck.analysis.costs.training import generation_costs, training_costs
from archcheck.core.finding import Edit, Finding, Fix, Location
from archcheck.core.report import Report, severity_of
from archcheck.evidence.target_summary import Layer, TargetReport, Tensor
from archcheck.output import Options
from archcheck.output.checkpoint_json import weights_json

VERSION = 1

_BREAK = re.compile(r"\n\s*")
# A list that holds nothing but numbers, or nothing but lists already on one line.
_NUMBERS = re.compile(r"\[\n\s*((?:[-\d., ]|\n|\[[-\d., ]*\])+?)\n\s*\]")


def render(report: Report, options: Options) -> str:
    """The same report always gives the same bytes; lists of numbers stand on one line each."""
    text = json.dumps(document(report), indent=2)
    # Inside strings JSON escapes line breaks, so only its own layout can match.
    text = _NUMBERS.sub(lambda match: f"[{_BREAK.sub(' ', match[1])}]", text)
    text = _NUMBERS.sub(lambda match: f"[{_BREAK.sub(' ', match[1])}]", text)
    return text + "\n"


def document(report: Report) -> dict[str, Any]:
    """The report as plain lists and dicts."""
    counts = report.summary
    torch = (target.trace.versions.get("torch") for target in report.targets)
    return {
        "version": VERSION,
        "archcheck": __version__,
        "torch": next((version for version in torch if version), None),
        "targets": [_target(target) for target in report.targets],
        "findings": [_finding(finding) for finding in report.findings],
        "summary": {
            "error": counts.error,
            "warning": counts.warning,
            "note": counts.note,
            "suppressed": counts.suppressed,
            "files": counts.files,
            **_baseline(report),
        },
    }


def _baseline(report: Report) -> dict[str, int]:
    """How many findings the baseline hides, and how many of its own are gone; if there is one."""
    known = report.baseline
    return {} if known is None else {"baseline": len(known.hidden), "gone": known.gone}


def _target(target: TargetReport) -> dict[str, Any]:
    params, outputs, sizes = target.params, target.outputs, target.valid_input_sizes
    training = training_costs(target.trace)
    moved = module_bytes(target.trace) if target.complete else {}
    return {
        "target": target.name,
        "mode": target.mode,
        "inputs": [{"name": one.name, **_tensor(one)} for one in target.inputs],
        "inferred_input": target.trace.inferred_input is not None,
        "traced_with": target.rung,
        "outputs": None if outputs is None else [_tensor(one) for one in outputs],
        "params": None
        if params is None
        else {"total": params.total, "trainable": params.trainable, "buffers": params.buffers},
        "macs": target.macs,
        "flops": target.flops,
        "peak_activation_bytes": target.peak_activation_bytes,
        "uncounted_ops": dict(sorted(target.uncounted_ops.items())) if target.complete else None,
        "valid_input_sizes": None
        if sizes is None
        # The step is there only where not every size between the two works.
        else {
            one.dimension: [one.low, one.high] + [one.multiple_of] * (one.multiple_of > 1)
            for one in sizes
        },
        "size_answers": dict(target.trace.size_answers) if target.complete else None,
        "decided_by_values": list(target.trace.decided_by_values) if target.built else None,
        "training": None if training is None else dict(training.as_json()),
        "generation": _generation(target),
        "weights": weights_json(target.trace),
        "probe": None if target.trace.probe is None else target.trace.probe.as_json(),
        "symbolic": _symbolic(target),
        "modules": [_layer(layer, target, moved.get(layer.path)) for layer in target.modules],
    }


def _symbolic(target: TargetReport) -> dict[str, Any] | None:
    named = target.trace.analysed(NamedShapes)
    if not named or target.outputs is None:
        return None
    return {
        "inputs": [list(named.shape(one.value)) for one in target.inputs],
        "outputs": [list(named.shape(one.value)) for one in target.outputs],
    }


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {"shape": list(tensor.shape), "dtype": tensor.dtype}


def _generation(target: TargetReport) -> dict[str, Any] | None:
    costs = generation_costs(target.trace)
    if costs is None:
        return None
    return {
        "kv_cache_bytes_per_token": costs.kv_cache_bytes_per_token,
        "prompt": costs.prompt,
        "tokens": costs.tokens,
        "cache_bytes": costs.cache_bytes,
        "peak_bytes": costs.peak_bytes,
        "decode_bytes": costs.decode_bytes,
    }


def _layer(layer: Layer, target: TargetReport, moved: int | None) -> dict[str, Any]:
    # A line without its file would be read as one of the target's own file.
    path, named = target.trace.path, target.trace.analysed(NamedShapes)
    place = layer.place if layer.place and layer.place.path == path else None
    return {
        "path": layer.path,
        "type": layer.type,
        "calls": layer.calls,
        "input": [list(tensor.shape) for tensor in layer.inputs],
        "output": [list(tensor.shape) for tensor in layer.outputs],
        "output_symbolic": [list(named.shape(one.value)) for one in layer.outputs]
        if named
        else None,
        "params": layer.params,
        "macs": layer.macs,
        "bytes_moved": moved,
        "intensity": round(layer.flops / moved, 3) if moved else None,
        "line": place.line if place else None,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    place = finding.location
    return {
        "code": finding.code,
        "name": finding.name,
        "severity": severity_of(finding).value,
        "message": finding.message,
        "path": place.path,
        **_cell(place),
        **_span(place),
        "module": finding.module,
        "target": finding.target,
        "help": finding.help,
        "related": [
            {
                "path": related.location.path,
                **_cell(related.location),
                "line": related.location.line,
                "message": related.message,
            }
            for related in finding.related
        ],
        "fix": _fix(finding.fix, place) if finding.fix else None,
    }


def _fix(fix: Fix, place: Location) -> dict[str, Any]:
    return {
        "safety": fix.safety,
        "verified": fix.verified,
        "edits": [_edit(edit, place) for edit in fix.edits],
    }


def _edit(edit: Edit, place: Location) -> dict[str, Any]:
    elsewhere = {"path": edit.location.path} if edit.location.path != place.path else {}
    return {**elsewhere, **_cell(edit.location), **_span(edit.location), "new": edit.new}


def _cell(place: Location) -> dict[str, Any]:
    """A notebook's lines count within a cell; elsewhere the key is absent."""
    return {} if place.cell is None else {"cell": place.cell}


def _span(place: Location) -> dict[str, Any]:
    known = place.end_line > 0 and place.end_column > 0
    return {
        "line": place.line,
        "column": place.column,
        "end_line": place.end_line if known else None,
        "end_column": place.end_column if known else None,
    }
