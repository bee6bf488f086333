"""A comment states another shape than the one that its line has.

What it does
------------
Reads the shapes that comments in `forward` methods state, in the forms that people write
(`# [bs, 64, 56, 56]`, `# (B, C, H, W)`, `# B x 64 x 56 x 56`, `# torch.Size([8, 64])`,
`# -> 8×512`, `# x: [N, 512]`), and compares them with the traced shapes. A name means the same
size throughout a method; a name that cannot be resolved contradicts nothing.

Why it is bad
-------------
Shape comments are what readers go by. One that is wrong sends the next change astray: the width
of a classifier is computed from it.

Example
-------
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 64, 7, stride=2, padding=3)

        def forward(self, x):  # x: [B, 3, 224, 224]
            x = self.conv(x)  # [B, 64, 56, 56]
            return x

Use instead
-----------
    x = self.conv(x)  # [B, 64, 112, 112]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.shapes.arithmetic import text
from archcheck.core.finding import Finding, Fix, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC213", "stale-shape-comment", Severity.WARNING, fix="safe")


@rule.on_trace
def comments_that_are_wrong(trace: Trace, project: Project) -> Iterator[Finding]:
    # Imported only now: it takes long, and a check of source alone goes without.
    from ._commented_shapes import contradictions

    for found in contradictions(trace, project):
        yield Finding(
            f"the comment says {found.written}, `{found.name}` is {text(found.shape)}",
            found.location,
            label=f"is {text(found.shape)}",
            help=f"{found.corrected}" if found.corrected else None,
            fix=Fix("safe", found.edits) if found.edits else None,
        )
