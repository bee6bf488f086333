"""An operator is fed a dtype that it does not take.

What it does
------------
Looks for float indices into an embedding, integers into a linear layer or a convolution, and for
matrix products of two dtypes, in the forward pass.

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

from archcheck.dataflow import bitset
from archcheck.evidence import Trace
from archcheck.faults import Fault, faults, source_file
from archcheck.finding import Finding, Severity
from archcheck.misfits import source_of, wrong_dtype
from archcheck.rule import Rule
from archcheck.source import Project

rule = Rule("AC215", "wrong-dtype", Severity.ERROR)

STRICT = frozenset("linear conv1d conv2d conv3d matmul mm bmm addmm baddbmm".split())
CASTS = {"int64": ".long()", "float32": ".float()", "float64": ".double()", "float16": ".half()"}


@rule.on_trace
def dtype_that_arrived(trace: Trace, project: Project) -> Iterator[Finding]:
    spoiled = 0
    for fault in (*faults(trace, project), *_unnoticed(trace, project)):
        found = wrong_dtype(fault)
        if found is None:
            continue
        follows = any(trace.dataflow.ancestors[value.index] & spoiled for value in fault.values)
        spoiled |= bitset(fault.op.outputs if fault.op is not None else ())
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


def _unnoticed(trace: Trace, project: Project) -> Iterator[Fault]:
    """What eager torch rejects, and tensors without memory let pass."""
    if trace.rung == "real":
        return
    for op in trace.ops:
        if op.name not in STRICT or op.failure is not None or len(op.inputs) < 2:
            continue
        if len({trace.values[index].dtype for index in op.inputs[:2]}) > 1:
            fault = Fault.of(trace, project, op)
            file = source_file(project, fault.location)
            # Under autocast torch brings the operands to one dtype itself.
            if file is not None and "autocast" not in file.document.code:
                yield fault
