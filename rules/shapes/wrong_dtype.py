"""An operator is fed a dtype that it does not take.

What it does
------------
Looks for float indices into an embedding, integers into a linear layer or a convolution, and for
matrix products of two dtypes, in the forward pass; for arithmetic with truth values (`1 - mask`),
for constants that a half precision cannot hold, and for every other operator that has no kernel
for what it is given.

Why it is bad
-------------
The forward pass stops with "expected scalar type Float but found Long", or with "mat1 and mat2
must have the same dtype".

Example
-------
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(1000, 64)

        def forward(self, tokens):
            return self.embed(tokens / 2)

Use instead
-----------
    return self.embed(tokens // 2)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.shapes.failures import faults
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

from ._dtypes_refused import refused
from ._unsuitable_inputs import source_of, wrong_dtype

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC215", "wrong-dtype", Severity.ERROR)

CASTS = {"int64": ".long()", "float32": ".float()", "float64": ".double()", "float16": ".half()"}


@rule.on_trace
def dtype_that_arrived(trace: Trace, project: Project) -> Iterator[Finding]:
    spoiled: list[int] = []
    for fault in faults(trace, project):
        found = wrong_dtype(fault)
        if found is None:
            continue
        follows = trace.dataflow.reaches(spoiled, (value.index for value in fault.values))
        spoiled += fault.op.outputs if fault.op is not None else ()
        if follows:
            continue
        value, wanted = found
        takes = "integer indices" if fault.kind.startswith("embedding") else wanted
        cast = CASTS.get(wanted, f".to(torch.{wanted})")
        name = next(iter(fault.operands()), "x")
        start = source_of(trace, value)
        given = ""
        if start.kind == "input" and start.dtype == value.dtype:
            sizes = ",".join(map(str, start.shape))
            given = f"; if the input is meant so: --input {sizes}:{wanted}"
        yield fault.finding(
            f"{fault.subject} takes {takes}, got {value.dtype}",
            label=f"got {value.dtype}",
            declared=fault.declared("dtype"),
            help=f"{name}{cast}{given}",
        )


@rule.on_trace
def dtype_without_a_kernel(trace: Trace, project: Project) -> Iterator[Finding]:
    for fault in faults(trace, project):
        found = refused(fault) if wrong_dtype(fault) is None else None
        if found is not None:
            yield fault.finding(found.message, label=found.label, help=found.help)
