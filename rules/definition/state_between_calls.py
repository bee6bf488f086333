"""A tensor with its history is kept on the module, and the next call goes on from it.

What it does
------------
Looks for an attribute that the constructor makes, that `forward` reads and then sets to something
computed from it or from its input, with the history of that computation. Silent where the state is
detached, set below `no_grad`, set anew at the start of each call, reset by a method of the class or
by code outside, or kept under a condition that speaks of inference or of a cache.

Why it is bad
-------------
The second call's graph hangs on the first one's, which `backward()` has freed: "Trying to backward
through the graph a second time". With `retain_graph=True`, or without a backward pass, memory grows
with every call.

Example
-------
    class Leaky(nn.Module):
        def __init__(self):
            super().__init__()
            self.membrane = torch.zeros(1)

        def forward(self, current):
            self.membrane = 0.9 * self.membrane + current
            return torch.sigmoid(self.membrane)

Use instead
-----------
    class Leaky(nn.Module):
        def forward(self, current, membrane):
            membrane = 0.9 * membrane + current
            return torch.sigmoid(membrane), membrane
"""

from __future__ import annotations

from collections.abc import Iterator

from archcheck.core.finding import Finding, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import SourceFile

from ._kept_states import kept_states

rule = Rule("AC119", "state-between-calls", Severity.WARNING)


@rule.on_source
def goes_on_from_the_last_call(file: SourceFile) -> Iterator[Finding]:
    for module in file.modules:
        for state in kept_states(module):
            yield Finding(
                f"`self.{state.write.name}` keeps its history, and the next call goes on from it",
                state.write.location,
                label="the graph of this call stays alive",
                module=state.write.name,
                related=(Related(file.location(state.read), "read before it is set"),),
                help="detach what is kept, reset it before each batch, or hand it in and out",
            )
