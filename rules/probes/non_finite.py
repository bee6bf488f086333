"""NaN or infinity in the outputs or gradients of a model that was just initialised.

What it does
------------
Runs the model on small random tensors, forward and backward. Where an output or a gradient holds a
NaN or an infinity, it runs again and names the first operator that makes one of finite numbers: a
logarithm or root of zero, a division by zero, a softmax of a row that is all -inf, an overflow. An
infinity that the code writes down itself, as masks do, is none. Parameters that the constructor
takes memory for and never fills are found, too.

Why it is bad
-------------
One NaN makes all weights NaN at the next step.

Example
-------
    def forward(self, x):
        norm = (x - x.mean(1, keepdim=True)).abs().amin(1, keepdim=True).sqrt()
        return self.fc(x) / norm

Use instead
-----------
    def forward(self, x):
        norm = (x - x.mean(1, keepdim=True)).square().mean(1, keepdim=True)
        return self.fc(x) / (norm + self.eps).sqrt()
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

from ._places import number, place_of, place_of_op, written

if TYPE_CHECKING:
    from archcheck.evidence.probe import NonFinite, ProbedOp
    from archcheck.evidence.trace import Trace

rule = Rule("AC702", "non-finite", Severity.ERROR)

_NAMES = {"nan": "NaN", "inf": "infinite"}


@rule.on_probe
def no_numbers(trace: Trace, project: Project) -> Iterator[Finding]:
    assert trace.probe is not None
    for one in trace.probe.non_finite:
        if one.op is not None:
            yield _made(trace, project, one, one.op)
        elif one.seen == "parameter":
            owner = one.name.rpartition(".")[0]
            yield Finding(
                f"`{one.name}` is never given a value: it holds whatever the memory held",
                place_of(trace, project, owner),
                label="takes memory, and fills none",
                module=owner or one.name,
                help="initialise it: nn.init.normal_(…, std=0.02), or torch.zeros in place of "
                "torch.empty",
            )


def _made(trace: Trace, project: Project, one: NonFinite, op: ProbedOp) -> Finding:
    text = f"`{written(project, op)}`"
    if one.backward:
        message = f"the gradient of {text} is {_NAMES[one.kind]}, though its value is finite"
    else:
        message = f"{text} gives {one.count:,} {_NAMES[one.kind]} of {one.total:,} numbers"
    notes = [f"the {one.seen} {_shown(one)} is not finite in the end"]
    if one.all_masked:
        notes.append("whole rows of its scores are -inf: all is masked, and nothing adds up to one")
    elif one.least is not None and one.greatest is not None:
        notes.append(f"what goes in is finite: {number(one.least)} to {number(one.greatest)}")
    return Finding(
        message,
        place_of_op(trace, project, op),
        label="the first that is not finite",
        module=op.module or None,
        notes=tuple(notes),
        help=_help(one, op),
    )


def _shown(one: NonFinite) -> str:
    return f"of `{one.name}`" if one.seen == "gradient" else one.name.removeprefix("output ")


def _help(one: NonFinite, op: ProbedOp) -> str:
    if one.all_masked:
        return "let each row see at least one place, or set masked rows to 0 after the softmax"
    if op.name in ("log", "log2", "log10", "sqrt", "rsqrt", "div", "reciprocal", "pow", "norm"):
        return "keep what goes in away from 0: clamp(min=eps), or add eps before it"
    return "keep what goes in within the range that it is finite for"
