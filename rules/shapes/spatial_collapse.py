"""A kernel is larger than the map that reaches it.

What it does
------------
Looks at every convolution and pooling whose kernel does not fit into what is left of the image
by then: in the forward pass, and from the source alone along a chain of layers that names its
input size.

Why it is bad
-------------
The forward pass stops with "Kernel size can't be greater than actual input size", or with
"Output size is too small". The model was made for larger images, or halves them too often.

Example
-------
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 64, 7, stride=8)
            self.pool = nn.AvgPool2d(7)  # of 32 x 32 pixels, 4 x 4 are left

Use instead
-----------
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 64, 7, stride=8)
            self.pool = nn.AdaptiveAvgPool2d(1)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.shapes.arithmetic import grid, text
from archcheck.analysis.shapes.failures import faults
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project, SourceFile

from ._chain_shapes import clashes_in, collapse_finding
from ._unsuitable_inputs import in_channels, spatial_rank, wrong_rank
from ._widths import working_sizes
from ._windows import output_sizes, shrinking, window

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC209", "spatial-collapse", Severity.ERROR)


@rule.on_source
def kernels_along_a_chain(file: SourceFile) -> Iterator[Finding]:
    for clash in clashes_in(file, "collapse"):
        yield collapse_finding(clash)


@rule.on_trace
def kernels_that_do_not_fit(trace: Trace, project: Project) -> Iterator[Finding]:
    for fault in faults(trace, project):
        rank = spatial_rank(fault.kind)
        if rank is None or len(fault.got) not in (rank + 1, rank + 2):
            continue
        channels = in_channels(fault)
        if wrong_rank(fault) is not None or channels not in (None, fault.got[-rank - 1]):
            continue
        sizes, kernel = fault.got[-rank:], window(fault)
        if kernel is None or min(output_sizes(sizes, kernel)) >= 1:
            continue
        works = working_sizes(trace)
        yield fault.finding(
            f"{fault.subject} has a kernel of {grid(kernel.reach)}, its input is {grid(sizes)}",
            label=f"got {text(fault.got)}",
            declared=fault.declared("kernel_size", 2 if fault.kind.startswith("conv") else 0),
            notes=[note for note in (shrinking(trace, fault.values[0]), works) if note],
            help=f"a larger input, or nn.AdaptiveAvgPool{rank}d(1) for any input size"
            if fault.kind.startswith("avg_pool")
            else "a larger input, or fewer steps that halve it before",
        )
