"""The rows of the layer table: which layers to show, repeated blocks folded into one row.

Every number in the table is the sum over all that its row stands for, and each layer's own share
stands in exactly one row, so that the columns add up to the totals.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from archcheck.core.finding import Finding, Severity
from archcheck.core.report import Report, severity_of
from archcheck.evidence.target_summary import Layer, TargetReport, Tensor

# Without `--depth`, the table goes as deep as this many rows allow.
_ROWS = 30
# Of a layer's own parameters and operators, so many are named.
_NAMES = 2
_NUMBERED = re.compile(r"(.*?)(\d+)")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the layer table.

    Attributes:
        label: The layer's name under its parent; a numbered one has its parents' before
            it, a folded one its range: `layer3.1–5 (×5)`.
        depth: How far it is indented; lists and dicts of layers have no row and take no step.
        layer: The (first) layer; None in a row of parameters or operators that
            belong to the layer above and to none of its submodules.
        macs, params: Over all that the row stands for.
        parts: Rows below break these numbers down.
        codes: The findings on layers that the row stands for, the worst first.
    """

    label: str
    depth: int
    type: str
    layer: Layer | None
    params: int
    macs: int
    parts: bool = False
    codes: tuple[tuple[Severity, str], ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self.layer.inputs if self.layer else ()

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return self.layer.outputs if self.layer else ()


@dataclass(eq=False)
class _Node:
    """A layer with what is below it by path, and `repeat` equal neighbours folded into it."""

    layer: Layer
    marks: tuple[tuple[Severity, str], ...]
    parent: _Node | None = None
    children: list[_Node] = field(default_factory=list)

    @cached_property
    def macs(self) -> int:
        return self.layer.own_macs + sum(child.macs for child in self.children)

    @cached_property
    def params(self) -> int:
        return self.layer.own_params + sum(child.params for child in self.children)

    @cached_property
    def all_marks(self) -> tuple[tuple[Severity, str], ...]:
        below = [mark for child in self.children for mark in child.all_marks]
        return tuple(
            sorted({*self.marks, *below}, key=lambda mark: (-mark[0].rank, mark[1])),
        )

    @cached_property
    def signature(self) -> object:
        """Equal for layers that a reader need not see twice."""
        layer = self.layer
        return (
            layer.type,
            layer.calls,
            layer.inputs,
            layer.outputs,
            layer.params,
            layer.own_params,
            layer.own_macs,
            layer.used,
            layer.failure,
            self.marks,
            tuple((child.name, child.signature) for child in self.children),
        )

    @property
    def name(self) -> str:
        return self.layer.path.rpartition(".")[2]

    def groups(self) -> Iterator[list[_Node]]:
        """The children, equal neighbours in one group."""
        group: list[_Node] = []
        for child in self.children:
            if group and not _follows(group[-1], child):
                yield group
                group = []
            group.append(child)
        if group:
            yield group


def table_rows(target: TargetReport, report: Report, depth: int | None = None) -> list[Row]:
    """The rows of one target's table, the model itself first, down to `depth`."""
    root = _tree(target, report.findings)
    if root is None:
        return []
    if depth is not None:
        return list(_rows([root], depth, target.complete))
    rows = list(_rows([root], 1, target.complete))
    deepest = max(layer.depth for layer in target.modules)
    for level in range(2, deepest + 1):
        more = list(_rows([root], level, target.complete))
        if len(more) > _ROWS:
            break
        rows = more
    return rows


def _tree(target: TargetReport, findings: tuple[Finding, ...]) -> _Node | None:
    marks: dict[str, set[tuple[Severity, str]]] = {}
    for finding in findings:
        if finding.module is not None and finding.target in (None, target.name):
            marks.setdefault(finding.module, set()).add((severity_of(finding), finding.code))
    nodes: dict[str, _Node] = {}
    for layer in target.modules:
        node = _Node(layer, tuple(sorted(marks.get(layer.path, ()))))
        nodes[layer.path] = node
        if layer.path and "" in nodes:
            parent = layer.parent
            while parent not in nodes:
                parent = parent.rpartition(".")[0]
            node.parent = nodes[parent]
            node.parent.children.append(node)
    return nodes.get("")


def _follows(first: _Node, second: _Node) -> bool:
    """Whether two neighbours have consecutive numbers in their names and are otherwise equal."""
    one, two = _NUMBERED.fullmatch(first.name), _NUMBERED.fullmatch(second.name)
    if one is None or two is None or one[1] != two[1] or int(two[2]) != int(one[2]) + 1:
        return False
    # `conv1` and `conv2` are two layers to their author, `block1` and `block2` a repetition.
    if one[1] and not first.children:
        return False
    return first.signature == second.signature


def _rows(
    group: list[_Node], depth: int, complete: bool, repeat: int = 1, indent: int = 0
) -> Iterator[Row]:
    """The row of some equal neighbours, and the rows below it; `repeat` from rows above."""
    node = group[0]
    times = repeat * len(group)
    layer = node.layer
    unused = complete and not _reached(node)
    parts = bool(node.children) and layer.depth < depth and not unused
    if not (parts and len(group) == 1 and _only_holds(node)):
        yield Row(
            label=_label(group),
            depth=indent,
            # The model itself is named by its type already.
            type=layer.type if layer.path else "",
            layer=layer,
            params=node.params * times,
            macs=node.macs * times,
            parts=parts,
            codes=node.marks if parts else node.all_marks,
            remarks=tuple(_remarks(node, unused)),
        )
        indent += 1
    if not parts:
        return
    for below in node.groups():
        yield from _rows(below, depth, complete, times, indent)
    if layer.own_params:
        names = _own_names(layer.own_names)
        yield Row(names, indent, "parameters", None, layer.own_params * times, 0)
    if layer.own_macs:
        names = _own_names(layer.own_ops)
        yield Row(names, indent, "operators", None, 0, layer.own_macs * times)


def _own_names(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMES]) + (", …" if len(names) > _NAMES else "")


def _only_holds(node: _Node) -> bool:
    """Whether a layer is a list or dict of others: its row would say nothing."""
    layer = node.layer
    return bool(layer.path) and not (
        layer.calls or layer.own_params or layer.own_macs or node.marks
    )


def _label(group: list[_Node]) -> str:
    first = group[0]
    if not first.layer.path:
        return first.layer.type
    parts = first.layer.path.split(".")
    start, holder = len(parts) - 1, first.parent
    # A bare number says nothing, and what holds a layer may have no row of its own.
    while start and (parts[start].isdecimal() or (holder and _only_holds(holder))):
        start -= 1
        holder = holder and holder.parent
    name = ".".join(parts[start:])
    if len(group) == 1:
        return name
    number = _NUMBERED.fullmatch(group[-1].name)
    return f"{name}–{number[2] if number else ''} (×{len(group)})"


def _remarks(node: _Node, unused: bool) -> Iterator[str]:
    layer = node.layer
    if layer.failure is not None and not node.marks:
        yield f"raised {layer.failure.error}"
    if layer.calls > 1:
        yield f"{layer.calls} calls"
    if layer.params and not node.params:
        yield "shared parameters"
    if unused:
        yield "unused"


def _reached(node: _Node) -> bool:
    """Whether the layer, a parameter of it or anything below it took part in the pass."""
    return node.layer.used or any(_reached(child) for child in node.children)
