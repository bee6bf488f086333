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
from typing import TYPE_CHECKING

from archcheck.analysis.shapes.arithmetic import text
from archcheck.analysis.shapes.failures import ShapeError, faults
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.evidence.records import ValueIndex
from archcheck.python import Project

from ._matrix_products import attention_clash, clash, einsum_clash, rank_clash, transposed_fits
from ._unsuitable_inputs import misfed, taken_by_attention

if TYPE_CHECKING:
    from archcheck.core.target import Shape
    from archcheck.evidence.trace import Trace

rule = Rule("AC207", "matmul-shape-mismatch", Severity.ERROR)

PRODUCTS = ("matmul", "mm", "bmm", "mv", "dot", "addmm", "addmv", "baddbmm", "addbmm")
ATTENTION = ("scaled_dot_product_attention", "multi_head_attention_forward")


@rule.on_trace
def factors(trace: Trace, project: Project) -> Iterator[Finding]:
    for fault in faults(trace, project, *PRODUCTS):
        # addmm and its like add the product to their first argument.
        factors = fault.shapes[1:3] if "add" in fault.kind else fault.shapes[:2]
        if len(factors) < 2 or misfed(fault):
            continue
        left, right = factors
        ranks = rank_clash(fault.kind, left, right)
        why = ranks or clash(left, right)
        if why is None:
            continue
        yield fault.finding(
            f"{fault.subject} multiplies {text(left)} by {text(right)}: {why}",
            label=f"{text(left)} by {text(right)}",
            help="torch.matmul, which takes batches" if ranks else _advice(fault, left, right),
        )


@rule.on_trace
def attention(trace: Trace, project: Project) -> Iterator[Finding]:
    for fault in faults(trace, project, *ATTENTION):
        if len(fault.shapes) < 3 or misfed(fault):
            continue
        query, key, value = fault.shapes[:3]
        takes = taken_by_attention(fault)
        if takes is not None:
            name, expected, got = takes
            yield fault.finding(
                f"{fault.subject} expects {expected} features, got {got}",
                label=f"query {text(query)}, key {text(key)}, value {text(value)}",
                declared=fault.declared(name, 0 if name == "embed_dim" else None),
                help=f"nn.MultiheadAttention(…, {name}={got})",
            )
            continue
        why = _attention_clash(fault)
        if why is not None:
            yield fault.finding(
                f"{fault.subject} cannot attend: {why}",
                label=f"query {text(query)}, key {text(key)}, value {text(value)}",
            )


def _attention_clash(fault: ShapeError) -> str | None:
    """Return why the shapes do not fit; None where something else is wrong with the call."""
    query, key, value = fault.shapes[:3]
    arguments = fault.op.arguments if fault.op is not None else {}
    if fault.kind != "scaled_dot_product_attention":
        # Its dimensions are time, batch, features; what it says about masks is plain.
        batches = {shape[1] for shape in (query, key, value) if len(shape) == 3}
        return attention_clash(query, key, value) if len(batches) != 1 else None
    mask = arguments.get("attn_mask")
    sizes = fault.trace.shape(mask.index) if isinstance(mask, ValueIndex) else ()
    return attention_clash(query, key, value, sizes, arguments.get("enable_gqa") is True)


@rule.on_trace
def sums_of_products(trace: Trace, project: Project) -> Iterator[Finding]:
    for fault in faults(trace, project, "einsum"):
        arguments = fault.op.arguments.get("args") if fault.op is not None else None
        equation = arguments[0] if isinstance(arguments, tuple) and arguments else None
        if not isinstance(equation, str):
            continue
        why = einsum_clash(equation, fault.shapes)
        if why is not None:
            listed = ", ".join(map(text, fault.shapes))
            yield fault.finding(f"`einsum` with {equation!r}: {why}", label=f"got {listed}")


def _advice(fault: ShapeError, left: Shape, right: Shape) -> str | None:
    if not transposed_fits(left, right):
        return None
    names = fault.operands()
    factor = names[1] if len(names) > 1 else "the second factor"
    return f"{factor}.transpose(-2, -1) as the second factor"
