"""Modules are kept in a plain list, tuple or dict.

What it does
------------
Looks for parameters, and for layers with parameters or buffers, that an `nn.Module` keeps in a
Python list, tuple or dict and uses in its methods. That the list is walked, to initialise or to
move what it holds, registers nothing. A list that is wrapped later (`nn.ModuleList(self.layers)`,
`add_module` in a loop), whose layers are attributes of their own, or that holds one module on
purpose so that it is hidden, is left alone.

Why it is bad
-------------
`nn.Module` only sees modules that are attributes or stand in its own containers. The others are
missing from `parameters()`, so they are never trained; from `state_dict()`, so they are never
saved; and `.to(device)`, `train()` and `eval()` pass them over.

Example
-------
    class Net(nn.Module):
        def __init__(self, width, depth):
            super().__init__()
            self.layers = [nn.Linear(width, width) for _ in range(depth)]

Use instead
-----------
    class Net(nn.Module):
        def __init__(self, width, depth):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(width, width) for _ in range(depth)])
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.edits.syntax_edits import after, before
from archcheck.analysis.source.torch_spelling import spelled
from archcheck.core.finding import Finding, Fix, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project, SourceFile

from ._plain_containers import (
    PlainContainer,
    plain_containers,
    traced_plain_containers,
)

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace

rule = Rule("AC107", "unregistered-submodules", Severity.ERROR, fix="safe")

# The containers of torch.nn that register what they hold.
_REGISTERING = {
    ("layers", "list"): "ModuleList", ("layers", "tuple"): "ModuleList",
    ("layers", "dict"): "ModuleDict", ("parameters", "list"): "ParameterList",
    ("parameters", "tuple"): "ParameterList", ("parameters", "dict"): "ParameterDict",
}  # fmt: skip
_LIST_ONLY = frozenset({
    "sort", "remove", "reverse", "index", "count", "copy", "setdefault", "get",
})  # fmt: skip


@rule.on_source
def layers_in_a_list(file: SourceFile) -> Iterator[Finding]:
    for module in file.modules:
        yield from map(_finding, plain_containers(module))


@rule.on_trace
def weights_that_nobody_registered(trace: Trace, project: Project) -> Iterator[Finding]:
    yield from map(_finding, traced_plain_containers(trace, project))


def _finding(held: PlainContainer) -> Finding:
    return Finding(
        f"the {held.holds} in `{held.module.name}.{held.write.name}` are not registered: a plain "
        f"{held.kind} hides them from parameters(), state_dict() and .to()",
        held.write.owner.file.location(held.value),
        label=f"a plain {held.kind}",
        module=held.path,
        help=f"keep them in an nn.{_REGISTERING[held.holds, held.kind]}",
        fix=_wrapped(held),
    )


def _wrapped(held: PlainContainer) -> Fix | None:
    """The fix that wraps the display, where the code needs nothing that only Python's own has."""
    file, write = held.write.owner.file, held.write
    container = _REGISTERING[held.holds, held.kind]
    spelling = spelled(file, f"torch.nn.{container}")
    value = write.value
    if spelling is None or value is None:
        return None
    if any(use.name == write.name and _LIST_ONLY & set(use.rest) for use in held.module.uses):
        return None
    # A registered attribute refuses a plain list, and a ModuleList what is no module.
    if len(held.module.attributes.get(write.name, ())) > 1 or _is_nested(value):
        return None
    if held.kind == "dict" and not (
        isinstance(value, ast.Dict)
        and value.keys
        and all(isinstance(k, ast.Constant) and isinstance(k.value, str) for k in value.keys)
    ):
        return None
    if isinstance(value, ast.Tuple) and not file.text(value).startswith("("):
        return None
    return Fix("safe", (before(file, value, f"{spelling}("), after(file, value, ")")))


def _is_nested(value: ast.expr) -> bool:
    """Whether a display may hold lists or dicts in place of layers."""
    displays = (ast.List, ast.Tuple, ast.Dict, ast.ListComp, ast.DictComp, ast.Set)
    inner: list[ast.expr] = []
    match value:
        case ast.ListComp(elt=member) | ast.DictComp(value=member):
            inner = [member]
        case ast.List(elts=members) | ast.Tuple(elts=members) | ast.Dict(values=members):
            inner = members
    return any(isinstance(member, displays) for member in inner)
