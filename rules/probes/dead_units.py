"""A ReLU layer that is dead at initialisation.

What it does
------------
Runs the model on random numbers, with several initialisations, and counts the units of each ReLU
that ever let something through. A layer with none, or with hardly any of many, is dead: behind it
comes nothing, and before it goes no gradient. ReLUs that no layer with weights follows are left
out: they clip a loss or a result.

Why it is bad
-------------
A unit that is never positive has no gradient, so that training cannot bring it back.

Example
-------
    self.fc = nn.Linear(64, 64)
    nn.init.constant_(self.fc.bias, -10.0)
    self.act = nn.ReLU()

Use instead
-----------
    nn.init.zeros_(self.fc.bias)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.evidence.dataflow import AFFINE
from archcheck.python import Project

from ._places import number, ops_of, place_of_op, written

if TYPE_CHECKING:
    from archcheck.evidence.probe import DeadUnits
    from archcheck.evidence.trace import Trace

rule = Rule("AC705", "dead-units", Severity.WARNING)

# Of so many units, each seen so often, so many are not dead by chance.
_MANY, _OFTEN, _SHARE = 32, 16, 0.95


@rule.on_probe
def nothing_passes(trace: Trace, project: Project) -> Iterator[Finding]:
    assert trace.probe is not None
    for one in trace.probe.dead_units:
        if _is_dead(one) and _weights_follow(trace, one):
            yield Finding(
                f"`{written(project, one.op)}` lets nothing through: {_how_many(one)} ever above 0",
                place_of_op(trace, project, one.op),
                label="dead at initialisation",
                module=one.op.module or None,
                notes=(
                    f"the greatest number that goes in is {number(one.greatest)}, of {one.seen:,} "
                    "that each unit saw",
                ),
                help="let what goes in be positive about half of the time: look at the bias and "
                "the scale of the layer before it",
            )


def _how_many(one: DeadUnits) -> str:
    if one.dead == one.units:
        return f"none of its {one.units} units is"
    return f"only {one.units - one.dead} of its {one.units} units are"


def _is_dead(one: DeadUnits) -> bool:
    if one.dead == one.units:
        return True
    return one.units >= _MANY and one.seen >= _OFTEN and one.dead >= _SHARE * one.units


def _weights_follow(trace: Trace, one: DeadUnits) -> bool:
    """Whether a layer with weights computes something of what the op gives."""
    flow = trace.dataflow
    given = [index for op in ops_of(trace, one.op) for index in op.outputs]
    behind = flow.after(given)
    return any(op.name in AFFINE and not behind.isdisjoint(op.inputs) for op in trace.ops)
