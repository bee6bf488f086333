"""An in-place operation changes the tensor that a skip connection still needs.

What it does
------------
Looks for in-place activations, `+=` and the like on a value that is joined, later, with what was
made of their result: `x + self.body(x)` where the body begins with `nn.ReLU(inplace=True)`. A ReLU
of what has no negative entries changes nothing and is left alone. Looks, too, for such operations
on what an earlier layer has saved for the backward pass: `out = self.relu(out); out += skip`, and
`x += …` after `self.norm(x)`.

Why it is bad
-------------
Both names stand for the same memory, so the skip carries the changed tensor: not the input, but
its positive part. The network runs, trains a little worse, and computes something else than its
twin without `inplace`. What was saved for the gradient must stay as it was: otherwise `backward`
raises "one of the variables needed for gradient computation has been modified by an inplace
operation".

Example
-------
    class Block(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.relu = nn.ReLU(inplace=True)
            self.conv = nn.Conv2d(channels, channels, 3, padding=1)

        def forward(self, x):
            out = self.conv(self.relu(x))
            return x + out

Use instead
-----------
    self.relu = nn.ReLU()
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.shapes.failures import shortened
from archcheck.core.finding import Finding, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project, SourceFile

from ._overwrites import (
    Overwrite,
    out_of_place,
    overwrites,
    spoils,
    traced_overwrites,
    traced_spoils,
)

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC303", "in-place-breaks-skip", Severity.ERROR, fix="safe")


@rule.on_source
def joined_after_the_change(file: SourceFile) -> Iterator[Finding]:
    for module in file.modules:
        for method in module.computing:
            flow = module.flow(method) if method.owner is module.definition else None
            for overwrite in (*overwrites(flow), *spoils(flow)) if flow is not None else ():
                yield _finding(overwrite)


@rule.on_trace
def changed_before_it_is_read(trace: Trace, project: Project) -> Iterator[Finding]:
    for overwrite in (*traced_overwrites(trace, project), *traced_spoils(trace, project)):
        yield _finding(overwrite)


def _finding(overwrite: Overwrite) -> Finding:
    written = shortened(overwrite.file.text(overwrite.node))
    if overwrite.spoils:
        return Finding(
            f"`{written}` changes in place what the backward pass needs as it was",
            overwrite.at,
            label="backward() raises a RuntimeError",
            related=(Related(overwrite.joined, f"saves `{overwrite.name}` for its gradient"),),
            help="compute it out of place: `x = x + …`",
            fix=out_of_place(overwrite),
        )
    return Finding(
        f"`{written}` changes `{overwrite.name}` in place, and the skip connection reads it later",
        overwrite.at,
        label="writes into the tensor that the skip keeps",
        related=(Related(overwrite.joined, f"reads the changed `{overwrite.name}`"),),
        help="compute it out of place here, or keep a clone for the skip",
        fix=out_of_place(overwrite),
    )
