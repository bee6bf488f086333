"""A mask of the other polarity hides what it should keep, or one that hides whole queries.

What it does
------------
Follows masks from where they are made (a comparison of ids with the padding index, a triangle) to
the attention that takes them, and knows what True means for each: `nn.MultiheadAttention` and
`nn.Transformer…` hide where a bool mask is True, `scaled_dot_product_attention` keeps there, and
`masked_fill(mask, -inf)` before a softmax hides. It also finds a mask that is filled in along the
queries: it is the same for all keys that the softmax runs over.

Why it is bad
-------------
The model attends to the padding, or to the future, and to nothing else. It runs and trains, and the
padded positions of an example decide what it says. A mask along the queries hides no key at all.

Example
-------
    class Encoder(nn.Module):
        def forward(self, ids):
            x = self.embed(ids)
            mask = ids != self.pad
            x, _ = self.attention(x, x, x, key_padding_mask=mask)
            return x

Use instead
-----------
    class Encoder(nn.Module):
        def forward(self, ids):
            x = self.embed(ids)
            mask = ids == self.pad
            x, _ = self.attention(x, x, x, key_padding_mask=mask)
            return x
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from archcheck.analysis.shapes.arithmetic import text
from archcheck.analysis.shapes.failures import ShapeError, trail
from archcheck.core.finding import Finding, Location, Related, Severity
from archcheck.core.rule import Rule
from archcheck.evidence.records import ValueIndex
from archcheck.python import Project

from ._mask_meaning import MaskMeanings, Meaning

if TYPE_CHECKING:
    from archcheck.evidence.records import Op
    from archcheck.evidence.trace import Trace

rule = Rule("AC409", "inverted-mask", Severity.ERROR)

# What True means in a bool mask, by the module of torch that takes it; run on torch 2.13.
HIDES_WHERE_TRUE = MappingProxyType(
    {
        "MultiheadAttention": ("key_padding_mask", "attn_mask"),
        "TransformerEncoderLayer": ("src_mask", "src_key_padding_mask"),
        "TransformerEncoder": ("mask", "src_key_padding_mask"),
        "TransformerDecoderLayer": (
            *("tgt_mask", "memory_mask"),
            *("tgt_key_padding_mask", "memory_key_padding_mask"),
        ),
        "TransformerDecoder": (
            *("tgt_mask", "memory_mask"),
            *("tgt_key_padding_mask", "memory_key_padding_mask"),
        ),
        "Transformer": (
            *("src_mask", "tgt_mask", "memory_mask"),
            *("src_key_padding_mask", "tgt_key_padding_mask", "memory_key_padding_mask"),
        ),
    }
)
# A score this low gets no weight.
_NOTHING = -1000.0


@rule.on_trace
def masks_of_the_other_polarity(trace: Trace, project: Project) -> Iterator[Finding]:
    meanings = MaskMeanings(trace, project)
    for value, wanted, taker, place, module in _taken(trace):
        found = meanings.of(value)
        if found is None or found[0] == wanted or place is None:
            continue
        made = found[1]
        related = (
            (Related(made.location, f"here True {found[0]} a place"),)
            if made.location is not None
            else ()
        )
        yield Finding(
            f"{taker} {wanted} the places where its mask is True, and this mask is True "
            f"where it {found[0]} them",
            place,
            label=f"True {wanted} here",
            module=module,
            related=related,
            help="negate the mask: ~mask, or the other comparison where it is made",
        )


def _taken(trace: Trace) -> Iterator[tuple[Any, Meaning, str, Location | None, str | None]]:
    """The masks that something takes: what True means there, what takes it, and where."""
    for call in trace.calls:
        module = trace.module(call.path)
        if module is None or not module.qualified_type.startswith("torch.nn."):
            continue
        for name in HIDES_WHERE_TRUE.get(module.type, ()):
            if name in call.inputs:
                taker = f"`{name}` of {module.type}"
                yield call.inputs[name], "hides", taker, call.location, call.path
    for op in trace.ops:
        owner = trace.module_of(op)
        path = owner.path if owner is not None else None
        if op.name == "scaled_dot_product_attention":
            mask = op.arguments.get("attn_mask")
            yield mask, "keeps", "`attn_mask` of F.scaled_dot_product_attention", op.location, path
        elif _empties(op) and _softmax_after(trace, op) is not None:
            yield op.arguments.get("mask"), "hides", "`masked_fill` of scores", op.location, path


def _empties(op: Op) -> bool:
    value = op.arguments.get("value")
    return op.name == "masked_fill" and isinstance(value, int | float) and value <= _NOTHING


def _softmax_after(trace: Trace, op: Op) -> Op | None:
    """The softmax that a result goes into next, over other fills and sums alone."""
    for _ in range(4):
        users = [trace.ops[user] for index in op.outputs for user in trace.values[index].users]
        if len(users) != 1:
            return None
        (op,) = users
        if op.name == "softmax":
            return op
        if op.name not in ("masked_fill", "add", "to", "float", "div", "mul"):
            return None
    return None


@rule.on_trace
def masks_along_the_queries(trace: Trace, project: Project) -> Iterator[Finding]:
    for op in trace.ops:
        mask = op.arguments.get("mask") if _empties(op) else None
        softmax = _softmax_after(trace, op) if isinstance(mask, ValueIndex) else None
        if softmax is None or op.location is None or not isinstance(mask, ValueIndex):
            continue
        scores, shape = trace.shape(op.inputs[0]), trace.shape(mask.index)
        dim = softmax.arguments.get("dim")
        if not isinstance(dim, int) or len(shape) != len(scores) or len(shape) < 2:
            continue
        dim %= len(scores)
        if shape[dim] != 1 or scores[dim] == 1 or max(shape[1:]) == 1:
            continue
        fault = ShapeError.of(trace, project, op)
        yield Finding(
            f"the mask {text(shape)} is the same for all {scores[dim]} keys that the softmax over "
            f"dimension {dim} runs over: it hides whole queries, and no key",
            op.location,
            label=f"1 place along dimension {dim}",
            module=fault.module_path,
            trail=trail(trace, op.location, fault.call, [op.inputs[0], mask.index]),
            help="give the mask its keys in the softmax's dimension: mask[:, None, None, :]",
        )
