"""A submodule is built and never used.

What it does
------------
Looks for modules that a constructor assigns to `self` and that nothing in sight reads: no method
of the class, of its bases or of its subclasses, nor any other code in the file. Losses and
`nn.Identity` placeholders are left alone, and so are classes that reach their submodules without
naming them (`self.children()`, `getattr`), that hand themselves over, or whose base is unknown,
and layers of which a comment or docstring says that they are unused, or there for old checkpoints.
From a trace, for one of several layers alike that a forward without branches passes over.

Why it is bad
-------------
The network lacks a layer that its author wrote down: most often another one is called twice in
its place. Unused parameters are saved, loaded and moved, never trained, and make
`DistributedDataParallel` stop.

Example
-------
    class Net(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.fc1 = nn.Linear(width, width)
            self.fc2 = nn.Linear(width, 10)

        def forward(self, x):
            return self.fc1(x).relu()

Use instead
-----------
    class Net(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.fc1 = nn.Linear(width, width)
            self.fc2 = nn.Linear(width, 10)

        def forward(self, x):
            return self.fc2(self.fc1(x).relu())
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project, SourceFile

from ._unused_submodules import modules_passed_over, unused_submodules

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC108", "unused-submodule", Severity.WARNING, fades=True)


@rule.on_source
def never_read(file: SourceFile) -> Iterator[Finding]:
    for module in file.modules:
        for submodule in unused_submodules(module):
            yield Finding(
                f"`{submodule.attribute}` is built, and nothing in `{module.name}` ever uses it",
                submodule.write.location,
                label=f"an unused {submodule.layer.class_name}",
                module=submodule.attribute,
                help="call it in forward, or remove it",
            )


@rule.on_trace
def never_called(trace: Trace, project: Project) -> Iterator[Finding]:
    for module, constructed in modules_passed_over(trace, project):
        yield Finding(
            f"`{module.path}` is built, and the forward pass goes past it",
            constructed,
            label=f"an unused {module.type}",
            module=module.path,
            help="call it in forward, or build one less",
        )
