"""The model accepts only the image sizes that one flattened width or fixed pooling allows.

What it does
------------
Reports which input sizes work, and which layer limits them. It is a note; it becomes a warning
where something else in the file implies a size that does not work: a crop or resize, a data set
that the code or the text names, or where `--input B,3,H,W` leaves the sizes free.

Why it is bad
-------------
A size outside the range stops the forward pass, at a layer that says nothing of images.

Example
-------
    class Net(nn.Module):  # for CIFAR-10
        def __init__(self):
            super().__init__()
            self.features = nn.Conv2d(3, 64, 7, stride=4)
            self.classifier = nn.Linear(64 * 55 * 55, 10)  # 224 x 224 pixels, not 32 x 32

Use instead
-----------
    class Net(nn.Module):  # for CIFAR-10
        def __init__(self):
            super().__init__()
            self.features = nn.Conv2d(3, 64, 7, stride=4)
            self.pool = nn.AdaptiveAvgPool2d(1)
            self.classifier = nn.Linear(64, 10)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from archcheck.analysis.shapes.failures import ShapeError, source_file
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.evidence.dataflow import indices
from archcheck.python import Project

from ._pool_before_flatten import lifted
from ._widths import accepts, explained, spans_of

if TYPE_CHECKING:
    from archcheck.core.target import Shape
    from archcheck.evidence.records import Sizes
    from archcheck.evidence.trace import Trace

rule = Rule("AC212", "hardcoded-input-size", Severity.NOTE, fix="unsafe", default=True)


@rule.on_trace
def sizes_that_work(trace: Trace, project: Project) -> Iterator[Finding]:
    free = {letter for one in trace.inputs for letter in one.free.values()}
    limits = [
        size
        for size in trace.valid_input_sizes
        if size.high < size.searched
        and accepts(size, size.traced)
        and size.dimension in {"H", "W"} | free
    ]
    limit = next((size for size in limits if size.limited_by is not None), None)
    if limit is None or limit.limited_by is None or trace.failures:
        return
    fault = ShapeError.of(trace, project, trace.ops[limit.limited_by])
    reasons = [*_left_free(trace, limits)]
    if fault.kind == "linear" and fault.is_constant("in_features", 0):
        reasons += _contradicted(trace, project, limits)
    notes: tuple[str, ...] = ()
    folded: Shape = ()
    help = None
    if fault.kind == "linear" and len(fault.shapes) > 1:
        notes, folded = explained(trace, fault.values[0], fault.shapes[1][-1])
        if folded:
            pool = f"nn.AdaptiveAvgPool{len(folded) - 1}d(1)"
            help = f"{pool} and nn.Linear({folded[0]}, …) take any input size"
        else:
            help = "nn.AdaptiveAvgPool2d(1) before the flattening lifts the limit"
    finding = fault.finding(
        f"{fault.subject} ties the model to an input of {spans_of(limits)}",
        label=f"only for {spans_of(limits)}",
        declared=fault.declared("in_features", 0) if fault.kind == "linear" else None,
        notes=(*notes, *reasons),
        help=help,
        fix=lifted(fault, folded) if len(folded) > 1 else None,
    )
    yield replace(finding, severity=Severity.WARNING if reasons else Severity.NOTE)


def _left_free(trace: Trace, limits: list[Sizes]) -> Iterator[str]:
    for given in trace.inputs:
        for dimension, letter in given.free.items():
            # Behind batch and channels; that a sequence has a longest length is no mistake.
            if dimension >= 2 and any(size.dimension == letter for size in limits):
                yield f"the input leaves {letter} free, and the model does not"


def _contradicted(trace: Trace, project: Project, limits: list[Sizes]) -> Iterator[str]:
    """What in the file implies a size that does not work."""
    # Imported only now: it takes long, and a check of source alone goes without.
    from ._implied_sizes import implied, written_sizes

    limits = [size for size in limits if size.dimension in ("H", "W")]
    at = next((m.defined for m in trace.modules if m.path == "" and m.defined is not None), None)
    file = source_file(project, at) if at is not None else None
    if file is None or not limits:
        return

    def works(size: int) -> bool:
        return all(accepts(limit, size) for limit in limits)

    if any(works(size) for size in written_sizes(file)):
        return
    given = next((trace.shape(i) for one in trace.inputs for i in indices(one.value)), ())
    found = implied(file, given[1] if len(given) == 4 else None)
    if not any(works(size) for one in found for size in one.sizes):
        for one in found[:1]:
            yield f"{one.what} (line {one.line}): its {one.sizes[0]} pixels do not work"
