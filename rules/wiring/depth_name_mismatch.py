"""A class named `ResNet32` that has 34 weighted layers.

What it does
------------
Counts the convolutions and linear layers on the longest path of a network whose name ends in its
depth (ResNet, ResNeXt, VGG, DenseNet, Darknet, PlainNet), projections on shortcuts left out, as the
papers count.

Why it is bad
-------------
Readers compare it with the published network of that name, and load weights that do not fit.

Example
-------
    class ResNet32(nn.Module):  # 1 + 2 * (3 + 4 + 6 + 3) + 1 layers: that is ResNet34
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 64, 7, stride=2)

Use instead
-----------
    class ResNet34(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 64, 7, stride=2)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.module_classes import class_of
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import ModuleClass, Project, SourceFile

from . import _skips as skips

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC307", "depth-name-mismatch", Severity.NOTE)

NAMED = (
    r"(?!.*(?:SE|CBAM|ECA|Wide))\w*?(?:Res_?Net|ResNeXt|VGG|Dense_?Net|Dark_?[nN]et|Plain_?Net)"
    r"_?(\d{1,4})"
)


@rule.on_source
def written_out(file: SourceFile) -> Iterator[Finding]:
    for module in file.modules:
        flow = module.flow() if re.fullmatch(NAMED, module.name) else None
        if flow is None or not flow.is_straight or any(x.repeated for x in module.all_layers()):
            continue
        if skips.surely_joins_nothing(module):
            yield from _mismatch(module, skips.affine_layers(flow))


@rule.on_trace
def longest_path(trace: Trace, project: Project) -> Iterator[Finding]:
    module = class_of(trace.modules[0], project) if trace.complete and trace.modules else None
    if module is not None and trace.dataflow.depth:
        yield from _mismatch(module, trace.dataflow.depth)


def _mismatch(module: ModuleClass, depth: int) -> Iterator[Finding]:
    named = re.fullmatch(NAMED, module.name)
    if named is not None and int(named[1]) >= 8 and int(named[1]) != depth:
        yield Finding(
            f"`{module.name}` has {depth} weighted layers",
            module.location,
            label=f"{depth} convolutions and linear layers in a row",
            help=f"call it {module.name[: named.start(1)]}{depth}, or make it {named[1]} deep",
        )
