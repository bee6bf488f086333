"""Ops that run over the batch as if it were a sequence, and so let its samples meet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archcheck.analysis.axes.batch import Batch, Reason
from archcheck.analysis.axes.flow import AxisFlow
from archcheck.analysis.axes.parts import roots_of, sole_root
from archcheck.analysis.axes.step import Meeting, Root

if TYPE_CHECKING:
    from archcheck.evidence.records import Op
    from archcheck.evidence.trace import Trace
    from archcheck.python import Project

_LAYERS = frozenset(("attention", "recurrence", "convolution"))
# Modules and functions that say by their names that samples are to meet.
_ON_PURPOSE = ("batch", "sample", "crossimage", "cross_image", "memory_bank", "contrast")


@dataclass(frozen=True, slots=True)
class Mixing:
    """An op whose result for one sample depends on the others.

    Attributes:
        dim: The dimension of the value that has the samples; `lane`, the one that has what was
            meant, which the op takes for samples.
    """

    op: Op
    meeting: Meeting
    dim: int
    lane: int
    root: Root
    reason: Reason


def mixings(trace: Trace, project: Project) -> Iterator[Mixing]:
    """Where samples meet in ops that have taken another dimension for the batch.

    Only such an op is told of: one that keeps no dimension of the input for its samples, or a
    dimension of size 1, was pointed at the batch on purpose.
    """
    meetings = [meeting for meeting in trace.analysed(AxisFlow).meetings if _counts(trace, meeting)]
    batch = Batch(trace, project) if meetings else None
    for meeting in meetings:
        axes = trace.analysed(AxisFlow).of(meeting.value)
        if axes is None or batch is None:
            continue
        for dim in meeting.dims:
            root = sole_root(axes[dim])
            reason = batch.reason(root) if root is not None and axes[dim][0].extent > 1 else None
            lane = _lane(trace, meeting, root, batch)
            if root is None or reason is None or lane is None:
                continue
            if meeting.kind not in _LAYERS and not reason.named:
                continue
            yield Mixing(trace.ops[meeting.op], meeting, dim, lane, root, reason)


def _lane(trace: Trace, meeting: Meeting, root: Root | None, batch: Batch) -> int | None:
    """The dimension that the op takes for samples, and that counts something else of the input."""
    axes = trace.analysed(AxisFlow).of(meeting.value)
    shape = trace.values[meeting.value].shape
    for dim in meeting.lanes if axes is not None else ():
        roots = roots_of(axes[dim]) if axes is not None else frozenset()
        if shape[dim] < 2 or not roots or root in roots:
            continue
        if not any(batch.reason(other) for other in roots):
            return dim
    return None


def _counts(trace: Trace, meeting: Meeting) -> bool:
    op = trace.ops[meeting.op]
    if op.location is None or trace.dataflow.live.isdisjoint(op.outputs):
        return False
    if meeting.kind in _LAYERS or meeting.kind == "cumulative":
        return not _on_purpose(trace, op)
    if meeting.kind == "product":
        return _is_weighted(trace, op) and not _on_purpose(trace, op)
    if meeting.kind == "reduction":
        return _ends_without_batch(trace, meeting) and not _on_purpose(trace, op)
    return False


def _is_weighted(trace: Trace, op: Op) -> bool:
    """Whether a product weighs its second factor by a softmax: attention written by hand."""
    between = frozenset(("dropout", "to", "float", "type_as", "masked_fill", "contiguous"))
    source = trace.dataflow.last_nonlinear(op.inputs[0], between)
    return source is not None and source.name == "softmax"


def _ends_without_batch(trace: Trace, meeting: Meeting) -> bool:
    """Whether the batch is summed up for good: the model gives rows of something else."""
    axes = trace.analysed(AxisFlow).of(meeting.value)
    if axes is None or len(meeting.dims) != 1 or len(axes) < 3:
        return False
    roots = roots_of(axes[meeting.dims[0]])
    outputs = [trace.analysed(AxisFlow).of(value) for value in trace.dataflow.outputs]
    return bool(outputs) and all(
        known is not None
        and len(known) > 1
        and bool(roots_of(known[0]))
        and all(roots.isdisjoint(roots_of(axis)) for axis in known)
        for known in outputs
    )


def _on_purpose(trace: Trace, op: Op) -> bool:
    """Whether the module that it runs in, or a parent of it, names itself after the samples."""
    call = op.call
    while call is not None:
        here = trace.calls[call]
        module = trace.module(here.path)
        names = (here.path, module.type if module is not None else "")
        if any(
            word in name.lower().replace("batch_first", "")
            for name in names
            for word in _ON_PURPOSE
        ):
            return True
        call = here.parent
    return False
