"""A parameter of `forward` that nothing reads.

What it does
------------
Looks for a parameter of an `nn.Module`'s own `forward`, without a default, that no line of the
method reads. Left alone is what another class prescribes: a base or a subclass whose `forward` has
the parameter, a class beside it that is called in the same way, a class that is picked from a
table. Left alone, too, are names with a leading underscore, parameters that are deleted or bound
anew, `*args` and `**kwargs`, placeholders that hand their input on, and what a comment or a
docstring calls unused.

Why it is bad
-------------
The caller hands over something that the model needs and never looks at: the graph that each node
belongs to, the condition, the mask. The output has the wrong meaning, or the wrong shape, and
nothing fails.

Example
-------
    class MoleculeNet(nn.Module):
        def forward(self, x, edge_index, batch):
            x = torch.relu(self.conv1(x, edge_index))
            return self.out(x)

Use instead
-----------
    class MoleculeNet(nn.Module):
        def forward(self, x, edge_index, batch):
            x = torch.relu(self.conv1(x, edge_index))
            return self.out(global_mean_pool(x, batch))
"""

from __future__ import annotations

from collections.abc import Iterator

from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import SourceFile

from ._forward_arguments import unread_arguments

rule = Rule("AC118", "unused-forward-argument", Severity.WARNING, fades=True)


@rule.on_source
def never_read(file: SourceFile) -> Iterator[Finding]:
    for module in file.modules:
        for argument in unread_arguments(module):
            yield Finding(
                f"`{module.name}.forward` never reads `{argument.arg}`",
                file.location(argument),
                label="nothing reads it",
                help="use it; or say that it is not needed: leave it out, or name it with a "
                "leading underscore",
            )
