"""A causal mask between queries and keys of different lengths lets new queries see old keys only.

What it does
------------
Looks for attention with `is_causal=True`, and for triangles made by `tril` and `triu` that mask its
scores, where there are more keys than queries, as with a cache of keys.

Why it is bad
-------------
The triangle is aligned at the top left: query 0 sees key 0 alone. With a cache the one new query
stands at the end, and sees the oldest key instead of all of them. Nothing fails.

Example
-------
    class Attention(nn.Module):
        def forward(self, x, past_k, past_v):
            k = torch.cat([past_k, self.key(x)], dim=2)
            v = torch.cat([past_v, self.value(x)], dim=2)
            return F.scaled_dot_product_attention(self.query(x), k, v, is_causal=True)

Use instead
-----------
    class Attention(nn.Module):
        def forward(self, x, past_k, past_v):
            k = torch.cat([past_k, self.key(x)], dim=2)
            v = torch.cat([past_v, self.value(x)], dim=2)
            q = self.query(x)
            new, all_ = q.size(2), k.size(2)
            keep = torch.ones(new, all_, dtype=torch.bool).tril(all_ - new)
            return F.scaled_dot_product_attention(q, k, v, attn_mask=keep)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.shapes.failures import ShapeError, trail
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.evidence.records import ValueIndex
from archcheck.python import Project

if TYPE_CHECKING:
    from archcheck.evidence.records import Op
    from archcheck.evidence.trace import Trace

rule = Rule("AC412", "causal-alignment", Severity.ERROR)

# What a mask goes through before it meets the scores.
_HANDLED = frozenset(
    "to bool float type_as logical_not bitwise_not eq ne lt gt unsqueeze view reshape expand "
    "expand_as getitem masked_fill where mul sub triu tril contiguous repeat log".split()
)


@rule.on_trace
def flag_with_unequal_lengths(trace: Trace, project: Project) -> Iterator[Finding]:
    for op in trace.ops:
        if op.name == "scaled_dot_product_attention":
            places = (-2, -2)
        elif op.name == "multi_head_attention_forward":
            places = (0, 0)
        else:
            continue
        query, key = op.arguments.get("query"), op.arguments.get("key")
        causal = op.arguments.get("is_causal") is True
        if not causal or not isinstance(query, ValueIndex) or not isinstance(key, ValueIndex):
            continue
        lengths = trace.shape(query.index)[places[0]], trace.shape(key.index)[places[1]]
        masked = op.name == "multi_head_attention_forward" and op.arguments.get("need_weights")
        if lengths[0] != lengths[1] and not masked:
            yield from _finding(trace, project, op, *lengths, "is_causal=True")


@rule.on_trace
def triangle_of_unequal_sides(trace: Trace, project: Project) -> Iterator[Finding]:
    for op in trace.ops:
        if op.name not in ("tril", "triu") or not op.outputs:
            continue
        shape = trace.shape(op.outputs[0])
        diagonal = op.arguments.get("diagonal", 0)
        aligned = (0,) if op.name == "tril" else (0, 1)
        if len(shape) < 2 or diagonal not in aligned or isinstance(diagonal, bool):
            continue
        if 0 < shape[-2] < shape[-1] and _masks(trace, op):
            yield from _finding(trace, project, op, shape[-2], shape[-1], f"`{op.name}`")


def _masks(trace: Trace, op: Op) -> bool:
    """Whether a triangle, as it is, becomes the mask of a softmax over its keys."""
    carried = set(op.outputs)
    shape = trace.shape(op.outputs[0])[-2:]
    for later in trace.ops[op.index + 1 :]:
        if carried.isdisjoint(later.inputs):
            continue
        if later.name in ("softmax", "scaled_dot_product_attention"):
            return True
        if later.name in _HANDLED or later.name in ("add", "masked_fill", "where"):
            carried.update(v for v in later.outputs if trace.shape(v)[-2:] == shape)
    return False


def _finding(
    trace: Trace, project: Project, op: Op, queries: int, keys: int, what: str
) -> Iterator[Finding]:
    if op.location is None:
        return
    fault = ShapeError.of(trace, project, op)
    seen = "sees only the oldest key" if queries == 1 else "does not see the newest keys"
    yield Finding(
        f"{what} with {queries} {'query' if queries == 1 else 'queries'} and {keys} keys aligns "
        f"the mask at the top left: the last query {seen}",
        op.location,
        label="aligned top left",
        module=fault.module_path,
        trail=trail(trace, op.location, fault.call, op.inputs[:2]),
        help=(
            "no mask for one query; for several, a mask shifted by the length of the cache: "
            "torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)"
        ),
    )
