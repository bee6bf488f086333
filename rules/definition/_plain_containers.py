"""Layers in Python's own lists, tuples and dicts, where `nn.Module` does not see them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

from archcheck.analysis.module_classes import class_of
from archcheck.analysis.source.weights import builds_state, holds_state
from archcheck.python import (
    AttributeWrite,
    Binding,
    ModuleClass,
    Project,
    Reference,
    SelfUse,
    SourceFile,
    Statement,
)
from archcheck.python.syntax.walks import is_only_measured

if TYPE_CHECKING:
    from archcheck.evidence.records import ModuleCall
    from archcheck.evidence.trace import Trace

_DISPLAYS = (ast.List, ast.Tuple, ast.ListComp, ast.Dict, ast.DictComp)
# Classes that collect parameters in their own way.
_OWN_WAYS = frozenset({
    "parameters", "named_parameters", "modules", "children", "named_modules", "named_children",
    "_apply", "state_dict", "__setattr__", "__getattr__",
})  # fmt: skip
# Methods that may move or set what the list holds, where they name it.
_MOVING = frozenset({"to", "cuda", "cpu", "train", "eval", "half", "float", "requires_grad_"})
_ADD = frozenset({"append", "extend", "insert", "update", "setdefault"})
# Functions that look at a list and keep nothing of it.
_LOOK = frozenset({"len", "zip", "enumerate", "range", "reversed", "iter", "next", "print", "list",
                   "isinstance", "bool", "sorted", "min", "max"})  # fmt: skip
# Where a module computes: its forward, and the steps of those who train themselves.
_COMPUTING = ("forward", "training_step", "validation_step", "test_step", "predict_step")
# How the trace names a module that is reached through a list or dict.
_INDEXED = r"^(?:(?P<owner>[\w.]+)\.)?(?P<name>\w+)\[(?P<key>[^\]]+)\]"


class PlainContainer(NamedTuple):
    """An attribute that holds layers with weights, and registers none of them.

    Attributes:
        write: Where it is set.
        value: What it is set to.
        path: Where the model has it: `blocks`, `encoder.blocks`.
        holds: What is in it.
    """

    module: ModuleClass
    write: AttributeWrite
    value: ast.expr
    kind: Literal["list", "tuple", "dict"]
    path: str
    holds: Literal["layers", "parameters"] = "layers"


def plain_containers(module: ModuleClass) -> Iterator[PlainContainer]:
    """The lists, tuples and dicts of a class whose layers its methods use, and that nothing else
    may register."""
    candidates = [write for write in module.own_writes if _holds_a_display(write)]
    if not candidates or _has_its_own_ways(module):
        return
    for write in candidates:
        held = _held(module.file, module, write)
        if held is not None and not _is_known_elsewhere(module.file, module, write.name):
            assert write.value is not None
            kind, holds = held
            yield PlainContainer(module, write, write.value, kind, write.name, holds)


def traced_plain_containers(trace: Trace, project: Project) -> Iterator[PlainContainer]:
    """The same, seen in a pass: layers whose weights have no name."""
    found: dict[tuple[str, str], list[str]] = {}
    for call in trace.calls:
        match = re.match(_INDEXED, call.path)
        if match is not None and _has_hidden_weights(trace, call):
            found.setdefault((match["owner"] or "", match["name"]), []).append(match["key"])
    for (owner, name), keys in found.items():
        module = class_of(trace.module(owner), project)
        # One module alone in a list is hidden there on purpose.
        if module is None or set(keys) == {"0"} or _has_its_own_ways(module):
            continue
        if _is_known_elsewhere(module.file, module, name):
            continue
        write = next((w for w in module.attributes.get(name, ()) if w.value is not None), None)
        if write is None or write.value is None or write.function not in module.initializing:
            continue
        path = f"{owner}.{name}" if owner else name
        kind: Literal["list", "dict"] = "list" if keys[0].isdigit() else "dict"
        yield PlainContainer(module, write, write.value, kind, path)


def _has_its_own_ways(module: ModuleClass) -> bool:
    return any(_OWN_WAYS & definition.methods.keys() for definition in module.lineage)


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


def _held(
    file: SourceFile, module: ModuleClass, write: AttributeWrite
) -> tuple[Literal["list", "tuple", "dict"], Literal["layers", "parameters"]] | None:
    """What sort of display holds layers with state, or parameters; None if it holds neither."""
    others = [w for w in module.attributes[write.name] if w is not write]
    if any(w.kind not in ("annotation", "augmented") and not _moves(w) for w in others):
        return None
    assert write.function is not None and write.value is not None
    display, at = write.value, write.statement
    if isinstance(display, ast.Name):
        binding = _local_list(write)
        assert binding is not None and binding.value is not None
        added = _added(module, (display.id,))
        reads = write.function.name_reads.get(display.id, [])
        display, at = binding.value, binding.statement
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
    both = (*elements, *added)
    layers = not alone and any(_is_new_layer(file, *element) for element in both)
    if not layers and not any(_is_parameter(file, *element) for element in both):
        return None
    holds: Literal["layers", "parameters"] = "layers" if layers else "parameters"
    if isinstance(display, ast.Dict | ast.DictComp):
        return "dict", holds
    return ("tuple" if isinstance(display, ast.Tuple) else "list"), holds


def _moves(write: AttributeWrite) -> bool:
    """Whether the list is set to its own elements, moved: `[e.to(device) for e in self.list]`."""
    match write.value:
        case ast.ListComp(
            elt=ast.Call(func=ast.Attribute(value=ast.Name(id=element), attr=method)),
            generators=[ast.comprehension(target=ast.Name(id=target), iter=ast.Attribute(attr=of))],
        ):
            return element == target and method in _MOVING and of == write.name
    return False


def _is_parameter(file: SourceFile, element: ast.expr, at: Statement) -> bool:
    if not isinstance(element, ast.Call):
        return False
    return file.dotted(element.func, at) == "torch.nn.Parameter"


def _elements(display: ast.expr) -> Iterator[ast.expr]:
    """What a display holds, displays in it taken apart."""
    match display:
        case ast.List() | ast.Tuple():
            held = display.elts
        case ast.ListComp():
            held = [display.elt]
        case ast.Dict():
            held = display.values
        case ast.DictComp():
            held = [display.value]
        case _:
            held = []
    for element in held:
        if isinstance(element, _DISPLAYS):
            yield from _elements(element)
        else:
            yield element


def _added(module: ModuleClass, parts: tuple[str, ...]) -> list[tuple[ast.expr, Statement]]:
    """What `name.append(…)` and the like add, in the methods of the class."""
    found: list[tuple[ast.expr, Statement]] = []
    for method in module.own_methods:
        for call in method.calls:
            if call.parts[:-1] == parts and call.name in _ADD and call.node.args:
                given = call.node.args[-1]
                if call.name in ("extend", "update") and isinstance(given, _DISPLAYS):
                    found += [(element, call.statement) for element in _elements(given)]
                elif call.name != "update":
                    found.append((given, call.statement))
        for node, at in method.nodes(ast.Subscript):
            assert isinstance(node, ast.Subscript)
            if _sets_an_item(node, at, parts) and isinstance(at.node, ast.Assign):
                found.append((at.node.value, at))
    return found


def _sets_an_item(node: ast.Subscript, at: Statement, parts: tuple[str, ...]) -> bool:
    """Whether a statement is `name[key] = …`."""
    if not isinstance(at.node, ast.Assign) or node not in at.node.targets:
        return False
    match node.value:
        case ast.Name(id=name):
            return parts == (name,)
        case ast.Attribute(value=ast.Name(id=owner), attr=name):
            return parts == (owner, name)
    return False


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
    dotted = file.dotted(element.func, at)
    if dotted is not None and builds_state(dotted):
        return True
    layers = file.layers(element, at)
    return bool(layers) and all(holds_state(layer) for layer in layers)


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
    computing = {
        method for sub in (module, *module.subclasses) for method in sub.reached_from(*_COMPUTING)
    }
    moved = {part for w in module.attributes.get(name, ()) if _moves(w) and w.value is not None
             for part in ast.walk(w.value)}  # fmt: skip
    used = False
    for use, _ in uses:
        if (use.rest and use.rest[0] in _ADD) or _is_an_item_set(use):
            continue
        if use.function.name in _MOVING:
            return True
        if use.attribute in moved:
            continue
        if use.function not in computing:
            if not is_only_measured(use.attribute, use.function.parents):
                return True
        elif _is_handed_on(use):
            return True
        else:
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


def _is_an_item_set(use: SelfUse) -> bool:
    parent = use.function.parents.get(use.attribute)
    return isinstance(parent, ast.Subscript) and isinstance(parent.ctx, ast.Store)


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
