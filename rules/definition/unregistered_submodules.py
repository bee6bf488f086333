"""Modules are kept in a plain list, tuple or dict.

What it does
------------
Looks for layers with weights that an `nn.Module` keeps in a Python list, tuple or dict and uses
in its methods. A list that is wrapped later (`nn.ModuleList(self.layers)`, `add_module` in a
loop), whose layers are attributes of their own, or that holds one module on purpose so that it is
hidden, is left alone.

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
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.finding import Finding, Fix, Severity
from archcheck.rule import Rule
from archcheck.source import (
    AttributeWrite,
    Binding,
    ModuleClass,
    Project,
    Reference,
    SelfUse,
    SourceFile,
    Statement,
)
from archcheck.source.edits import after, before
from archcheck.source.imported import spelled
from archcheck.source.weights import has_weights
from archcheck.traced_classes import class_of

if TYPE_CHECKING:
    from archcheck.evidence import ModuleCall, Trace

rule = Rule("AC107", "unregistered-submodules", Severity.ERROR, fix="safe")

_DISPLAYS = (ast.List, ast.Tuple, ast.ListComp, ast.Dict, ast.DictComp)
# Classes that collect parameters, or move themselves, in their own way.
_OWN_WAYS = frozenset({
    "parameters", "named_parameters", "modules", "children", "named_modules", "named_children",
    "_apply", "to", "cuda", "train", "eval", "state_dict", "__setattr__", "__getattr__",
})  # fmt: skip
_ADD = frozenset({"append", "extend", "insert"})
# Functions that look at a list and keep nothing of it.
_LOOK = frozenset({"len", "zip", "enumerate", "range", "reversed", "iter", "next", "print", "list",
                   "isinstance", "bool", "sorted", "min", "max"})  # fmt: skip
# How the trace names a module that is reached through a list or dict.
_INDEXED = re.compile(r"^(?:(?P<owner>[\w.]+)\.)?(?P<name>\w+)\[(?P<key>[^\]]+)\]")
_LIST_ONLY = frozenset({"sort", "remove", "reverse", "index", "count", "copy", "setdefault"})


@rule.on_source
def layers_in_a_list(file: SourceFile) -> Iterator[Finding]:
    for module in file.modules:
        candidates = [write for write in module.own_writes if _holds_a_display(write)]
        if not candidates or any(_OWN_WAYS & d.methods.keys() for d in module.lineage):
            continue
        for write in candidates:
            kind = _held(file, module, write)
            if kind is None or _is_known_elsewhere(file, module, write.name):
                continue
            name = "ModuleDict" if kind == "dict" else "ModuleList"
            assert write.value is not None
            yield Finding(
                f"the layers in `{module.name}.{write.name}` are not registered: a plain {kind} "
                "hides them from parameters(), state_dict() and .to()",
                file.location(write.value),
                label=f"a plain {kind}",
                module=write.name,
                help=f"keep them in an nn.{name}",
                fix=_fix(file, module, write, name),
            )


@rule.on_trace
def weights_that_nobody_registered(trace: Trace, project: Project) -> Iterator[Finding]:
    found: dict[tuple[str, str], list[str]] = {}
    for call in trace.calls:
        match = _INDEXED.match(call.path)
        if match is not None and _has_hidden_weights(trace, call):
            found.setdefault((match["owner"] or "", match["name"]), []).append(match["key"])
    for (owner, name), keys in found.items():
        module = class_of(trace.module(owner), project)
        # One module alone in a list is hidden there on purpose.
        if module is None or set(keys) == {"0"}:
            continue
        if any(_OWN_WAYS & definition.methods.keys() for definition in module.lineage):
            continue
        if _is_known_elsewhere(module.file, module, name):
            continue
        write = next((w for w in module.attributes.get(name, ()) if w.value is not None), None)
        if write is None or write.value is None or write.function not in module.initializing:
            continue
        kind = "list" if keys[0].isdigit() else "dict"
        container = "ModuleList" if kind == "list" else "ModuleDict"
        yield Finding(
            f"the layers in `{module.name}.{name}` are not registered: a plain {kind} hides them "
            "from parameters(), state_dict() and .to()",
            write.owner.file.location(write.value),
            label=f"a plain {kind}",
            module=f"{owner}.{name}" if owner else name,
            help=f"keep them in an nn.{container}",
            fix=_fix(write.owner.file, module, write, container),
        )


def _has_hidden_weights(trace: Trace, call: ModuleCall) -> bool:
    """Whether an op of the call uses a weight that wants gradients and has no name."""
    return any(
        trace.values[value].kind == "constant" and trace.values[value].requires_grad
        for op in trace.ops[call.first_op : call.end_op]
        if op.grad_enabled
        for value in op.inputs
    )


def _holds_a_display(write: AttributeWrite) -> bool:
    if write.function is None or write.kind != "assign" or write.value is None:
        return False
    value = write.value
    if isinstance(value, ast.Name):
        binding = _local_list(write)
        return binding is not None
    return isinstance(value, _DISPLAYS)


def _local_list(write: AttributeWrite) -> Binding | None:
    """The one list that a local name is bound to, kept under an attribute as it is."""
    assert isinstance(write.value, ast.Name)
    bindings = write.statement.scope.bindings.get(write.value.id, [])
    if len(bindings) != 1 or bindings[0].kind != "assign" or bindings[0].path:
        return None
    return bindings[0] if isinstance(bindings[0].value, _DISPLAYS) else None


def _held(file: SourceFile, module: ModuleClass, write: AttributeWrite) -> str | None:
    """Whether the display holds layers with weights: "list", "tuple" or "dict"; None if not."""
    others = [w for w in module.attributes[write.name] if w is not write]
    if any(w.kind not in ("annotation", "augmented") for w in others):
        return None
    assert write.function is not None and write.value is not None
    display, at = write.value, write.statement
    if isinstance(display, ast.Name):
        binding = _local_list(write)
        assert binding is not None and binding.value is not None
        display, at = binding.value, binding.statement
        added = _added(module, (write.value.id,))  # type: ignore[attr-defined]
        reads = write.function.name_reads.get(write.value.id, [])  # type: ignore[attr-defined]
        if len(reads) != len(added) + 1:
            return None
    else:
        added = []
    added += _added(module, (write.function.self_name or "", write.name))
    added += [
        (element, other.statement)
        for other in others
        if other.kind == "augmented" and isinstance(other.value, _DISPLAYS)
        for element in _elements(other.value)
    ]
    elements = [(element, at) for element in _elements(display)]
    alone = isinstance(display, ast.List | ast.Tuple) and len(elements) == 1 and not added
    if alone or not any(_is_new_layer(file, *element) for element in (*elements, *added)):
        return None
    if isinstance(display, ast.Dict | ast.DictComp):
        return "dict"
    return "tuple" if isinstance(display, ast.Tuple) else "list"


def _elements(display: ast.expr) -> Iterator[ast.expr]:
    match display:
        case ast.List() | ast.Tuple():
            yield from display.elts
        case ast.ListComp():
            yield display.elt
        case ast.Dict():
            yield from display.values
        case ast.DictComp():
            yield display.value


def _added(module: ModuleClass, parts: tuple[str, ...]) -> list[tuple[ast.expr, Statement]]:
    """What `name.append(…)` and the like add, in the methods of the class."""
    found: list[tuple[ast.expr, Statement]] = []
    for method in module.own_methods:
        for call in method.calls:
            if call.parts[:-1] == parts and call.name in _ADD and call.node.args:
                given = call.node.args[-1]
                if call.name == "extend" and isinstance(given, _DISPLAYS):
                    found += [(element, call.statement) for element in _elements(given)]
                else:
                    found.append((given, call.statement))
    return found


def _is_new_layer(file: SourceFile, element: ast.expr, at: Statement) -> bool:
    """Whether an element is a layer with weights that nobody else holds."""
    if isinstance(element, ast.Name):
        function = at.scope.function
        bindings = at.scope.bindings.get(element.id, [])
        if function is None or len(bindings) != 1 or bindings[0].kind != "assign":
            return False
        # Whatever else reads the name may register it.
        if len(function.name_reads.get(element.id, ())) != 1 or bindings[0].value is None:
            return False
        element, at = bindings[0].value, bindings[0].statement
    if not isinstance(element, ast.Call):
        return False
    layers = file.layers(element, at)
    return bool(layers) and all(has_weights(layer) for layer in layers)


def _is_known_elsewhere(file: SourceFile, module: ModuleClass, name: str) -> bool:
    """Whether something may register the layers, or hand them to the optimizer by itself."""
    uses = [
        (use, definition)
        for sub in (module, *module.subclasses)
        for definition in (sub.lineage if sub is module else (sub.definition,))
        if definition.module is not None
        for use in definition.module.uses
        if use.name == name and use.kind != "store"
    ]
    computing = {method for sub in (module, *module.subclasses) for method in sub.computing}
    used = False
    for use, _ in uses:
        if use.rest and use.rest[0] in _ADD:
            continue
        if use.function not in computing or _is_handed_on(use):
            return True
        used = True
    if not used:
        return True
    mine = {id(use.reference) for use, _ in uses}
    return any(
        reference.kind != "store"
        and id(reference) not in mine
        and _is_read_from_outside(module, name, reference)
        for reference in file.references
    )


def _is_read_from_outside(module: ModuleClass, name: str, reference: Reference) -> bool:
    function = reference.scope.function
    if function is None or function.owner is None:
        return name in reference.parts[1:]
    # What another class calls so on its own `self` is something else.
    is_its_own = reference.parts[0] == function.self_name
    is_outside = function.owner not in module.lineage
    return is_outside and name in reference.parts[2 if is_its_own else 1 :]


def _is_handed_on(use: SelfUse) -> bool:
    """Whether the whole container is given to a function that may keep it."""
    if use.rest:
        return False
    attribute = use.attribute
    for call in use.function.calls:
        given = [*call.node.args, *(keyword.value for keyword in call.node.keywords)]
        for item in given:
            inner = item.value if isinstance(item, ast.Starred) else item
            if inner is attribute and not (len(call.parts) == 1 and call.name in _LOOK):
                return True
    return False


def _fix(
    file: SourceFile, module: ModuleClass, write: AttributeWrite, container: str
) -> Fix | None:
    spelling = spelled(file, f"torch.nn.{container}")
    value = write.value
    if spelling is None or value is None:
        return None
    if any(use.name == write.name and _LIST_ONLY & set(use.rest) for use in module.uses):
        return None
    if container == "ModuleDict" and not (
        isinstance(value, ast.Dict)
        and all(isinstance(k, ast.Constant) and isinstance(k.value, str) for k in value.keys)
    ):
        return None
    if isinstance(value, ast.Tuple) and not file.text(value).startswith("("):
        return None
    return Fix("safe", (before(file, value, f"{spelling}("), after(file, value, ")")))
