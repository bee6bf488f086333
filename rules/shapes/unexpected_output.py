"""The model's output has another shape than `--expect-output` asks for.

What it does
------------
Compares the shape of what the forward pass returned (of several tensors, of any of them) with
the shape that the command line or the configuration expects.

Why it is bad
-------------
A head with the wrong number of classes, or a lost batch dimension, is found by the loss at best,
and by the users of the model at worst.

Example
-------
    class Net(nn.Module):  # --expect-output 8,10
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(64, 2)

        def forward(self, x):
            return self.head(x)

Use instead
-----------
    self.head = nn.Linear(64, 10)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.shapes.arithmetic import text
from archcheck.analysis.shapes.failures import ShapeError, trail
from archcheck.core.finding import Finding, Location, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

from ._widths import origin

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC214", "unexpected-output", Severity.ERROR)


@rule.on_trace
def output_that_differs(trace: Trace, project: Project) -> Iterator[Finding]:
    wanted = trace.request.output
    outputs = [trace.values[index] for index in trace.dataflow.outputs]
    if wanted is None or not trace.complete or not outputs:
        return
    if any(value.guessed or value.shape == wanted for value in outputs):
        return
    output = outputs[0]
    root = trace.module("")
    maker = trace.dataflow.producer(output.index)
    place = (maker.location if maker else None) or (root.forward or root.defined if root else None)
    related: tuple[Related, ...] = ()
    module = help = None
    source = origin(trace, output).maker
    if source is not None and len(wanted) == len(output.shape):
        fault = ShapeError.of(trace, project, source)
        fixed = fault.attribute("out_features") or fault.attribute("out_channels")
        axis = -1 if fault.kind == "linear" else 1
        if fault.layer is not None and fixed == output.shape[axis] != wanted[axis]:
            name = "out_features" if fault.kind == "linear" else "out_channels"
            declared = fault.declared(name, 1)
            related = (Related(declared.location, "declared here"),) if declared else ()
            module = fault.module_path
            help = f"{fault.layer.type}(…, {wanted[axis]})"
    yield Finding(
        f"the output is {text(output.shape)}, expected {text(wanted)}",
        place or Location(trace.path, 1),
        label=f"gives {text(output.shape)}",
        module=module,
        trail=trail(trace, place, trace.calls[0], [output.index]) if place and trace.calls else (),
        related=related,
        help=help,
    )
