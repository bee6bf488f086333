"""The gradient is cut on the way from trainable layers to the output.

What it does
------------
Looks, in `forward` and the methods that it calls, for `.detach()`, `.data`, `.item()`, `.numpy()`,
`torch.tensor(x)`, `nn.Parameter(x)` and `torch.no_grad()` behind layers with weights that reach
what is returned in no other way; and, in scripts, for a loss that is wrapped anew before its
`backward()`. Silent where something explains the cut: the layers are used elsewhere too (a
straight-through estimator, a Siamese branch, a critic), they are frozen, built by `deepcopy` or
given from outside, their names speak of a teacher, a target or an average, or a condition decides.

Why it is bad
-------------
Everything behind the cut keeps the weights that it started with. The rest of the network learns
around it, so that the loss still falls, and nothing tells.

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

from collections.abc import Iterator

from archcheck.analysis.shapes.failures import shortened
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import SourceFile

from ._gradient_cuts import gradient_cuts, losses_made_anew

rule = Rule("AC309", "gradient-cut", Severity.ERROR)


@rule.on_source
def between_layers_and_output(file: SourceFile) -> Iterator[Finding]:
    for module in file.modules:
        for cut in gradient_cuts(module):
            names = ", ".join(f"`{name}`" for name in cut.behind[:3])
            yield Finding(
                f"`{shortened(file.text(cut.node))}` cuts the gradient: {names} cannot be trained",
                file.location(cut.node),
                label="no gradient goes back from here",
                module=cut.behind[0],
                help="take it out; or, if they are frozen on purpose, say so: "
                "requires_grad_(False)",
            )


@rule.on_source
def before_backward(file: SourceFile) -> Iterator[Finding]:
    for wrapped in losses_made_anew(file):
        yield Finding(
            f"`{shortened(file.text(wrapped))}` has no history: backward() trains nothing",
            file.location(wrapped),
            label="the gradient ends here",
            help="call backward() on the loss itself",
        )
