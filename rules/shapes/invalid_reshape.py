"""A reshape that cannot hold its elements, or a `view` of memory that is not contiguous.

What it does
------------
Looks at every `view`, `reshape`, `unflatten` of the forward pass whose new sizes do not multiply
to the number of elements that arrived, and at every `view` after a transposition.

Why it is bad
-------------
The forward pass stops with "shape '[-1, 400]' is invalid for input of size 4608": the number was
worked out for another input size.

Example
-------
    class Net(nn.Module):
        def forward(self, x):
            x = self.features(x)  # [8, 16, 6, 6]
            x = x.view(-1, 16 * 5 * 5)
            return self.classifier(x)

Use instead
-----------
    class Net(nn.Module):
        def forward(self, x):
            x = self.features(x)
            x = torch.flatten(x, 1)
            return self.classifier(x)
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING

from archcheck.analysis.shapes.arithmetic import grid, spatial_for, text
from archcheck.analysis.shapes.failures import ShapeError, faults
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

from ._dtypes_refused import refused
from ._impossible_calls import why_impossible
from ._widths import working_sizes

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC208", "invalid-reshape", Severity.ERROR)


@rule.on_trace
def elements_that_do_not_fit(trace: Trace, project: Project) -> Iterator[Finding]:
    for fault in faults(trace, project, "view", "reshape", "unflatten"):
        sizes = _sizes(fault)
        if not fault.values or sizes is None:
            continue
        elements, known = prod(fault.got), prod(size for size in sizes if size != -1)
        fits = known > 0 and elements % known == 0 if -1 in sizes else elements == known
        if fits and fault.kind == "view":
            name = next(iter(fault.operands()), "x")
            yield fault.finding(
                f"{fault.subject} needs contiguous memory, and its input was permuted",
                label=f"got {text(fault.got)} with strides {text(fault.values[0].stride)}",
                help=f"reshape in place of view, or {name}.contiguous() before it",
            )
        elif not fits:
            yield fault.finding(
                f"{fault.subject} cannot hold the {elements} elements of {text(fault.got)}",
                label=f"got {text(fault.got)}, asks for {text(sizes)}",
                notes=_arithmetic(fault, sizes),
                help="torch.flatten(x, 1) keeps every sample whole, whatever its size"
                if len(sizes) == 2 and len(fault.got) > 2
                else None,
            )


@rule.on_trace
def rearranged_impossibly(trace: Trace, project: Project) -> Iterator[Finding]:
    for fault in faults(trace, project):
        why = why_impossible(fault) if refused(fault) is None else None
        if why is not None:
            yield fault.finding(
                f"{fault.subject} cannot rearrange {text(fault.got)}: {why}",
                label=f"got {text(fault.got)}",
            )


def _sizes(fault: ShapeError) -> tuple[int, ...] | None:
    """The sizes that are asked for."""
    if fault.op is None:
        return None
    arguments = fault.op.arguments
    if fault.kind == "unflatten":
        dim, sizes = arguments.get("dim"), arguments.get("sizes")
        if not isinstance(dim, int) or not isinstance(sizes, list | tuple):
            return None
        place = dim % len(fault.got)
        sizes = (*fault.got[:place], *sizes, *fault.got[place + 1 :])
    else:
        sizes = next((arguments[n] for n in ("size", "shape", "1") if n in arguments), None)
    if isinstance(sizes, list | tuple) and all(isinstance(size, int) for size in sizes):
        return tuple(sizes)
    return None


def _arithmetic(fault: ShapeError, sizes: tuple[int, ...]) -> list[str]:
    """Where a flattened width was meant for another map."""
    found = []
    if len(sizes) == 2 and len(fault.got) in (3, 4):
        wanted = spatial_for(sizes[1], fault.got[1:])
        if wanted is not None:
            channels, *spatial = fault.got[1:]
            found.append(
                f"{sizes[1]} is {channels} channels of {grid(wanted)}; of {grid(spatial)} arrive"
            )
    shared = 0
    while fault.got[shared : shared + 1] == sizes[shared : shared + 1] != ():
        shared += 1
    elements = prod(fault.got[shared:])
    known = prod(size for size in sizes[shared:] if size != -1)
    if not found and -1 in sizes and known > 0:
        found.append(f"{elements} is no multiple of {known}")
    elif not found:
        found.append(f"the sizes asked for multiply to {known}, those that arrived to {elements}")
    works = working_sizes(fault.trace)
    return [*found, works] if works else found
