"""A matrix product, or attention, of shapes that do not go together.

What it does
------------
Looks at every `@`, `matmul`, `bmm`, `einsum` and scaled dot product attention of the forward
pass whose inner dimensions, or whose batches, differ.

Why it is bad
-------------
The forward pass stops with "mat1 and mat2 shapes cannot be multiplied", most often for want of a
transposition.

Example
-------
    class Attention(nn.Module):
        def forward(self, q, k, v):  # [8, 4, 196, 64] each
            weights = (q @ k).softmax(dim=-1)
            return weights @ v

Use instead
-----------
    class Attention(nn.Module):
        def forward(self, q, k, v):
            weights = (q @ k.transpose(-2, -1)).softmax(dim=-1)
            return weights @ v
"""

from __future__ import annotations

from collections.abc import Iterator

from archcheck.evidence import Trace
from archcheck.faults import Fault, faults
from archcheck.finding import Finding, Severity
from archcheck.misfits import misfed
from archcheck.products import clash, transposed_fits
from archcheck.rule import Rule
from archcheck.shapes import text
from archcheck.source import Project

rule = Rule("AC207", "matmul-shape-mismatch", Severity.ERROR)

PRODUCTS = ("matmul", "mm", "bmm", "mv", "dot", "addmm", "baddbmm", "addbmm")
ATTENTION = ("scaled_dot_product_attention", "multi_head_attention_forward")


@rule.on_trace
def factors(trace: Trace, project: Project) -> Iterator[Finding]:
    for fault in faults(trace, project, *PRODUCTS):
        # addmm and its like add the product to their first argument.
        factors = fault.shapes[1:3] if fault.kind.startswith("add") else fault.shapes[:2]
        factors = fault.shapes[1:3] if fault.kind == "baddbmm" else factors
        if len(factors) < 2 or misfed(fault):
            continue
        left, right = factors
        why = clash(left, right)
        if why is None:
            continue
        yield fault.finding(
            f"{_written(fault)} multiplies {text(left)} by {text(right)}: {why}",
            label=f"{text(left)} by {text(right)}",
            help=_advice(fault) if transposed_fits(left, right) else None,
        )


@rule.on_trace
def attention_and_einsum(trace: Trace, project: Project) -> Iterator[Finding]:
    for fault in faults(trace, project, *ATTENTION, "einsum"):
        if len(fault.shapes) < 2 or misfed(fault):
            continue
        inputs = fault.shapes if fault.kind == "einsum" else fault.shapes[:3]
        listed = ", ".join(map(text, inputs))
        if fault.kind == "einsum":
            equation = fault.op.arguments.get("equation") if fault.op is not None else None
            shown = equation if isinstance(equation, str) else None
            message = f"`einsum{f'({shown!r})' if shown else ''}` does not fit {listed}"
        else:
            message = f"{_written(fault)} cannot attend with query, key and value {listed}"
        yield fault.finding(message, label=listed)


def _written(fault: Fault) -> str:
    return fault.subject


def _advice(fault: Fault) -> str:
    names = fault.operands()
    right = names[-1] if len(names) > 1 else "the second factor"
    return f"{right}.transpose(-2, -1) as the second factor"
