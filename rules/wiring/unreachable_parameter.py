"""A parameter that never gets a gradient.

What it does
------------
Follows the gradient of what a pass ends in back through its operators, and looks for trainable
parameters that it never reaches: behind `detach()`, `.data`, `no_grad`, `argmax`, a cast to
integers, a step function or a tensor that is made anew (`nn.Parameter(x)`); for parameters that
only the last turn of a loop uses, whose result goes nowhere; and for parameters that nothing reads
at all. Writing through `.data` cuts nothing. Parameters that say `requires_grad=False` are frozen
on purpose.

Why it is bad
-------------
The weights stay what they were at initialisation, and no message says so. Distributed training
stops on them: "Expected to have finished reduction in the prior iteration".

Example
-------
    class Net(nn.Module):
        def forward(self, x):
            features = self.encoder(x).detach()
            return self.head(features)

Use instead
-----------
    class Net(nn.Module):
        def forward(self, x):
            features = self.encoder(x)
            return self.head(features)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from archcheck.analysis.shapes.failures import shortened, source_file, text_at
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

from ._gradients import Cut, cut_off, last_turns, never_read

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC308", "unreachable-parameter", Severity.WARNING)


@rule.on_trace
def behind_a_barrier(trace: Trace, project: Project) -> Iterator[Finding]:
    for cut in cut_off(trace, project):
        file = source_file(project, cut.at)
        written = shortened(text_at(file, cut.at)) if file is not None else cut.op.name
        yield Finding(
            f"{_gets_none(cut.owners)}: `{written}` {_how(cut)}",
            cut.at,
            label="no gradient goes back from here",
            module=cut.owners[0],
            # The source alone tells of the same cut, and of what lies behind it only guesses.
            covers=(("AC309", cut.at),),
            help="take it out; or, if they are frozen on purpose, say so: requires_grad_(False)",
        )


@rule.on_trace
def computed_in_the_last_turn(trace: Trace, project: Project) -> Iterator[Finding]:
    for turn in last_turns(trace, project):
        yield Finding(
            f"{_gets_none(turn.owners)}: nothing reads the last `{turn.name}` of the loop",
            turn.at,
            label="the last one goes nowhere",
            module=turn.owners[0],
            help="use it after the loop, or leave these layers out of the last turn",
        )


@rule.on_trace
def read_by_nothing(trace: Trace, project: Project) -> Iterator[Finding]:
    for name, write in never_read(trace, project):
        yield Finding(
            f"`{name}` is a parameter, and nothing ever reads it",
            write.location,
            label="never used",
            module=name,
            help="use it in forward, or remove it",
        )


def _gets_none(owners: Sequence[str]) -> str:
    names = ", ".join(f"`{owner}`" for owner in owners[:3])
    more = f" and {len(owners) - 3} more" if len(owners) > 3 else ""
    return f"{names}{more} never {'gets' if len(owners) == 1 else 'get'} a gradient"


def _how(cut: Cut) -> str:
    if cut.wraps:
        return "is made anew in each pass, without a history"
    if not cut.op.grad_enabled:
        return "runs below no_grad"
    return "cuts it" if cut.op.name in ("detach", "data") else "has no derivative"
