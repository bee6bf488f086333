"""Whether the outputs of one sample depend on another, and the op where samples first meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from archcheck.evidence.probe import ProbedOp
from archcheck.tracing.probe.watch import SeenCall, Watch, is_float
from archcheck.tracing.record.spans import Spans

# As a share of the greatest output: what kernels of other sizes may differ by is far less.
TOLERANCE = 1e-4


def sample_changes(
    before: Sequence[torch.Tensor], after: Sequence[torch.Tensor], samples: int
) -> list[float] | None:
    """Return how much the outputs of each sample changed, as a share of the greatest output; None
    where no output has them.

    An output that counts the samples twice (scores of each by each) belongs to no single one.
    """
    changes: list[float] | None = None
    for old, new in zip(before, after, strict=False):
        if old.shape != new.shape or not is_float(old) or old.shape[:1] != (samples,):
            continue
        if list(old.shape).count(samples) != 1 or not bool((old.isfinite() & new.isfinite()).all()):
            continue
        scale = float(old.abs().max()) or 1.0
        rows = ((old - new).abs().reshape(samples, -1).amax(1) / scale).tolist()
        changes = rows if changes is None else list(map(max, changes, rows))
    return changes


class KeepingWatch(Watch):
    """Keeps what every op of a pass gives."""

    def __init__(self, spans: Spans) -> None:
        super().__init__(spans)
        self.kept: list[tuple[str, list[torch.Tensor]]] = []

    def saw(self, call: SeenCall) -> None:
        with torch.no_grad(), torch._C.DisableTorchFunction():
            self.kept.append((call.name, [tensor.detach().clone() for tensor in call.outputs]))


class MeetingWatch(Watch):
    """Compares a pass in which one sample is another with what an earlier pass kept.

    Attributes:
        meeting: The first op with a result more of which changed than of all that it read.
    """

    def __init__(
        self, spans: Spans, kept: Sequence[tuple[str, list[torch.Tensor]]], samples: int
    ) -> None:
        super().__init__(spans)
        self.meeting: ProbedOp | None = None
        self._kept = kept
        self._at = 0
        self._limit = 1.0 / samples + 1e-6

    def saw(self, call: SeenCall) -> None:
        index, self._at = self._at, self._at + 1
        if (
            self.meeting is not None
            or index >= len(self._kept)
            or self._kept[index][0] != call.name
        ):
            return
        with torch.no_grad(), torch._C.DisableTorchFunction():
            shares = [
                _changed_share(old, new)
                for old, new in zip(self._kept[index][1], call.outputs, strict=False)
            ]
        if any(share > self._limit for share in shares):
            self.meeting = call.place()


def _changed_share(old: torch.Tensor, new: torch.Tensor) -> float:
    if old.shape != new.shape or old.numel() == 0 or not is_float(old):
        return 0.0
    scale = float(old.abs().max())
    differs = (old - new).abs() > 1e-5 * scale
    return float(differs.double().mean())


def meeting_place(run: Callable[[Watch, bool], Any], spans: Spans, samples: int) -> ProbedOp | None:
    """Return the op where samples first meet.

    Args:
        run: Run the model under a watch, with the one sample as it was or changed.
    """
    keeping = KeepingWatch(spans)
    run(keeping, False)
    meeting = MeetingWatch(spans, keeping.kept, samples)
    run(meeting, True)
    return meeting.meeting
