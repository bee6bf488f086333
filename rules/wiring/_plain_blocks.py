"""Blocks of a traced network that say that they are residual, and join no two paths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.module_classes import class_of
from archcheck.evidence.dataflow import AFFINE

from ._skips import may_join, network_says_residual, says_residual

if TYPE_CHECKING:
    from archcheck.core.finding import Location
    from archcheck.evidence.records import Module, ModuleCall
    from archcheck.evidence.trace import Trace
    from archcheck.python import ModuleClass, Project


def plain_blocks(trace: Trace, project: Project) -> Iterator[tuple[Module, ModuleClass, Location]]:
    """The modules, with their class and with where it (or the network) says that it is residual.

    A class that says so is one where no call of it joins paths or is bypassed; a network says so
    by its file's name, too. Reported are the innermost classes with several layers in it.
    """
    if not trace.complete or not trace.calls:
        return
    classes = list(_classes(trace, project))
    seen: set[str] = set()
    for group, known in classes:
        claim = says_residual(known)
        if claim is None and group[0].path == "":
            claim = network_says_residual(known)
        if claim is None or _joins(trace, group, known):
            continue
        inner = [other for other in classes if _holds(group, other[0])]
        innermost = [one for one in inner if not any(_holds(one[0], other) for other, _ in inner)]
        for blocks, block in innermost or [(group, known)]:
            if blocks[0].qualified_type not in seen and not may_join(block):
                seen.add(blocks[0].qualified_type)
                for module in blocks:
                    yield module, block, claim


def _classes(trace: Trace, project: Project) -> Iterator[tuple[list[Module], ModuleClass]]:
    """The classes of the user whose every call applies at least two layers with weights."""
    groups: dict[str, list[Module]] = {}
    for module in trace.modules:
        if module.defined is not None and module.forward is not None and module.calls:
            groups.setdefault(module.qualified_type, []).append(module)
    for group in groups.values():
        known = class_of(group[0], project)
        if known is not None and all(_weighs(trace, call) for call in _calls(trace, group)):
            yield group, known


def _calls(trace: Trace, group: list[Module]) -> list[ModuleCall]:
    return [trace.calls[index] for module in group for index in module.calls]


def _weighs(trace: Trace, call: ModuleCall) -> bool:
    return sum(op.name in AFFINE for op in trace.dataflow.ops_of(call)) > 1


def _joins(trace: Trace, group: list[Module], known: ModuleClass) -> bool:
    flow = trace.dataflow
    return may_join(known) or any(
        any(flow.joins(call)) or flow.is_bypassed(call) for call in _calls(trace, group)
    )


def _holds(group: list[Module], other: list[Module]) -> bool:
    """Whether a module of the one group has a module of the other inside."""
    return any(
        inner is not outer and inner.path.startswith(f"{outer.path}." if outer.path else "")
        for outer in group
        for inner in other
    )
