"""A tensor attribute is neither a parameter nor a buffer.

What it does
------------
Looks for tensors that a constructor keeps as plain attributes and that `forward` computes with,
and for parameters that lose their kind on the way (`nn.Parameter(…).cuda()`, `nn.Parameter(…) *
0.1`). Left alone are scalars, tensors that `forward` moves to its input's device or makes anew,
that only index or are read as numbers, and classes that move their tensors themselves.

Why it is bad
-------------
`.to(device)` leaves the tensor where it is, so that the model fails on a GPU; it is not saved with
the weights; and if it was meant to be learned, no optimizer ever sees it.

Example
-------
    class Normalise(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.ones(1, 3, 1, 1)

        def forward(self, x):
            return x * self.scale

Use instead
-----------
    class Normalise(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("scale", torch.ones(1, 3, 1, 1))

        def forward(self, x):
            return x * self.scale
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project, SourceFile

from ._plain_tensors import PlainTensor, plain_tensors, tensors_on_the_cpu

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC116", "unregistered-tensor", Severity.WARNING)


@rule.on_source
def stays_behind(file: SourceFile) -> Iterator[Finding]:
    for module in file.modules:
        yield from map(_finding, plain_tensors(module))


@rule.on_trace
def stayed_on_the_cpu(trace: Trace, project: Project) -> Iterator[Finding]:
    yield from map(_finding, tensors_on_the_cpu(trace, project))


def _finding(tensor: PlainTensor) -> Finding:
    name = tensor.write.name
    what = "no nn.Parameter any more" if tensor.was_parameter else "a plain tensor"
    consequence = "is not trained" if tensor.is_learned else "does not follow .to(device)"
    return Finding(
        f"`{tensor.module.name}.{name}` is {what}: it {consequence}, and is not saved",
        tensor.write.location,
        label="not registered",
        help=(
            "make the whole value the argument of nn.Parameter"
            if tensor.is_learned
            else f'self.register_buffer("{name}", …)'
        ),
    )
