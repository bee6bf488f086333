"""A layer that does nothing.

What it does
------------
Looks for an activation of what it changes no more (a ReLU of a ReLU, of a sigmoid or a softmax),
also with pooling or dropout in between; for `dropout=` of a recurrent layer with one layer, which
has no place for it; and for layers whose written numbers make them the identity: `nn.Dropout(0)`, a
pooling of kernel 1 and stride 1, an `nn.Upsample` by 1, a padding of 0, `nn.LeakyReLU(1)`. Numbers
that come from a parameter or a configuration are settings, and left alone.

Why it is bad
-------------
The network lacks what its author thought was there: the dropout between recurrent layers that
never drops anything, the activation that was meant to be another one.

Example
-------
    self.lstm = nn.LSTM(64, 128, dropout=0.5)

Use instead
-----------
    self.lstm = nn.LSTM(64, 128, num_layers=2, dropout=0.5)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.core.finding import Finding, Location, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project, SourceFile

from ._ineffective_layers import identities, repeated_in_trace, repeated_rectifiers

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC310", "ineffective-layer", Severity.WARNING)


@rule.on_source
def the_identity_as_written(file: SourceFile) -> Iterator[Finding]:
    for layer, reason in identities(file):
        yield Finding(
            reason, layer, label="does nothing", help="set it to what it is for, or remove it"
        )


@rule.on_source
def rectified_twice(file: SourceFile) -> Iterator[Finding]:
    for first, second, names in repeated_rectifiers(file):
        yield _again(first, second, *names)


@rule.on_trace
def rectified_twice_in_a_pass(trace: Trace, project: Project) -> Iterator[Finding]:
    for first, second, names in repeated_in_trace(trace):
        yield _again(first, second, *names)


def _again(first: Location, second: Location, name: str, before: str) -> Finding:
    return Finding(
        f"a {name} of a {before} changes nothing: there is nothing negative in it",
        second,
        label="does nothing",
        related=(Related(first, "what it is applied to"),) if first != second else (),
        help="remove it, or put the layer between them that was meant",
    )
