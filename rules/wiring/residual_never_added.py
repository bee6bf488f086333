"""A skip connection that is kept, or promised, and never added.

What it does
------------
Reports two forms. A value that forward keeps under a name such as `identity`, `shortcut` or
`residual` and that nothing reads afterwards. And a network that says it is residual (by its name,
its file's name, its docstrings or comments) whose blocks join no two paths: no sum, no
concatenation, no product. Sums in a parent, in a helper, in a wrapper or only in one mode count.

Why it is bad
-------------
The network runs and trains, as a plain one: deeper versions of it train worse than shallow ones,
which is what the skip was for. Nothing tells.

Example
-------
    class ResidualBlock(nn.Module):
        def forward(self, x):
            identity = x
            out = self.relu(self.bn1(self.conv1(x)))
            out = self.bn2(self.conv2(out))
            return self.relu(out)

Use instead
-----------
    class ResidualBlock(nn.Module):
        def forward(self, x):
            identity = x
            out = self.relu(self.bn1(self.conv1(x)))
            out = self.bn2(self.conv2(out))
            return self.relu(out + identity)
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.core.finding import Finding, Location, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import Flow, ModuleClass, Project, SourceFile, Step

from . import _skips as skips
from ._join_residual import added, joined
from ._plain_blocks import plain_blocks

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC301", "residual-never-added", Severity.ERROR, fix="unsafe")


@rule.on_source
def kept_and_never_read(file: SourceFile) -> Iterator[Finding]:
    for module in file.modules if skips.names_skips(file) else ():
        for flow, name, found in skips.vain_skips(module):
            yield _kept(module, flow, name, found)


@rule.on_source
def promised_and_absent(file: SourceFile) -> Iterator[Finding]:
    for module in file.modules:
        flow = module.flow()
        claim = skips.says_residual(module) if flow is not None and flow.is_straight else None
        if claim is not None and skips.surely_joins_nothing(module):
            for block in skips.blocks_of(module):
                if not (skips.may_join(block) or skips.may_be_joined_outside(block)):
                    yield _absent(block, claim)


@rule.on_trace
def joined_nowhere(trace: Trace, project: Project) -> Iterator[Finding]:
    for block, module, claim in plain_blocks(trace, project):
        yield _absent(module, claim, block.path)


def _kept(module: ModuleClass, flow: Flow, name: str, found: list[tuple[Step, ast.AST]]) -> Finding:
    unused = skips.projections(module)
    return Finding(
        f"`{name}` is kept and never joins the output of `{module.name}`",
        module.file.location(found[0][1]),
        label="never read again",
        related=(
            *(Related(module.file.location(at), "returned without it") for _, at in flow.returns),
            *(Related(projection.write.location, "never called") for projection in unused),
        ),
        help=f"add it before the last activation: `out + {name}`",
        fix=added(flow, name),
        covers=(
            *(("AC302", step.location) for step, _ in found if step.kind != "input"),
            *(("AC108", projection.write.location) for projection in unused),
            ("AC301", module.location),
        ),
    )


def _absent(module: ModuleClass, claim: Location, path: str | None = None) -> Finding:
    unused = skips.projections(module)
    related = [Related(claim, "says that it is residual")] if claim != module.location else []
    related += [Related(found.write.location, "never called") for found in unused]
    return Finding(
        f"`{module.name}` is a residual block that adds nothing: its input joins nothing behind it",
        module.location,
        label="no sum, no concatenation",
        module=path,
        related=tuple(related),
        help="return x + out; where the channels or the stride change, bring x there by a 1 x 1 "
        "convolution",
        fix=joined(module),
        covers=tuple(("AC108", found.write.location) for found in unused),
    )
