"""A trainable parameter whose gradient is exactly zero, or missing.

What it does
------------
Runs the model on small random tensors, takes the gradient of a random projection of its outputs,
and looks for trainable parameters that the outputs are computed from and that get none. The pass is
made again on other numbers, in train and in eval mode, after every number that has a gradient was
moved a little, and with another initialisation: what a gate, a last layer or a LoRA that starts at
zero holds back gets its gradient then, and is none of these. Parameters that say
`requires_grad=False` are frozen on purpose.

Why it is bad
-------------
The weights stay what they were at initialisation, the loss goes down all the same, and no message
says so.

Example
-------
    class Adapter(nn.Module):
        def __init__(self, width, rank):
            self.down = nn.Parameter(torch.zeros(rank, width))
            self.up = nn.Parameter(torch.zeros(width, rank))

        def forward(self, x):
            return x + x @ self.down.T @ self.up.T

Use instead
-----------
    self.down = nn.Parameter(torch.randn(rank, width) / width**0.5)
    self.up = nn.Parameter(torch.zeros(width, rank))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

from ._places import listed, ops_of, place_of_op, spans_around, written

if TYPE_CHECKING:
    from archcheck.evidence.probe import NoGradient, ProbedOp
    from archcheck.evidence.trace import Trace

rule = Rule("AC701", "no-gradient", Severity.ERROR)


@rule.on_probe
def held_back(trace: Trace, project: Project) -> Iterator[Finding]:
    assert trace.probe is not None
    groups: dict[tuple[ProbedOp, bool], list[NoGradient]] = {}
    for one in trace.probe.no_gradient:
        if one.reaches and one.barrier is not None and not _is_explained(trace, one.barrier):
            groups.setdefault((one.barrier, one.missing), []).append(one)
    for (barrier, missing), group in groups.items():
        yield _finding(trace, project, barrier, missing, group)


def _is_explained(trace: Trace, barrier: ProbedOp) -> bool:
    """Whether this input alone has no gradient, or AC705 says what the op does."""
    assert trace.probe is not None
    if barrier.trivial:
        return True
    dead = [one.op for one in trace.probe.dead_units if one.dead == one.units]
    given = [i for op in dead for one in ops_of(trace, op) for i in one.outputs]
    behind = trace.dataflow.after(given)
    return any(not behind.isdisjoint((*op.inputs, *op.outputs)) for op in ops_of(trace, barrier))


def _finding(
    trace: Trace,
    project: Project,
    barrier: ProbedOp,
    missing: bool,
    group: Sequence[NoGradient],
) -> Finding:
    probe = trace.probe
    assert probe is not None
    names = [one.parameter for one in group]
    has = "has" if len(names) == 1 else "have"
    what = "no gradient" if missing else "a gradient of exactly 0"
    return Finding(
        f"{listed(names)} {has} {what}: none goes back through `{written(project, barrier)}`",
        place_of_op(trace, project, barrier),
        label="no gradient goes back from here",
        module=names[0].rpartition(".")[0] or names[0],
        notes=(
            f"seen in {probe.passes} passes on random numbers, the weights moved between them, "
            f"for {len(probe.no_gradient)} of {probe.parameters} trainable parameters",
        ),
        help="let the outputs depend on them; or, if they are frozen on purpose, say so: "
        "requires_grad_(False)",
        # What the trace tells of the same place it can only conclude.
        covers=tuple(
            (code, span) for span in spans_around(trace, barrier) for code in ("AC308", "AC309")
        ),
    )
