"""Attributes that carry a computation from one call of a module to the next."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from archcheck.analysis.source.gradient_mode import is_without_gradients
from archcheck.analysis.source.weights import class_has_weights

if TYPE_CHECKING:
    from archcheck.python import (
        AttributeWrite,
        Flow,
        Function,
        ModuleClass,
        SelfUse,
        Statement,
        Step,
    )

# What gives a value without a history, wherever it stands on the way.
_CUTTING: Final = frozenset({
    "detach", "detach_", "item", "data", "tolist", "numpy", "argmax", "argmin", "argsort", "long",
    "int", "bool", "ge", "gt", "le", "lt", "eq", "ne", "round", "floor", "ceil", "sign",
    "stop_gradient", "repackage_hidden", "multinomial",
    "indices", "any", "all", "isnan", "isinf", "nonzero", "bincount", "histc",
})  # fmt: skip
# What makes a tensor from another one's shape alone.
_LIKE: Final = frozenset({
    "zeros_like", "ones_like", "empty_like", "rand_like", "randn_like", "new_zeros", "new_ones",
    "new_full", "new_empty", "randint", "randperm",
})  # fmt: skip
# Conditions and names that tell of inference, where nobody calls backward.
_INFERENCE: Final = re.compile(
    r"(?i)cache|past|infer|eval|training|stream|increment|generat|decod|step|debug|export|record"
    r"|stateful|persist|track|store|save|log|visual|return_"
)
_CACHE_NAME: Final = re.compile(
    r"(?i)cache|past|buffer|queue|memory_?bank|^kv|_kv|attn|attention|weights?$|loss|pe$|pos_emb"
    r"|mask|grid|freqs|anchors"
)


class KeptState(NamedTuple):
    """An attribute that a call sets with its history, and where the next call reads it first."""

    write: AttributeWrite
    read: ast.expr


def kept_states(module: ModuleClass) -> Iterator[KeptState]:
    """The attributes of a class that certainly hold a history from call to call."""
    computing = [m for m in module.computing if m.owner is module.definition]
    if not computing or not module.definition.names_read:
        return
    written: dict[str, list[AttributeWrite]] = {}
    for write in module.own_writes:
        if write.function in computing and write.function not in module.initializing:
            written.setdefault(write.name, []).append(write)
    for name, writes in written.items():
        if not _CACHE_NAME.search(name):
            found = _kept(module, name, writes)
            if found is not None:
                yield found


def _kept(module: ModuleClass, name: str, writes: list[AttributeWrite]) -> KeptState | None:
    everywhere = module.attributes.get(name, ())
    starts = [w for w in everywhere if w.function in module.initializing]
    others = [w for w in everywhere if w not in writes and w not in starts]
    # What the constructor calls to set it may be called again to reset it.
    others += [w for w in starts if w.function is None or w.function.name != "__init__"]
    if not starts or any(w.kind not in ("annotation", "class") for w in others):
        return None  # another method resets it
    uses = [
        use for method in module.computing for use in module.uses_in(method) if use.name == name
    ]
    if any(_is_cut(use.reference.statement) for use in uses):
        return None
    read = _read_first(uses, writes)
    carrying = [w for w in writes if _carries(module, w)]
    if read is None or not carrying or not module.is_certain or module.has_dynamic_attributes:
        return None
    if not (class_has_weights(module) or _is_part_of_another(module)):
        return None
    if name in module.file.names_set_on_others or any(
        name in {w.name for w in sub.own_writes} for sub in module.subclasses
    ):
        return None
    if module.file.project.sets_on_others(name, module.file):
        return None
    return KeptState(carrying[0], read)


def _read_first(uses: list[SelfUse], writes: list[AttributeWrite]) -> ast.expr | None:
    """The first read that no write of the same call certainly comes before."""
    reads = [use for use in uses if use.kind != "store"]
    augmented = [w for w in writes if w.kind == "augmented"]
    if augmented and isinstance(augmented[0].node, ast.expr):
        return augmented[0].node
    by_method: dict[Function, list[SelfUse]] = {}
    for use in reads:
        by_method.setdefault(use.function, []).append(use)
    if len({w.function for w in writes} | by_method.keys()) != 1:
        return None  # which method runs first is not known
    settled = [w.statement.index for w in writes if not w.conditional]
    first = min(settled, default=1 << 30)
    for use in sorted(reads, key=lambda use: use.reference.statement.index):
        at = use.reference.statement
        if at.index > first:
            return None
        if at.index == first or not _asks_for_none(at.node, use):
            return use.node
    return None


def _asks_for_none(node: ast.AST, use: SelfUse) -> bool:
    """Whether a statement only asks whether there is a state yet."""
    return isinstance(node, ast.If | ast.While | ast.Assert) and any(
        part is use.attribute for part in ast.walk(node.test)
    )


def _is_cut(at: Statement) -> bool:
    """Whether a statement takes the history away, or runs where there is none."""
    if is_without_gradients(at):
        return True
    for suite in at.suite.outward():
        test = getattr(suite.owner, "test", None)
        if isinstance(suite.owner, ast.If | ast.IfExp) and test is not None:
            words = [getattr(part, "attr", getattr(part, "id", "")) for part in ast.walk(test)]
            if any(_INFERENCE.search(word) for word in words if word):
                return True
    node = at.node
    if isinstance(node, ast.If | ast.While | ast.For | ast.With):
        return False
    return any(
        getattr(part, "attr", getattr(part, "id", "")) in _CUTTING for part in ast.walk(node)
    )


def _carries(module: ModuleClass, write: AttributeWrite) -> bool:
    """Whether what is kept was computed from the input, with a history."""
    flow = module.flow(write.function) if write.function is not None else None
    value = _stored(flow, write) if flow is not None else None
    if flow is None or value is None or value not in flow.derived:
        return False
    line = [value, *value.before()]
    if any({step.operation, step.name} & (_CUTTING | _LIKE) for step in line):
        return False
    if any(step.kind == "unknown" and step.name in ("Compare", "Not") for step in line):
        return False
    computed = [
        step for step in line
        if step.kind in ("layer", "operator") or step.operation in ("lerp", "add", "mul", "cat")
    ]  # fmt: skip
    reads_itself = any(
        step.kind == "constant" and step.name == f"self.{write.name}" for step in line
    )
    return bool(computed) and reads_itself


def _stored(flow: Flow, write: AttributeWrite) -> Step | None:
    """The value that a statement keeps under an attribute."""
    if write.kind == "augmented":
        statement = write.statement.node
        return next((step for step in flow.steps if step.node is statement), None)
    for step in flow.steps:
        if step.kind == "unknown" and step.name == "store" and step.node is write.node:
            return step.inputs[0]
    return None


def _is_part_of_another(module: ModuleClass) -> bool:
    """Whether another module class builds it, so that what it is given has a history."""
    for file in module.file.project.files_naming(module.name, module.file):
        for call in file.calls_of(module.definition):
            function = call.scope.function
            owner = function.owner if function is not None else None
            if owner is not None and owner.module is not None and owner is not module.definition:
                return True
    return False
