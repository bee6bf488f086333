"""Where a probe's ops and modules are in the source, and how its numbers are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from archcheck.analysis.module_classes import class_of
from archcheck.analysis.shapes.failures import shortened, source_file, text_at
from archcheck.core.finding import Location

if TYPE_CHECKING:
    from archcheck.evidence.probe import ProbedOp
    from archcheck.evidence.records import Op
    from archcheck.evidence.trace import Trace
    from archcheck.python import Project

_BARS = "▁▂▃▄▅▆▇█"


def place_of(trace: Trace, project: Project, path: str) -> Location:
    """Return where a module is constructed, or else the nearest module around it; at last the
    name of the model's class."""
    while path:
        module = trace.module(path)
        if module is not None and module.constructed is not None:
            return module.constructed
        path = path.rpartition(".")[0]
    root = trace.module("")
    found = class_of(root, project)
    if found is not None:
        return found.file.name_location(found.node)
    return (root.constructed if root is not None else None) or Location(trace.path, 1)


def place_of_op(trace: Trace, project: Project, op: ProbedOp) -> Location:
    """Return where the code calls an op, or else where its module is."""
    return op.location or place_of(trace, project, op.module)


def written(project: Project, op: ProbedOp) -> str:
    """Return an op as the code writes it, or else its name and module."""
    file = source_file(project, op.location) if op.location is not None else None
    text = shortened(text_at(file, op.location)) if file is not None and op.location else ""
    return text or (f"{op.name} of {op.module}" if op.module else op.name)


def ops_of(trace: Trace, op: ProbedOp) -> tuple[Op, ...]:
    """Return the ops of the trace that a probe's op is."""
    return tuple(one for one in trace.ops if (one.name, one.location) == (op.name, op.location))


def spans_around(trace: Trace, op: ProbedOp) -> tuple[Location, ...]:
    """Return the place of an op, and those of the module calls around it."""
    if op.location is None:
        return ()
    spans = {op.location: None}
    for one in ops_of(trace, op):
        call = one.call
        while call is not None:
            location = trace.calls[call].location
            if location is not None:
                spans[location] = None
            call = trace.calls[call].parent
    return tuple(spans)


def listed(names: Sequence[str], most: int = 3) -> str:
    """Return names in backquotes, no more than a sentence bears."""
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def number(value: float) -> str:
    """Return a number as short as it tells enough: 3.2, 1e-07."""
    return f"{value:.2g}" if value and not 0.01 <= abs(value) < 1000 else f"{value:.3g}"


def sparkline(values: Sequence[float]) -> str:
    """Return a small picture of positive numbers, by their orders of magnitude."""
    logs = [math.log10(max(value, 1e-45)) for value in values]
    least, most = min(logs), max(logs)
    width = (most - least) or 1.0
    return "".join(_BARS[round((log - least) / width * (len(_BARS) - 1))] for log in logs)
