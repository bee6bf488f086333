"""One linear layer behind a flattening holds most of the model's parameters.

What it does
------------
Notes a Linear layer that is fed a flattened feature map and holds more than two thirds of all
parameters.

Why it is bad
-------------
Each position of the map gets weights of its own: the layer overfits, costs memory, and ties the
model to one input size. Averaging over the positions first keeps the channels and loses little.

Example
-------
    x = torch.flatten(self.features(x), 1)  # [8, 512, 7, 7] becomes [8, 25088]
    x = self.hidden(x)  # nn.Linear(25088, 4096) has 102,764,544 parameters

Use instead
-----------
    x = self.pool(self.features(x)).flatten(1)  # nn.AdaptiveAvgPool2d(1) leaves [8, 512]
    x = self.hidden(x)  # nn.Linear(512, 4096)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.core.finding import Finding, Location, Severity
from archcheck.core.rule import Rule

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC605", "dominant-layer", Severity.NOTE)

SHARE = 2 / 3
FLATTENINGS = ("flatten", "view", "reshape")


@rule.on_trace
def flattened_linear(trace: Trace) -> Iterator[Finding]:
    counts = {one.name: one.count for one in trace.parameters if not one.buffer}
    total = sum(counts.values())
    for op in trace.ops:
        module = trace.module_of(op)
        if op.name != "linear" or module is None or module.type != "Linear":
            continue
        count = sum(counts.get(name, 0) for name in module.parameters)
        before = trace.dataflow.producer(op.inputs[0])
        if count <= SHARE * total or before is None or before.name not in FLATTENINGS:
            continue
        flattened = trace.shape(before.inputs[0])
        if len(flattened) > 2 and any(size > 1 for size in flattened[2:]):
            place = module.constructed or op.location
            yield Finding(
                f"`{module.path}` holds {count / total:.0%} of the model's {total:,} parameters",
                place or Location(trace.path, 1),
                label=f"{count:,} parameters",
                module=module.path,
                help="average over the positions first, nn.AdaptiveAvgPool2d(1)",
            )
