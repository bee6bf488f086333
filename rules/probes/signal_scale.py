"""Activations or gradients that vanish or explode through the depth.

What it does
------------
Measures, in one pass on random numbers, how far samples differ behind each block of a chain of like
modules (four or more), and how large the gradient is there. Where one of the two falls or grows
through the chain by more than a factor of ten thousand, it names the block where that begins.

Why it is bad
-------------
The layers at one end of the chain learn ten thousand times more slowly than those at the other, or
their steps overflow. It shows in a loss that stays where it was, or is NaN after some steps.

Example
-------
    self.layers = nn.ModuleList(nn.Linear(256, 256) for _ in range(30))
    for layer in self.layers:
        nn.init.normal_(layer.weight, std=0.01)

Use instead
-----------
    for layer in self.layers:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

from ._places import number, place_of, sparkline

if TYPE_CHECKING:
    from archcheck.evidence.probe import Series
    from archcheck.evidence.trace import Trace

rule = Rule("AC703", "signal-scale", Severity.WARNING)

_FACTOR = 1e4


@rule.on_probe
def through_the_depth(trace: Trace, project: Project) -> Iterator[Finding]:
    assert trace.probe is not None
    found = [one for one in trace.probe.series if _is_out_of_scale(one)]
    for one in found:
        # The blocks tell it, not each layer in them.
        if not any(_holds(other, one) for other in found if other is not one):
            yield _finding(trace, project, one)


def _is_out_of_scale(series: Series) -> bool:
    return _changes(series.forward) or _changes(series.backward)


def _holds(outer: Series, inner: Series) -> bool:
    return inner.pattern.startswith(f"{outer.pattern}.")


def _changes(values: Sequence[float]) -> bool:
    """Whether numbers fall or grow by orders of magnitude, step by step."""
    if min(values) <= 0:
        return False
    ratio = values[-1] / values[0]
    if 1 / _FACTOR < ratio < _FACTOR:
        return False
    steps = [(after > before) == (ratio > 1) for before, after in pairwise(values)]
    return sum(steps) >= 0.75 * len(steps)


def _begins(values: Sequence[float]) -> int:
    """Return the first of the numbers that is another order of magnitude, from where on all are."""
    ratio = values[-1] / values[0]
    for place in range(1, len(values)):
        rest = values[place:]
        if all(v < values[0] / 10 if ratio < 1 else v > values[0] * 10 for v in rest):
            return place
    return len(values) - 1


def _finding(trace: Trace, project: Project, series: Series) -> Finding:
    forward = _changes(series.forward)
    # A gradient comes from the other end.
    values = series.forward if forward else series.backward[::-1]
    paths = series.paths if forward else series.paths[::-1]
    what = "the signal" if forward else "the gradient"
    verb = "grows" if values[-1] > values[0] else "shrinks"
    path = paths[_begins(values)]
    picture = f"{sparkline(values)}  {number(values[0])} → {number(values[-1])}"
    return Finding(
        f"{what} {verb} from {number(values[0])} to {number(values[-1])} over {len(values)} "
        f"blocks, `{paths[0]}` to `{paths[-1]}`; it begins at `{path}`",
        place_of(trace, project, path),
        label=f"{verb} from here on",
        module=path,
        notes=(f"{what}, block by block (each bar on a logarithmic scale): {picture}",),
        help="scale the weights by their fan-in (kaiming or xavier initialisation), normalise "
        "between the blocks, or add a skip around each",
    )
